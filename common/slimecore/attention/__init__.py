"""Attention whose values are part evidence.

- :mod:`~slimecore.attention.was`: weighted accumulated self-attention of SLiMe (Khani et al., ICLR 2024, section 3.3).
- :mod:`~slimecore.attention.cross_attention`: part probabilities from learned tokens.
- :mod:`~slimecore.attention.query_features`: descriptor and position features beside the cross-attention queries.
- :mod:`~slimecore.attention.gaussian_kernel`: unnormalised attention with a Gaussian kernel, used by the mask memory.
"""
