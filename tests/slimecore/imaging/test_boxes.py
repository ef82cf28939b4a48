"""Boxes around pixels."""

import numpy as np

from slimecore.imaging.boxes import uncertain_box


def test_uncertain_box_has_margin():
    """Undecided pixels lie in a box with a margin."""
    soft = np.stack([np.ones((20, 30)), np.zeros((20, 30))]).astype(np.float32)
    assert uncertain_box(soft, 3) is None
    soft[:, 5, 28] = 0.5
    soft[:, 8, 20] = 0.5
    assert uncertain_box(soft, 3) == (slice(2, 12), slice(17, 30))
