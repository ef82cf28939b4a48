"""Independent cues for foreground against background, as log-odds (h, w).

The cues are colour histograms, motion relative to the background, and the distance from the predicted position. Each
cue is a pure function of arrays.
"""
