"""Read and write what users have: images, masks of every style, part embeddings, videos.

Everything written appears atomically. Values in masks are never changed.
"""
