"""Dropped parts are left out of the results."""

import numpy as np
import pytest

from slimecore.errors import InputError
from slimecore.types import Frame
from tests.slimevid.sessions import ImageClip, small_session


def test_dropped_part_leaves_next_frame(tiny, disc):
    """A dropped part is left out from the next frame on."""
    one = small_session(tiny, "copy")
    marked = disc(0)[1].copy()
    marked[2:9, 2:9] = 7
    one.add_reference(disc(0)[0], marked)
    assert 7 in one.step(disc(1)[0]).labels
    one.drop(7)
    result = one.step(disc(2)[0])
    assert set(np.unique(result.labels)) == {0, 1}
    assert result.present.tolist() == [True, False]
    assert one.soft.sum(0) == pytest.approx(1)
    with pytest.raises(InputError, match="there is no part 3 to drop, there are 1, 7"):
        one.drop(3)


def test_repeated_drops_all_apply(tiny, disc):
    """A part dropped twice is left out from both frames on."""
    clip = ImageClip([disc(i)[0] for i in range(12)])
    one = small_session(tiny, "copy")
    for i in (0, 6):
        one.add_reference(Frame(i, disc(i)[0], str(i)), disc(i)[1])
    one.drop(1, 2)
    one.drop(1, 9)
    found = {result.frame.index: bool(result.present[0]) for result in one.propagate(clip)}
    assert found == {i: i < 2 or 6 <= i < 9 for i in range(12)}
