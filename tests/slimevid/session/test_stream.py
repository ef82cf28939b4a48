"""The streaming interface as people use it: arrays in, references mid-way, an iterator over a clip."""

import numpy as np
import pytest

from slimecore.errors import ArtifactError, ConfigError, InputError
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.memory.config import MemoryConfig
from slimecore.metrics.davis import region_j
from slimecore.runtime import plugins
from slimecore.types import Frame
from slimevid.config import FusionConfig, RunConfig
from slimevid.cues.color_model import ColorModel
from slimevid.io import open_clip
from slimevid.session.segmenter import Segmenter

QUICK = LearnConfig(tokens=2, steps=10, views=ViewConfig(count=1))
PROPAGATORS = plugins.available("slimevid.propagators")


def session(tiny, propagator="fused", **settings):
    config = RunConfig(network_size=64, mask_size=48, learn=QUICK, propagator=propagator, **settings)
    return Segmenter(config, tiny)


@pytest.mark.parametrize("propagator", PROPAGATORS)
@pytest.mark.parametrize("seen", [1, 2, 17, 18])
def test_restored_session_continues_exactly(tiny, disc, propagator, seen):
    """A restored session continues bit for bit.

    Everything a propagator remembers must be in its snapshot, even when the FIFO is full and has turned over.
    """
    # Fewer keys than places, so that the memory draws which to keep; parts and memory on every second frame only.
    fusion = FusionConfig(appearance_interval=2)
    one = session(tiny, propagator, fusion=fusion, memory=MemoryConfig(keys_per_frame=100))
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
    one = session(tiny, propagator)
    one.add_reference(*disc(0))
    for i in range(1, 8):
        one.step(disc(i)[0])
    size = sum(array.nbytes for array in one.snapshot().values())
    remembered = one.memory_bytes - (ColorModel().nbytes if propagator == "fused" else 0)  # made from the references
    assert remembered <= size <= remembered + 10_000  # the generator's state comes on top


def test_bare_images_numbered(tiny, disc):
    """Images without a frame are numbered."""
    one = session(tiny, "copy")
    first = one.add_reference(*disc(0), names={1: "disc"})
    assert first.frame.index == 0
    assert [one.step(disc(i)[0]).frame.index for i in (1, 2, 3)] == [1, 2, 3]
    assert one.step(Frame(9, disc(9)[0], "nine")).frame.index == 9
    assert one.step(disc(10)[0]).frame.index == 10
    assert one.parts.names == ("background", "disc")


def test_later_reference_keeps_earlier(tiny, disc):
    """A later reference is used, and the earlier one is kept."""
    one = session(tiny)
    one.add_reference(*disc(0), names={1: "disc"})
    before = one.memory_bytes - ColorModel().nbytes
    for i in range(1, 5):
        one.step(disc(i)[0])
    marked = disc(5)[1].copy()
    marked[2:9, 2:9] = 7
    result = one.add_reference(disc(5)[0], marked)
    assert result.frame.index == 5
    assert np.array_equal(result.labels, marked)
    assert one.references == (0, 5)
    assert one.parts.values == (0, 1, 7)
    assert one.parts.names == ("background", "disc", "part 7")
    assert one.memory_bytes - ColorModel().nbytes > 1.5 * before, "both references are remembered"
    for i in range(6, 9):
        result = one.step(disc(i)[0])
    assert result.present[0]
    assert region_j(result.labels == 1, disc(8)[1]) > 0.6


def test_reference_on_same_frame_replaces(tiny, disc):
    """A reference on the same frame replaces the earlier one."""
    one = session(tiny, "copy")
    rgb, mask = disc(0)
    one.add_reference(Frame(0, rgb, "0"), mask)
    one.add_reference(Frame(0, rgb, "0"), np.roll(mask, 3, 0))
    assert one.references == (0,)
    assert np.array_equal(one.step(disc(1)[0]).labels, np.roll(mask, 3, 0))


def test_new_part_beside_embeddings_refused(tiny, disc):
    """A new part beside given embeddings is refused, and the session is unchanged."""
    one = session(tiny)
    one.add_reference(*disc(0))
    given = Segmenter(one.config, tiny, one.embeddings)
    given.add_reference(*disc(0))
    marked = disc(1)[1].copy()
    marked[2:9, 2:9] = 7
    with pytest.raises(ArtifactError, match="it holds the part values"):
        given.add_reference(disc(1)[0], marked)
    assert given.references == (0,)
    assert np.array_equal(given.step(disc(1)[0]).labels, one.step(disc(1)[0]).labels)


def test_dropped_part_leaves_next_frame(tiny, disc):
    """A dropped part is left out from the next frame on."""
    one = session(tiny, "copy")
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


def test_propagate_labels_frames_once(tiny, slide, disc):
    """``propagate`` labels every frame once."""
    clip = open_clip(slide)
    one = session(tiny, "flow_warp")
    for i in (3, 8):
        one.add_reference(next(clip.read(i, i + 1)), disc(i)[1])
    results = list(one.propagate(clip))
    assert [r.frame.index for r in results] == [2, 1, 0, 3, 4, 5, 7, 6, 8, 9, 10, 11]
    assert all(region_j(r.labels, disc(r.frame.index)[1]) > 0.6 for r in results if 1 < r.frame.index < 11)
    some = list(one.propagate(clip, 2, 11, 3))
    assert [r.frame.index for r in some] == [2, 5, 8]


def test_propagate_requires_reference(tiny, slide):
    """Without a reference ``propagate`` and ``start`` are refused."""
    clip = open_clip(slide)
    with pytest.raises(InputError, match="add_reference must come before propagate"):
        next(session(tiny).propagate(clip))
    with pytest.raises(InputError, match="there is no reference on frame 4"):
        session(tiny).start(4)


def test_small_part_judged_by_smallest_area(tiny, disc):
    """A part that is small in a reference is judged by that area."""
    one = session(tiny, "copy")
    small = disc(1)[1] * 0
    small[10, 10:12] = 1
    one.add_reference(*disc(0))
    one.add_reference(disc(1)[0], small)
    assert one._stream._min_areas.tolist() == [2]
    assert one.step(disc(2)[0]).present.all()


def test_memory_only_learns_nothing(tiny, disc):
    """The propagator ``memory_only`` reads the memory and learns nothing."""
    one = session(tiny, "memory_only")
    one.add_reference(*disc(0))
    assert one.embeddings is None
    for i in range(1, 4):
        result = one.step(disc(i)[0])
    assert region_j(result.labels, disc(3)[1]) > 0.5
    with pytest.raises(ConfigError, match="reads the memory alone"):
        session(tiny, "memory_only", fusion=FusionConfig(memory_weight=0.0)).add_reference(*disc(0))


def test_empty_reference_marks_absence(tiny, disc):
    """A reference may say that no part is visible.

    It is the way to take back labels that leaked after the part has left.
    """
    ground = np.ascontiguousarray(np.broadcast_to(disc(0)[0][:1, :1], (48, 64, 3)))
    one = session(tiny)
    with pytest.raises(InputError, match="holds no part"):
        one.add_reference(ground, disc(0)[1] * 0)
    one.add_reference(*disc(0))
    result = one.add_reference(ground, disc(0)[1] * 0)
    assert not result.present.any()
    assert one.parts.values == (0, 1)
    assert not one.step(ground).labels.any()
    assert one.step(disc(0)[0]).present[0], "found again when it returns"


def test_ignored_pixels_not_remembered(tiny, disc):
    """Ignored pixels are not remembered.

    Pixels marked -1 are remembered neither as a part nor as background. Pixels marked 0 are background.
    """
    rgb, mask = disc(0)
    void = mask.astype(int)
    void[:, 32:] = -1
    assert (mask[:, 32:] > 0).any()
    for propagator in ("fused", "memory_only"):
        keys = []
        for marked in (void, void.clip(0)):
            one = session(tiny, propagator, memory=MemoryConfig(keys_per_frame=0))
            one.add_reference(rgb, marked)
            prefix = "memory." if propagator == "fused" else ""
            keys.append(len(one.snapshot()[f"{prefix}permanent.0000.key"]))
        assert 0.4 * keys[1] < keys[0] < 0.6 * keys[1]


def test_reused_buffer_is_copied(tiny, disc):
    """An image written into the same array again is copied.

    Cameras and decoders reuse their buffers.
    """
    buffer, expected, found = disc(0)[0].copy(), session(tiny, "flow_warp"), session(tiny, "flow_warp")
    expected.add_reference(*disc(0))
    found.add_reference(buffer, disc(0)[1])
    for i in range(1, 4):
        buffer[:] = disc(i)[0]
        assert np.array_equal(found.step(buffer).labels, expected.step(disc(i)[0]).labels)


@pytest.mark.parametrize("propagator", ["fused", "flow_warp"])
def test_wrong_size_refused_without_counting(tiny, disc, propagator):
    """Frames of another size are refused and do not count."""
    one = session(tiny, propagator)
    one.add_reference(*disc(0))
    for wrong in (np.zeros((96, 128, 3), np.uint8), disc(1)[0][:40]):
        with pytest.raises(InputError, match=r"frame 1 is \d+x\d+, the reference 64x48"):
            one.step(wrong)
    with pytest.raises(InputError, match="uint8"):
        one.step(disc(1)[0].astype(float))
    with pytest.raises(InputError, match="one size"):
        one.add_reference(np.zeros((96, 128, 3), np.uint8), np.ones((96, 128), int))
    assert one.step(disc(1)[0]).frame.index == 1


def test_invalid_calls_refused(tiny, disc):
    """Calls out of order and invalid masks are refused."""
    one = session(tiny, "copy")
    with pytest.raises(InputError, match="no soft labels yet"):
        _ = one.soft
    with pytest.raises(InputError, match="part values are 1 to 255"):
        one.add_reference(disc(0)[0], disc(0)[1].astype(int) * 300)
    one.add_reference(*disc(0))
    frame = Frame(0, disc(0)[0], "0")
    with pytest.raises(InputError, match="no reference marks a part"):
        one.add_reference(frame, np.zeros_like(disc(0)[1]))
    assert one.step(disc(1)[0]).present.all()


def test_repeated_drops_all_apply(tiny, disc):
    """A part dropped twice is left out from both frames on."""
    clip = _Pictures([disc(i)[0] for i in range(12)])
    one = session(tiny, "copy")
    for i in (0, 6):
        one.add_reference(Frame(i, disc(i)[0], str(i)), disc(i)[1])
    one.drop(1, 2)
    one.drop(1, 9)
    found = {result.frame.index: bool(result.present[0]) for result in one.propagate(clip)}
    assert found == {i: i < 2 or 6 <= i < 9 for i in range(12)}


class _Pictures:
    fps, name, notes = 24, "pictures", ()

    def __init__(self, pictures):
        self._pictures = pictures

    def __len__(self):
        return len(self._pictures)

    def read(self, start, stop, step=1):
        return (Frame(i, self._pictures[i], str(i)) for i in range(start, stop, step))

    def read_reversed(self, start, stop, step=1):
        return reversed(list(self.read(start, stop, step)))


def test_snapshot_holds_drops_and_next_index(tiny, disc):
    """A snapshot holds the dropped parts and the number of the next frame."""
    one, other = session(tiny, "copy"), session(tiny, "copy")
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
    one = session(tiny, "fused", keyframe_interval=3)
    one.add_reference(*disc(0))
    for result in one.propagate(_Pictures([disc(i)[0] for i in range(12)])):
        if result.frame.index == 5:
            one.drop(1)
            break
    assert int(one.snapshot()["next"]) == 4
    again = one.step(disc(4)[0])
    assert again.frame.index == 4
    assert not one.step(Frame(6, disc(6)[0], "6")).present[0]
