"""Bounded key-value memory of earlier masks, as in space-time memory networks (Oh et al., ICCV 2019).

Keys are descriptors and colours of grid cells. Values are their soft masks. References are permanent. Recent frames are
kept in a FIFO.
"""
