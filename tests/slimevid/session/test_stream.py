"""Snapshots of a session, and frames that do not count."""

import numpy as np
import pytest

from slimecore.errors import InputError
from slimecore.memory.config import MemoryConfig
from slimecore.runtime import plugins
from slimecore.types import Frame
from slimevid.config import FusionConfig
from slimevid.cues.color_model import ColorModel
from slimevid.session.segmenter import Segmenter
from tests.slimevid.sessions import ImageClip, small_session

PROPAGATORS = plugins.available("slimevid.propagators")


@pytest.mark.parametrize("propagator", PROPAGATORS)
@pytest.mark.parametrize("seen", [1, 2, 17, 18])
def test_restored_session_continues_exactly(tiny, disc, propagator, seen):
    """A restored session continues bit for bit.

    Everything a propagator remembers must be in its snapshot, even when the FIFO is full and has turned over.
    """
    # Fewer keys than places, so that the memory draws which to keep; parts and memory on every second frame only.
    fusion = FusionConfig(appearance_interval=2)
    one = small_session(tiny, propagator, fusion=fusion, memory=MemoryConfig(keys_per_frame=100))
    one.add_reference(*disc(0))
    for i in range(1, seen):
        one.step(disc(i)[0])
    state = {name: array.copy() for name, array in one.snapshot().items()}
    other = Segmenter(one.config, tiny, one.embeddings)
    other.add_reference(*disc(0))
    other.step(disc(3)[0])  # has seen something else
    other.restore(state)
    for i in range(seen, seen + 8):
        expected, found = one.step(disc(i)[0]), other.step(disc(i)[0])
        assert np.array_equal(one.soft, other.soft)
        assert np.array_equal(expected.labels, found.labels)
    assert {n: a.tobytes() for n, a in one.snapshot().items()} == {n: a.tobytes() for n, a in other.snapshot().items()}


@pytest.mark.parametrize("propagator", PROPAGATORS)
def test_snapshot_holds_memory_only(tiny, disc, propagator):
    """A snapshot holds everything remembered, and no more."""
    one = small_session(tiny, propagator)
    one.add_reference(*disc(0))
    for i in range(1, 8):
        one.step(disc(i)[0])
    size = sum(array.nbytes for array in one.snapshot().values())
    remembered = one.memory_bytes - (ColorModel().nbytes if propagator == "fused" else 0)  # made from the references
    assert remembered <= size <= remembered + 10_000  # the generator's state comes on top


def test_small_part_judged_by_smallest_area(tiny, disc):
    """A part that is small in a reference is judged by that area."""
    one = small_session(tiny, "copy")
    small = disc(1)[1] * 0
    small[10, 10:12] = 1
    one.add_reference(*disc(0))
    one.add_reference(disc(1)[0], small)
    assert one._stream._min_areas.tolist() == [2]
    assert one.step(disc(2)[0]).present.all()


@pytest.mark.parametrize("propagator", ["fused", "flow_warp"])
def test_wrong_size_refused_without_counting(tiny, disc, propagator):
    """Frames of another size are refused and do not count."""
    one = small_session(tiny, propagator)
    one.add_reference(*disc(0))
    for wrong in (np.zeros((96, 128, 3), np.uint8), disc(1)[0][:40]):
        with pytest.raises(InputError, match=r"frame 1 is \d+x\d+, the reference 64x48"):
            one.step(wrong)
    with pytest.raises(InputError, match="uint8"):
        one.step(disc(1)[0].astype(float))
    with pytest.raises(InputError, match="one size"):
        one.add_reference(np.zeros((96, 128, 3), np.uint8), np.ones((96, 128), int))
    assert one.step(disc(1)[0]).frame.index == 1


def test_snapshot_holds_drops_and_next_index(tiny, disc):
    """A snapshot holds the dropped parts and the number of the next frame."""
    one, other = small_session(tiny, "copy"), small_session(tiny, "copy")
    for each in (one, other):
        each.add_reference(*disc(0))
    one.drop(1)
    one.step(disc(1)[0])
    other.restore(one.snapshot())
    result = other.step(disc(2)[0])
    assert result.frame.index == 2
    assert not result.present[0]


def test_early_exit_keeps_complete_spans(tiny, disc):
    """A session that leaves a clip early continues at the end of the last complete span."""
    one = small_session(tiny, "fused", keyframe_interval=3)
    one.add_reference(*disc(0))
    for result in one.propagate(ImageClip([disc(i)[0] for i in range(12)])):
        if result.frame.index == 5:
            one.drop(1)
            break
    assert int(one.snapshot()["next"]) == 4
    again = one.step(disc(4)[0])
    assert again.frame.index == 4
    assert not one.step(Frame(6, disc(6)[0], "6")).present[0]
