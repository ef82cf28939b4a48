"""Independent evidence for or against the parts, in log-odds (h, w).

Colour histograms, motion relative to the background, distance from the last position. Each is a pure function of
arrays.
"""
