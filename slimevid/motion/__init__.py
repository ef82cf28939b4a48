"""Optical flow between frames (one file a method), its composition, warping of soft masks, and reliability.

Reliability is the forward-backward check of Sundaram et al., ECCV 2010.
"""
