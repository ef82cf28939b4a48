"""The streaming interface in use: arrays in, references on the way, an iterator over a clip."""

import numpy as np
import pytest

from slimecore.errors import ArtifactError, InputError
from slimecore.metrics.davis import region_j
from slimecore.types import Frame
from slimevid.cues.color_model import ColorModel
from slimevid.io import open_clip
from slimevid.session.segmenter import Segmenter
from tests.slimevid.sessions import small_session


def test_bare_images_numbered(tiny, disc):
    """Images without a frame are numbered."""
    one = small_session(tiny, "copy")
    first = one.add_reference(*disc(0), names={1: "disc"})
    assert first.frame.index == 0
    assert [one.step(disc(i)[0]).frame.index for i in (1, 2, 3)] == [1, 2, 3]
    assert one.step(Frame(9, disc(9)[0], "nine")).frame.index == 9
    assert one.step(disc(10)[0]).frame.index == 10
    assert one.parts.names == ("background", "disc")


def test_later_reference_keeps_earlier(tiny, disc):
    """A later reference is used, and the earlier one is kept."""
    one = small_session(tiny)
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
    one = small_session(tiny, "copy")
    rgb, mask = disc(0)
    one.add_reference(Frame(0, rgb, "0"), mask)
    one.add_reference(Frame(0, rgb, "0"), np.roll(mask, 3, 0))
    assert one.references == (0,)
    assert np.array_equal(one.step(disc(1)[0]).labels, np.roll(mask, 3, 0))


def test_new_part_beside_embeddings_refused(tiny, disc):
    """A new part beside given embeddings is refused, and the session is unchanged."""
    one = small_session(tiny)
    one.add_reference(*disc(0))
    given = Segmenter(one.config, tiny, one.embeddings)
    given.add_reference(*disc(0))
    marked = disc(1)[1].copy()
    marked[2:9, 2:9] = 7
    with pytest.raises(ArtifactError, match="it holds the part values"):
        given.add_reference(disc(1)[0], marked)
    assert given.references == (0,)
    assert np.array_equal(given.step(disc(1)[0]).labels, one.step(disc(1)[0]).labels)


def test_propagate_labels_frames_once(tiny, slide, disc):
    """``propagate`` labels every frame once."""
    clip = open_clip(slide)
    one = small_session(tiny, "flow_warp")
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
        next(small_session(tiny).propagate(clip))
    with pytest.raises(InputError, match="there is no reference on frame 4"):
        small_session(tiny).start(4)


def test_empty_reference_marks_absence(tiny, disc):
    """A reference may say that no part is visible.

    It is the way to take back labels that leaked after the part has left.
    """
    ground = np.ascontiguousarray(np.broadcast_to(disc(0)[0][:1, :1], (48, 64, 3)))
    one = small_session(tiny)
    with pytest.raises(InputError, match="holds no part"):
        one.add_reference(ground, disc(0)[1] * 0)
    one.add_reference(*disc(0))
    result = one.add_reference(ground, disc(0)[1] * 0)
    assert not result.present.any()
    assert one.parts.values == (0, 1)
    assert not one.step(ground).labels.any()
    assert one.step(disc(0)[0]).present[0], "found again when it returns"


def test_reused_buffer_is_copied(tiny, disc):
    """An image written into the same array again is copied.

    Cameras and decoders reuse their buffers.
    """
    buffer, expected, found = disc(0)[0].copy(), small_session(tiny, "flow_warp"), small_session(tiny, "flow_warp")
    expected.add_reference(*disc(0))
    found.add_reference(buffer, disc(0)[1])
    for i in range(1, 4):
        buffer[:] = disc(i)[0]
        assert np.array_equal(found.step(buffer).labels, expected.step(disc(i)[0]).labels)


def test_invalid_calls_refused(tiny, disc):
    """Calls out of order and invalid masks are refused."""
    one = small_session(tiny, "copy")
    with pytest.raises(InputError, match="no soft labels yet"):
        _ = one.soft
    with pytest.raises(InputError, match="part values are 1 to 255"):
        one.add_reference(disc(0)[0], disc(0)[1].astype(int) * 300)
    one.add_reference(*disc(0))
    frame = Frame(0, disc(0)[0], "0")
    with pytest.raises(InputError, match="no reference marks a part"):
        one.add_reference(frame, np.zeros_like(disc(0)[1]))
    assert one.step(disc(1)[0]).present.all()
