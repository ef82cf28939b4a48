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
def test_a_restored_session_goes_on_bit_for_bit(tiny, disc, propagator, seen):
    """Whatever a propagator remembers must be in its snapshot, also when the FIFO is full and has turned over."""
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
def test_a_snapshot_holds_all_that_is_remembered_and_no_more(tiny, disc, propagator):
    one = session(tiny, propagator)
    one.add_reference(*disc(0))
    for i in range(1, 8):
        one.step(disc(i)[0])
    size = sum(array.nbytes for array in one.snapshot().values())
    remembered = one.memory_bytes - (ColorModel().nbytes if propagator == "fused" else 0)  # made from the references
    assert remembered <= size <= remembered + 10_000  # the generator's state comes on top


def test_pictures_alone_are_numbered(tiny, disc):
    one = session(tiny, "copy")
    first = one.add_reference(*disc(0), names={1: "disc"})
    assert first.frame.index == 0
    assert [one.step(disc(i)[0]).frame.index for i in (1, 2, 3)] == [1, 2, 3]
    assert one.step(Frame(9, disc(9)[0], "nine")).frame.index == 9
    assert one.step(disc(10)[0]).frame.index == 10
    assert one.parts.names == ("background", "disc")


def test_a_reference_mid_way_is_taken_up_and_the_earlier_one_kept(tiny, disc):
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


def test_a_reference_on_the_same_frame_replaces_it(tiny, disc):
    one = session(tiny, "copy")
    rgb, mask = disc(0)
    one.add_reference(Frame(0, rgb, "0"), mask)
    one.add_reference(Frame(0, rgb, "0"), np.roll(mask, 3, 0))
    assert one.references == (0,)
    assert np.array_equal(one.step(disc(1)[0]).labels, np.roll(mask, 3, 0))


def test_a_new_part_beside_given_embeddings_is_refused_and_changes_nothing(tiny, disc):
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


def test_a_dropped_part_leaves_from_the_next_frame_on(tiny, disc):
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


def test_propagate_labels_every_frame_once(tiny, slide, disc):
    clip = open_clip(slide)
    one = session(tiny, "flow_warp")
    for i in (3, 8):
        one.add_reference(next(clip.read(i, i + 1)), disc(i)[1])
    results = list(one.propagate(clip))
    assert [r.frame.index for r in results] == [2, 1, 0, 3, 4, 5, 7, 6, 8, 9, 10, 11]
    assert all(region_j(r.labels, disc(r.frame.index)[1]) > 0.6 for r in results if 1 < r.frame.index < 11)
    some = list(one.propagate(clip, 2, 11, 3))
    assert [r.frame.index for r in some] == [2, 5, 8]


def test_without_a_reference_nothing_propagates(tiny, slide):
    clip = open_clip(slide)
    with pytest.raises(InputError, match="add_reference must come before propagate"):
        next(session(tiny).propagate(clip))
    with pytest.raises(InputError, match="there is no reference on frame 4"):
        session(tiny).start(4)


def test_a_part_small_in_one_reference_is_judged_by_that_size(tiny, disc):
    one = session(tiny, "copy")
    small = disc(1)[1] * 0
    small[10, 10:12] = 1
    one.add_reference(*disc(0))
    one.add_reference(disc(1)[0], small)
    assert one._stream._min_areas.tolist() == [2]
    assert one.step(disc(2)[0]).present.all()


def test_was_reads_the_memory_and_learns_nothing(tiny, disc):
    one = session(tiny, "memory_only")
    one.add_reference(*disc(0))
    assert one.embeddings is None
    for i in range(1, 4):
        result = one.step(disc(i)[0])
    assert region_j(result.labels, disc(3)[1]) > 0.5
    with pytest.raises(ConfigError, match="reads the memory alone"):
        session(tiny, "memory_only", fusion=FusionConfig(memory_weight=0.0)).add_reference(*disc(0))


def test_a_reference_may_say_that_nothing_is_there(tiny, disc):
    """The way to take back what leaked after the part has left."""
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


def test_what_is_ignored_teaches_nothing(tiny, disc):
    """Pixels marked -1 are remembered neither as a part nor as background; marked 0 they are background."""
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


def test_a_picture_written_into_the_same_array_again(tiny, disc):
    """As cameras and decoders hand them out."""
    buffer, expected, found = disc(0)[0].copy(), session(tiny, "flow_warp"), session(tiny, "flow_warp")
    expected.add_reference(*disc(0))
    found.add_reference(buffer, disc(0)[1])
    for i in range(1, 4):
        buffer[:] = disc(i)[0]
        assert np.array_equal(found.step(buffer).labels, expected.step(disc(i)[0]).labels)


@pytest.mark.parametrize("propagator", ["fused", "flow_warp"])
def test_frames_of_another_size_are_refused_and_do_not_count(tiny, disc, propagator):
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


def test_calls_that_make_no_sense_are_refused(tiny, disc):
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


def test_a_part_dropped_twice_is_dropped_from_both_frames_on(tiny, disc):
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


def test_a_snapshot_holds_drops_and_the_number_of_the_next_frame(tiny, disc):
    one, other = session(tiny, "copy"), session(tiny, "copy")
    for each in (one, other):
        each.add_reference(*disc(0))
    one.drop(1)
    one.step(disc(1)[0])
    other.restore(one.snapshot())
    result = other.step(disc(2)[0])
    assert result.frame.index == 2
    assert not result.present[0]


def test_leaving_a_clip_early_goes_on_where_the_last_whole_span_ended(tiny, disc):
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
