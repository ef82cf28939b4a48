"""References of a session."""

import numpy as np

from slimecore.types import Annotation, Parts
from slimevid.frame.labels import PRESENCE_PIXELS
from slimevid.references.reference import smallest_areas


def test_missing_part_judged_by_other_references():
    """A part that a reference lacks is judged by the other references."""
    rgb, parts = np.zeros((8, 8, 3), np.uint8), Parts((0, 1, 2), ("background", "a", "b"), ((0, 0, 0),) * 3)
    first, second = np.zeros((8, 8), np.int16), np.zeros((8, 8), np.int16)
    first[:2] = 1
    second[0, :5], second[5, :3] = 2, 1
    second[7] = -1
    assert smallest_areas([Annotation(rgb, first, parts), Annotation(rgb, second, parts)]).tolist() == [3, 5]
    assert smallest_areas([Annotation(rgb, first, parts)])[0] == PRESENCE_PIXELS
