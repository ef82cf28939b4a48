"""From annotated views to a part for every face.

Pixel votes, symmetry and appearance as further votes, and a random walk on the face graph (Grady, TPAMI 2006).
"""
