"""Attention whose values are label evidence.

:mod:`~slimecore.attention.was` implements SLiMe's weighted accumulated self-attention (Khani et al., ICLR 2024, 3.3),
:mod:`~slimecore.attention.cross_attention` turns learned tokens into part probabilities, and
:mod:`~slimecore.attention.gaussian_kernel` is the unnormalised form that the mask memory uses.
"""
