"""Learn part embeddings from annotated images.

Either against cached features (:mod:`~slimecore.learning.probe`), or through the UNet as published
(:mod:`~slimecore.learning.faithful`).
"""
