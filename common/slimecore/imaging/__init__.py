"""Pure functions on pixel arrays, without files.

Resizing with half-pixel centres, bounding boxes, tiling, Lab patches, the guided filter (He et al., 2013), overlays.
"""
