"""Pinhole cameras, rasterisers returning the face id of every pixel, and shading."""
