"""Segmentation of images with learned part embeddings: cross-attention, WAS, labels at full size."""
