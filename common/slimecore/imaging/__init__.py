"""Transform pixel arrays: pure functions without files.

Resizing with half-pixel centres, bounding boxes, tiling, Lab patches, the guided filter (He et al., TPAMI 2013),
overlays.
"""
