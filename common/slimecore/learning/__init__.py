"""Learning of part embeddings from annotated images.

- :mod:`~slimecore.learning.probe`: on cached features of a frozen network (the default).
- :mod:`~slimecore.learning.faithful`: through the UNet, as SLiMe (Khani et al., ICLR 2024) does.
"""
