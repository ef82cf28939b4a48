"""Read and write users' files: images, masks of every style, part embeddings, videos.

Every file is written atomically. Part values of a mask are kept.
"""
