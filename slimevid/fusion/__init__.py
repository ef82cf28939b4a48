"""Combine all evidence in two steps.

First the foreground probability from weighted log-odds, then the assignment of foreground to parts on a coarser grid,
upsampled where needed.
"""
