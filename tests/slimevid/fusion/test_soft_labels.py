"""Soft labels at two resolutions."""

from __future__ import annotations

import numpy as np

from slimevid.frame.search_region import SearchRegion
from slimevid.fusion.soft_labels import TwoLevelLabels


def test_outside_old_region_is_background():
    """Outside an old search region labels are background."""
    seen = TwoLevelLabels(np.zeros((4, 8), np.float32), np.full((2, 4, 8), 0.5, np.float32))
    there = seen.to_region(SearchRegion(0, 0, 40, 80), SearchRegion(0, 40, 40, 80), (4, 8), (4, 8))
    assert (there.background[:, 5:] == 1).all()
    assert (there.parts[:, :, 5:] == 0).all()
    assert (there.parts[:, :, :4] == 0.5).all()
