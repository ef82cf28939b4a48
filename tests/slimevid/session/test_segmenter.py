"""The streaming interface on clips with known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from slimecore.errors import InputError, UnknownPlugin
from slimecore.io.masks import MaskFile, make_parts
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.metrics.davis import region_j
from slimecore.types import Annotation, Frame
from slimevid import open_clip
from slimevid.config import RunConfig
from slimevid.session.segmenter import Segmenter
from tests.slimevid.sessions import annotate, clip_of

QUICK = LearnConfig(tokens=2, steps=30, views=ViewConfig(count=1))


def run(two_tone, tiny, **settings):
    frames, truth = clip_of(two_tone)
    segmenter = Segmenter(RunConfig(network_size=96, mask_size=96, learn=QUICK, **settings), tiny)
    segmenter.add_reference(frames[0], annotate(frames[0], truth[0]))
    return [segmenter.step(frame) for frame in frames[1:]], truth[1:]


@pytest.mark.parametrize(
    ("propagator", "least", "most"),
    [("fused", 0.85, 1.0), ("flow_warp", 0.8, 1.0), ("per_frame", 0.7, 1.0), ("copy", 0.0, 0.7)],
)
def test_propagators_follow_sliding_disc(two_tone, tiny, propagator, least, most):
    """Every propagator follows a sliding disc within its known range of J."""
    results, truth = run(two_tone, tiny, propagator=propagator)
    score = region_j(results[-1].labels, truth[-1])
    assert least <= score <= most


def test_copy_needs_no_model(two_tone):
    """The copying baseline needs no model."""
    frames, truth = clip_of(two_tone, count=2)
    segmenter = Segmenter(RunConfig(propagator="copy"))
    first = segmenter.add_reference(frames[0], annotate(frames[0], truth[0]))
    assert np.array_equal(first.labels, truth[0])
    assert np.array_equal(segmenter.step(frames[1]).labels, truth[0])
    assert segmenter.backbone is None


def test_part_values_preserved(two_tone, tiny):
    """Part values are preserved."""
    frames, truth = clip_of(two_tone, count=2)
    marked = truth[0].copy()
    marked[truth[0] > 0] = 9
    marked[48:][truth[0][48:] > 0] = 200
    segmenter = Segmenter(RunConfig(network_size=96, mask_size=96, learn=QUICK), tiny)
    segmenter.add_reference(frames[0], annotate(frames[0], marked))
    result = segmenter.step(frames[1])
    assert result.labels.dtype == np.uint8
    assert set(np.unique(result.labels)) == {0, 9, 200}
    assert result.area.shape == result.presence.shape == (2,)


def test_departed_part_absent(two_tone, tiny):
    """A part that left is reported absent."""
    frames, truth = clip_of(two_tone, count=2)
    empty = Frame(1, np.broadcast_to(frames[0].rgb[:1, :1], frames[0].rgb.shape).copy(), "00001")
    segmenter = Segmenter(RunConfig(network_size=96, mask_size=96, learn=QUICK, propagator="fused"), tiny)
    segmenter.add_reference(frames[0], annotate(frames[0], truth[0]))
    for i in range(1, 8):
        result = segmenter.step(Frame(i, empty.rgb, f"{i:05d}"))
    assert not result.present[0]
    assert result.labels.max() == 0


def test_runs_reproducible_bit_for_bit(two_tone, tiny):
    """Runs are reproducible bit for bit."""
    first, _ = run(two_tone, tiny)
    second, _ = run(two_tone, tiny)
    assert all(np.array_equal(a.labels, b.labels) for a, b in zip(first, second, strict=True))
    assert first[-1].presence == pytest.approx(second[-1].presence, abs=0)


def test_memory_bounded(two_tone, tiny):
    """The memory does not grow with the clip."""
    frames, truth = clip_of(two_tone, count=30, step=1)
    segmenter = Segmenter(RunConfig(network_size=64, mask_size=64, learn=QUICK), tiny)
    segmenter.add_reference(frames[0], annotate(frames[0], truth[0]))
    sizes = []
    for frame in frames[1:]:
        segmenter.step(frame)
        sizes.append(segmenter.memory_bytes)
    full = 3 * 4  # frames until the FIFO is full: one of three enters, four are kept
    assert sizes[full] > sizes[0]
    assert max(sizes[full:]) < 1.1 * sizes[full]


def test_step_before_reference_refused(tiny):
    """A step before a reference is refused."""
    with pytest.raises(InputError, match="add_reference must come first"):
        Segmenter(RunConfig(), tiny).step(Frame(0, np.zeros((8, 8, 3), np.uint8), "0"))


def test_unknown_plugin_names_nearest():
    """For an unknown propagator or flow the nearest is named."""
    with pytest.raises(UnknownPlugin, match="did you mean 'flow_warp'"):
        Segmenter(RunConfig(propagator="flow_wrap"))
    with pytest.raises(UnknownPlugin, match="dis"):
        Segmenter(RunConfig(flow="diss"))


def test_tiny_part_kept_on_reference(two_tone, tiny):
    """A tiny part is kept on its own reference frame."""
    frames, truth = clip_of(two_tone, count=1)
    marked = truth[0].copy()
    marked[5, 5:8] = 2
    segmenter = Segmenter(RunConfig(network_size=96, mask_size=96, learn=QUICK), tiny)
    result = segmenter.add_reference(frames[0], annotate(frames[0], marked))
    assert np.array_equal(result.labels, marked)
    assert result.present.all()


def test_second_reference_learns_unless_given(two_tone, tiny):
    """A second reference learns again, unless part embeddings were given."""
    frames, truth = clip_of(two_tone, count=1)
    other = Frame(0, frames[0].rgb[..., ::-1].copy(), "0")
    segmenter = Segmenter(RunConfig(network_size=64, mask_size=64, learn=QUICK), tiny)
    segmenter.add_reference(frames[0], annotate(frames[0], truth[0]))
    first = segmenter.embeddings
    segmenter.add_reference(other, annotate(other, truth[0]))
    assert not np.array_equal(first.vectors, segmenter.embeddings.vectors)
    given = Segmenter(RunConfig(network_size=64, mask_size=64, learn=QUICK), tiny, first)
    given.add_reference(other, annotate(other, truth[0]))
    assert given.embeddings is first


def test_presence_is_probability(two_tone, tiny):
    """Presence is a probability."""
    results, _ = run(two_tone, tiny)
    assert all(0 <= r.presence[0] <= 1 for r in results)


def test_uncertain_part_absent_without_pixels(two_tone):
    """A part without a confident pixel is absent and owns no pixel."""
    frames, truth = clip_of(two_tone, count=2)
    marked = truth[0].copy()
    marked[48:][truth[0][48:] > 0] = 2
    segmenter = Segmenter(RunConfig(propagator="copy"))
    segmenter.add_reference(frames[0], annotate(frames[0], marked))
    soft = np.zeros((3, 96, 128), np.float32)
    soft[0], soft[1], soft[2] = 0.31, 0.36, 0.33  # part 1 wins everywhere, but is nowhere sure
    soft[:, :10] = np.array([0.1, 0.0, 0.9])[:, None, None]
    segmenter.restore({**segmenter.snapshot(), "soft": soft})
    result = segmenter.step(frames[1])
    assert result.present.tolist() == [False, True]
    assert set(np.unique(result.labels)) == {2}


@pytest.mark.parametrize(
    ("propagator", "every"), [("fused", 1), ("fused", 2), ("per_frame", 1), ("memory_only", 1), ("flow_warp", 1)]
)
def test_propagate_matches_stepping(two_tone, tiny, tmp_path, propagator, every):
    """``propagate`` gives the labels of stepping through the frames.

    With a thread for each half and a single thread in all, kernels and therefore bits are the same.
    """
    import cv2

    rgb, mask = two_tone
    for i in range(6):
        cv2.imwrite(str(tmp_path / f"{i:03d}.png"), np.roll(rgb, 5 * i, 1)[..., ::-1])
    clip = open_clip(tmp_path)
    parts = make_parts(MaskFile(mask.astype(np.int32), {}))
    learn = LearnConfig(tokens=2, steps=10, views=ViewConfig(count=1))
    config = RunConfig(network_size=96, mask_size=96, keyframe_interval=1, learn=learn, propagator=propagator)
    config = replace(config, fusion=replace(config.fusion, appearance_interval=every))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = []
        for way in ("step", "from the reference on", "from after it on"):
            session = Segmenter(config, tiny)
            first = next(clip.read(0, 1))
            session.add_reference(first, Annotation(first.rgb, parts.index(mask), parts))
            if way == "step":
                results = [session.step(f) for f in clip.read(1, 6)]
            elif way == "from the reference on":
                results = list(session.propagate(clip))[1:]
            else:
                results = list(session.propagate(clip, start=1))
            found.append([result.labels for result in results])
    finally:
        torch.set_num_threads(threads)
    assert len(found[0]) == 5
    for stepped, *others in zip(*found, strict=True):
        assert all(np.array_equal(stepped, other) for other in others)
