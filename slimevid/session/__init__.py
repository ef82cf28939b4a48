"""``Segmenter``, the streaming API, and its parts.

Learning from references, tracking, the order of frames (passes, key frames, both directions), prefetching.
"""
