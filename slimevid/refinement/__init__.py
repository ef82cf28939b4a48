"""A small U-Net that recovers thin structures the cues miss.

Its training samples, and its test-time adaptation on lucid dreams (Khoreva et al., IJCV 2019).
"""
