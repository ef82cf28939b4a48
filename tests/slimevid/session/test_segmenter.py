"""The streaming interface and the fusion, on clips with known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from slimecore.errors import InputError, UnknownPlugin
from slimecore.io.masks import MaskFile, make_parts
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.memory.config import MemoryConfig
from slimecore.memory.grid_features import GridFeatures
from slimecore.memory.mask_memory import MaskMemory
from slimecore.metrics.davis import region_j
from slimecore.types import Annotation, Frame
from slimevid.config import FusionConfig, RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.frame.labels import top_k_mean
from slimevid.fusion.memory_reading import read_memory
from slimevid.propagators import Context
from slimevid.propagators.fused import build
from slimevid.session.segmenter import Segmenter
from tests.known_places import KnownPlaces

QUICK = LearnConfig(tokens=2, steps=30, views=ViewConfig(count=1))


def clip_of(two_tone, count=5, step=6):
    """The disc's picture rolled sideways, `step` pixels a frame."""
    rgb, mask = two_tone
    frames = [Frame(i, np.roll(rgb, step * i, 1), f"{i:05d}") for i in range(count)]
    return frames, [np.roll(mask, step * i, 1) for i in range(count)]


def annotate(frame, mask):
    parts = make_parts(MaskFile(mask.astype(np.int32), {}))
    return Annotation(frame.rgb, parts.index(mask), parts)


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


def test_fine_reading_only_where_uncertain():
    """The memory is read finely where the result is uncertain, and nowhere else."""
    random = torch.Generator().manual_seed(0)
    grid = (12, 16)
    descriptor = functional.normalize(torch.randn(192, 8, generator=random), dim=1)
    places = KnownPlaces(descriptor, torch.rand(192, 48, generator=random), grid)
    memory = MaskMemory(MemoryConfig(temperature=0.2, color_weight=0.0))
    memory.write(places, torch.rand(3, *grid, generator=random).softmax(0), permanent=True)
    fine = memory.read(places).T.reshape(3, *grid).numpy()
    everywhere = read_memory(memory, places, lambda coarse: np.ones(grid, bool))
    nowhere = read_memory(memory, places, lambda coarse: np.zeros(grid, bool))
    spot = np.zeros(grid, bool)
    spot[6, 9] = True
    one = read_memory(memory, places, lambda coarse: spot)
    assert np.allclose(everywhere, fine, atol=1e-5)
    assert np.allclose(nowhere[:, ::11, ::15], fine[:, ::11, ::15], atol=1e-5)  # corners are sampled
    assert np.allclose(one[:, 6, 9], fine[:, 6, 9], atol=1e-5)
    assert np.allclose(one[:, :4], nowhere[:, :4], atol=1e-5)
    assert not np.allclose(nowhere[:, 6, 9], fine[:, 6, 9], atol=1e-3)


def test_appearance_warped_between_readings(two_tone, tiny, monkeypatch):
    """The appearance map is warped between readings.

    It is read at the first and third key frame only. Warped by the flow between, it alone still follows the part.
    """
    import slimevid.propagators.fused as module

    read = []
    real = module.read_out
    monkeypatch.setattr(module, "read_out", lambda *a: read.append(1) or real(*a))
    fusion = FusionConfig(
        appearance_weight=1.0,
        appearance_interval=2,
        memory_weight=0.0,
        flow_weight=0.0,
        background_motion_weight=0.0,
        guided_filter_radius=0,
    )
    frames, truth = clip_of(two_tone, count=5, step=12)
    config = RunConfig(network_size=96, mask_size=96, learn=QUICK, fusion=fusion)
    segmenter = Segmenter(config, tiny)
    segmenter.add_reference(frames[0], annotate(frames[0], truth[0]))
    scores = []
    for frame, mask in zip(frames[1:], truth[1:], strict=True):
        scores.append(region_j(segmenter.step(frame).labels, mask))
    assert len(read) == 2
    assert scores[1] > 0.85 * scores[0]
    assert scores[3] > 0.85 * scores[2]


def test_top_k_mean_matches_sorting():
    """The mean of the strongest pixels matches sorting all pixels."""
    rng = np.random.default_rng(0)
    for size in ((3, 2), (16, 16), (61, 37), (200, 100)):
        soft = rng.random((3, *size)).astype(np.float32)
        soft[:1] = soft[:1].round(2)  # with ties
        counts = np.array([1, 4, 9])
        expected = [np.sort(p.ravel())[-min(n, p.size) :].mean() for p, n in zip(soft, counts, strict=True)]
        assert top_k_mean(soft, counts) == pytest.approx(expected)


@pytest.mark.parametrize(("detail", "same"), [(2, True), (4, True), (5, False)])
def test_grid_colors_need_two_pixels(tiny, detail, same):
    """Colours of grid cells come from an image that has two pixels per cell.

    This is the network's input where that is fine enough, otherwise the frame itself.
    """
    config = RunConfig(network_size=64, memory=MemoryConfig(grid_upsampling=detail))
    rgb = np.zeros((256, 256, 3), np.uint8)
    rgb[:, ::4] = 255
    state = FrameFeatures(Frame(0, rgb, "0"), config, tiny)
    cells = GridFeatures.of(state.descriptor, state.network_image, detail).cells
    assert np.array_equal(state.grid_features.cells, cells) is same
    assert state.network_image.shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("round_trip", "apart", "power"), [(9.0, 2.0, 1), (9.0, 0.0, 0), (0.0, 0.0, 0.5), (0.0, 2.0, 1.5)]
)
def test_unreliable_flow_assigns_nearby_part(tiny, monkeypatch, round_trip, apart, power):
    """Where motion is unreliable a pixel is assigned to the part nearby.

    Only motion gives evidence. Forward and backward flow contradict each other by a number of pixels, or not at all.
    """
    there, back = np.zeros((60, 80, 2), np.float32), np.full((60, 80, 2), round_trip, np.float32)
    flows = iter([there, back])
    fusion = FusionConfig(
        appearance_weight=0.0,
        memory_weight=0.0,
        background_motion_weight=0.0,
        color_weight=0.0,
        refinement_limit=0.0,
    )
    for module in ("slimevid.propagators.fused", "slimevid.fusion.label_solver"):
        monkeypatch.setattr(f"{module}.FLOW_GAIN", apart)
    config = RunConfig(flow_size=60, mask_size=60, fusion=fusion)
    frame = Frame(0, np.zeros((60, 80, 3), np.uint8), "0")
    soft = np.zeros((3, 60, 80), np.float32)
    soft[1, :, :40] = soft[2, :, 40:] = 0.8
    soft[1:] += 0.1
    fused = build(Context(config, 3, lambda *_: next(flows), object(), "cpu"))
    fused.start(FrameFeatures(frame, config, tiny), soft)
    found = fused.step(FrameFeatures(frame, config, tiny, 1)).labels
    odds = (0.98 * 0.9 + 0.02 / 10) / (0.98 * 0.1 + 0.02 / 10)  # with the floor
    assert found[1, :, :25] / found[2, :, :25] == pytest.approx(odds**power, rel=0.05)
    assert found[2, :, 55:] / found[1, :, 55:] == pytest.approx(odds**power, rel=0.05)
    assert np.allclose(found.sum(0), 1, atol=1e-5)
