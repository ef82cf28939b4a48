"""Compute region similarity J and boundary accuracy F (Perazzi et al., CVPR 2016), and IoU of parts."""
