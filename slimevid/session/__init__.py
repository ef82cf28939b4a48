"""``Segmenter``, the streaming API, and what it needs.

Learning from references, the order in which frames are visited (passes, key frames, both directions), prefetching.
"""
