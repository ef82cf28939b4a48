"""Geometry without labels.

Face adjacency, surface samples, Laplacian spectra, functional maps (ZoomOut, Melzi et al. 2019), similarity
registration.
"""
