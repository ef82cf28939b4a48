"""Evaluation of video segmentation: J and F by the official DAVIS definitions, as tables, files and figures.

J is region similarity, F is boundary accuracy (Perazzi et al., CVPR 2016, and Pont-Tuset et al., "The 2017 DAVIS
Challenge on Video Object Segmentation", 2017). ``dataset`` pairs annotations with results. ``scoring`` measures a
sequence. ``protocol`` holds the evaluation rules and the statistics. ``report``, ``figures`` and ``comparison`` present
the scores. ``joint_tracks`` measures how consistently parts keep their annotated joints. ``davis_run`` segments and
measures a DAVIS split. Measuring does not import torch.
"""
