"""Optical flow between frames (a file per method), its composition, warping of soft masks, and flow reliability.

Reliability is the forward-backward check of Sundaram et al., ECCV 2010.
"""
