"""Evaluation: J and F by the official DAVIS definitions, from folders of masks to tables, files and figures.

``dataset`` finds what belongs together, ``score`` measures one sequence, ``protocol`` holds the definitions of the
figures, ``report``, ``figures`` and ``compare`` say what came out. ``tracks`` is about parts: does the part that held a
joint still hold it later. Nothing here imports torch.
"""
