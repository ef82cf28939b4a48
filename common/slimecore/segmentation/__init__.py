"""Apply learned part embeddings to an image: cross-attention, then WAS, then labels at full size."""
