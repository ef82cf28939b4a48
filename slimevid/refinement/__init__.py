"""Refinement network: a small U-Net that recovers thin structures missed by the cues.

Also its training samples, and its test-time adaptation on lucid dreams (Khoreva et al., IJCV 2019).
"""
