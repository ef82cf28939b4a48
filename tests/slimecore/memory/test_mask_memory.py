"""The mask memory: reading against the naive sum of kernels, writing, bounds and snapshots."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from slimecore.memory.config import MemoryConfig
from slimecore.memory.mask_memory import MaskMemory, sample_places
from tests.slimecore.memory.known_grid_features import KnownGridFeatures

GRID = (4, 6)


def places(seed, colors=48):
    generator = torch.Generator().manual_seed(seed)
    descriptor = functional.normalize(torch.randn(24, 8, generator=generator), dim=1)
    return KnownGridFeatures(descriptor, 0.1 * torch.rand(24, colors, generator=generator), GRID)


def mask(seed, parts=3):
    return torch.rand(parts, *GRID, generator=torch.Generator().manual_seed(seed)).softmax(0)


def naive_read(config, query, permanent, recent):
    """Sums of kernels written out: cosine / temperature, Lab distance, position for recent frames, area priors.

    First the background against all parts together, then the parts against each other. The references' shares are
    mixed with a tenth of a uniform share and raised to ``reference_share``. The recent frames' shares are raised to the
    remaining exponent, and the product is normalised.
    """
    out = torch.zeros(24, mask(0).shape[0])
    unseen = math.exp(-config.novelty_distance) if config.novelty_distance else 0.0
    for q in range(24):
        ground, together = 0.5 * unseen, 0.5 * unseen
        both = torch.ones(out.shape[1] - 1)
        for entries, is_recent in ((permanent, False), (recent, True)):
            apart = torch.full((out.shape[1] - 1,), 0.25 * unseen)
            for remembered, soft in entries:
                flat = soft.flatten(1)
                share, any_share = flat.mean(1), 1 - flat[0].mean()
                for p in range(24):
                    logit = (query.descriptor[q] @ remembered.descriptor[p] - 1) / config.temperature
                    logit = logit - 0.5 * config.color_weight * (query.color[q] - remembered.color[p]).square().sum()
                    here = flat[0, p]
                    logit = logit - config.class_balance * (here * share[0].log() + (1 - here) * any_share.log())
                    if is_recent and config.spatial_sigma:
                        a = torch.tensor([q // 6, q % 6]) / 4
                        b = torch.tensor([p // 6, p % 6]) / 4
                        logit = logit - 0.5 * (a - b).square().sum() / config.spatial_sigma**2
                    ground = ground + logit.exp() * here
                    together = together + logit.exp() * (1 - here)
                    apart = apart + logit.exp() * flat[1:, p] * (any_share / share[1:]) ** config.class_balance
            shares = 0.9 * apart / apart.sum() + 0.1 / len(apart)
            both = both * shares ** (1 - config.reference_share if is_recent else config.reference_share)
        out[q, 0] = ground / (ground + together)
        out[q, 1:] = both / both.sum() * (1 - out[q, 0])
    return out


@pytest.mark.parametrize(
    "config",
    [
        MemoryConfig(write_interval=1),
        MemoryConfig(write_interval=1, color_weight=0.0),
        MemoryConfig(write_interval=1, spatial_sigma=0.0),
        MemoryConfig(write_interval=1, class_balance=0.0, temperature=0.2),
        MemoryConfig(write_interval=1, color_weight=0.0, spatial_sigma=0.0, class_balance=0.0),
        MemoryConfig(write_interval=1, novelty_distance=0.0),
        MemoryConfig(write_interval=1, novelty_distance=0.0, spatial_sigma=0.0),
        MemoryConfig(write_interval=1, color_weight=0.0, reference_share=0.0),
        MemoryConfig(write_interval=1, color_weight=0.0, reference_share=1.0),
    ],
)
def test_memory_read_matches_naive_sum(config):
    """Reading equals the sum of kernels written out."""
    memory = MaskMemory(config)
    permanent, recent = [(places(1), mask(1))], [(places(2), mask(2)), (places(3), mask(3))]
    for entry in permanent:
        memory.write(*entry, permanent=True)
    for entry in recent:
        memory.write(*entry)
    query = places(9)
    torch.testing.assert_close(memory.read(query), naive_read(config, query, permanent, recent), rtol=1e-4, atol=1e-5)


def test_stored_frame_returns_own_mask():
    """A stored frame gives its own mask back."""
    config = MemoryConfig(temperature=0.01, novelty_distance=0.0)
    memory = MaskMemory(config)
    seen, labels = places(1), mask(1)
    memory.write(seen, labels, permanent=True)
    torch.testing.assert_close(memory.read(seen), labels.flatten(1).T, atol=1e-2, rtol=0)


def test_references_kept_recent_frames_bounded():
    """References are never dropped, and recent frames are bounded."""
    memory = MaskMemory(MemoryConfig(recent_frames=2, write_interval=3))
    memory.write(places(0), mask(0), permanent=True)
    sizes = []
    for i in range(20):
        if memory.should_write():
            memory.write(places(i), mask(i))
        sizes.append(memory.nbytes)
    assert len(memory) == 3
    assert sizes[-1] == sizes[8] == max(sizes)
    assert memory.read(places(0)).argmax(1).eq(mask(0).argmax(0).flatten()).float().mean() > 0.8


def test_write_interval_selects_frames():
    """Every third frame is written."""
    memory = MaskMemory(MemoryConfig(recent_frames=10, write_interval=3))
    assert [memory.should_write() for _ in range(7)] == [False, False, True, False, False, True, False]


def test_zero_recent_frames_stores_references_only():
    """Zero recent frames means references only."""
    memory = MaskMemory(MemoryConfig(recent_frames=0))
    memory.write(places(0), mask(0), permanent=True)
    assert not any(memory.should_write() for _ in range(9))


def test_read_of_subset_gives_rows():
    """Reading a subset of the grid cells gives their rows."""
    memory = MaskMemory(MemoryConfig())
    memory.write(places(1), mask(1), permanent=True)
    where = torch.tensor([3, 17, 4])
    torch.testing.assert_close(memory.read(places(5), where), memory.read(places(5))[where])


def test_stored_positions_follow_flow():
    """Stored positions follow the motion.

    Keys of a frame whose content moved a cell to the right answer as if they had been written at the new position.
    """
    config = MemoryConfig(write_interval=1, color_weight=0.0, spatial_sigma=0.1, temperature=10.0, class_balance=0.0)
    left, right = mask(1).zero_(), mask(1).zero_()
    left[0], right[0] = 1.0, 1.0
    left[:, 1, 2] = torch.tensor([0.0, 1.0, 0.0])
    right[:, 1, 3] = torch.tensor([0.0, 1.0, 0.0])
    flat = KnownGridFeatures(torch.ones(24, 8) / 8**0.5, torch.zeros(24, 48), GRID)
    moved, there = MaskMemory(config), MaskMemory(config)
    moved.write(flat, left)
    there.write(flat, right)
    flow = torch.zeros(8, 12, 2)
    flow[..., 0] = 2.0  # two pixels of a picture twice the grid: one cell
    moved.warp_positions(flow)
    inside = torch.arange(24).reshape(GRID)[:, 1:-1].flatten()
    assert moved.read(flat)[9, 1] == pytest.approx(float(there.read(flat)[9, 1]), abs=0.02)
    assert moved.read(flat)[inside].argmax(0)[1] == there.read(flat)[inside].argmax(0)[1]
    assert there.read(flat)[9, 1] > 0.5


def test_sampling_keeps_near_weights_far():
    """Sampling keeps cells near the parts and weights cells far from them."""
    soft = torch.zeros(2, 60, 80)
    soft[0] = 1
    soft[:, 20:30, 20:30] = torch.tensor([0.0, 1.0])[:, None, None]
    kept, log_weight = sample_places(soft, 1500, torch.Generator().manual_seed(0))
    inside = soft[1].flatten().bool()
    assert inside[kept].sum() == 100
    assert 1300 < len(kept) < 1700
    assert (log_weight >= 0).all()
    assert float(log_weight.exp().sum()) == pytest.approx(4800, rel=0.1)


def test_sampled_read_close_to_full():
    """Reading sampled keys stays close to reading all keys."""
    grid = (40, 60)
    generator = torch.Generator().manual_seed(3)
    descriptor = functional.normalize(torch.randn(2400, 8, generator=generator), dim=1)
    frame = KnownGridFeatures(descriptor, torch.rand(2400, 48, generator=generator) * 0.05, grid)
    soft = torch.zeros(2, *grid)
    soft[0] = 1
    soft[:, 10:20, 10:25] = torch.tensor([0.0, 1.0])[:, None, None]
    full, thin = (MaskMemory(MemoryConfig(keys_per_frame=b, temperature=1.0, class_balance=0.0)) for b in (0, 900))
    full.write(frame, soft, permanent=True)
    thin.write(frame, soft, permanent=True)
    assert thin.nbytes < 0.6 * full.nbytes
    torch.testing.assert_close(thin.read(frame).mean(0), full.read(frame).mean(0), atol=0.01, rtol=0)


def test_keys_use_flow_at_cell_centre():
    """Each key follows the motion at its own centre.

    Flow that differs from pixel to pixel: a key reads the pixel under its cell's centre.
    """
    memory = MaskMemory(MemoryConfig(write_interval=1, keys_per_frame=0))
    memory.write(places(1), mask(1))
    flow = torch.zeros(40, 60, 2)  # ten pixels a cell
    flow[..., 0] = torch.arange(60.0)
    before = places(1).positions()
    memory.warp_positions(flow)
    moved = memory._recent[0].position
    centres = torch.arange(6).repeat(4) * 10 + 5.0
    torch.testing.assert_close(moved[:, 1] - before[:, 1], centres / 40)
    torch.testing.assert_close(moved[:, 0], before[:, 0])


def test_novel_cells_are_undecided():
    """Cells that resemble nothing stored are half background, half parts.

    Two-tone memory: known colours keep their part, a third colour belongs to no part. Without the novelty distance it
    would.
    """
    flat = torch.ones(24, 8) / 8**0.5
    color = torch.zeros(24, 48)
    color[12:] = 0.1
    labels = torch.zeros(3, *GRID)
    labels[0, :2], labels[1, 2:] = 1, 1
    strange = KnownGridFeatures(flat, torch.full((24, 48), -0.04), GRID)
    for unknown, doubtful in ((3.0, True), (0.0, False)):
        memory = MaskMemory(MemoryConfig(novelty_distance=unknown, spatial_sigma=0.0))
        memory.write(KnownGridFeatures(flat, color, GRID), labels, permanent=True)
        assert memory.read(KnownGridFeatures(flat, color, GRID))[0, 0] > 0.9
        assert memory.read(KnownGridFeatures(flat, color, GRID))[23, 1] > 0.9
        equal = memory.read(strange) - torch.tensor([0.5, 0.25, 0.25])
        assert (float(equal.abs().max()) < 0.1) == doubtful


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_part_split_leaves_background_unchanged(parts):
    """Splitting an object into parts does not change its border.

    The background's probability is the same for a single part and for several parts of any size.
    """
    whole = mask(4, 2)
    cut = mask(5, parts + 1)[1:].pow(3)
    pieces = torch.cat([whole[:1], cut / cut.sum(0) * whole[1:]])
    found = []
    for one in (whole, pieces):
        memory = MaskMemory(MemoryConfig(write_interval=1, keys_per_frame=0))
        memory.write(places(1), one, permanent=True)
        memory.write(places(2), one)
        found.append(memory.read(places(9)))
    torch.testing.assert_close(found[1][:, 0], found[0][:, 0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found[1].sum(1), torch.ones(24), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("reach", "most"), [(None, 1e-3), (3.0, 1e-4)])
def test_tiled_read_skips_only_distant_keys(monkeypatch, reach, most):
    """Reading by tiles leaves out only keys beyond the spatial kernel.

    Wide images are read in squares. A recent key beyond two deviations, and no other, goes unread.
    """
    if reach:
        monkeypatch.setattr("slimecore.memory.mask_memory._SPATIAL_CUTOFF_SIGMAS", reach)
    generator = torch.Generator().manual_seed(0)
    grid = (12, 40)

    def wide(value):
        color = torch.full((480, 48), value / 10)
        return KnownGridFeatures(functional.normalize(torch.randn(480, 8, generator=generator), dim=1), color, grid)

    def half(left):
        soft = torch.zeros(2, *grid)
        soft[1, :, :20] = 1.0 if left else 0.0
        soft[0] = 1 - soft[1]
        return soft

    config = MemoryConfig(write_interval=1, keys_per_frame=0, temperature=1.0, novelty_distance=0.0, spatial_sigma=0.15)
    whole = MaskMemory(
        MemoryConfig(write_interval=1, keys_per_frame=0, temperature=1.0, novelty_distance=0.0, spatial_sigma=0.15)
    )
    tiled = MaskMemory(config)
    asked, first, second = wide(0), wide(0), wide(0)
    for memory in (whole, tiled):
        memory.write(first, half(left=True), permanent=True)
        memory.write(second, half(left=False))
    exact = was_reading(whole, asked)
    found = tiled.read(asked)
    assert (found - exact).abs().max() < most
    assert not torch.equal(found, exact)  # some keys did go unread
    assert 0 < len(tiled._keys_in_reach([asked.positions()[:1]])[0]) < 240


def was_reading(memory, asked):
    """All places at once against all keys, of the reference and of the recent frame, with the fused kernel."""
    point = memory._projection.vectors(*asked.gather())
    reference, recent = memory._permanent[0], memory._recent[0]
    scale = memory._config.spatial_sigma
    query = torch.cat([point, asked.positions() / scale], 1)
    near = torch.cat([recent.key[:, :-1], recent.position / scale], 1)
    far = torch.cat([reference.key[:, :-1], torch.zeros(len(reference.key), 2)], 1)
    logits = torch.cat(
        [
            reference.key[:, -1] - 0.5 * torch.cdist(query[:, :-2], far[:, :-2]).square(),
            recent.key[:, -1] - 0.5 * torch.cdist(query, near).square(),
        ],
        1,
    )
    return logits.softmax(1) @ torch.cat([reference.evidence, recent.evidence])


def test_restored_memory_continues_exactly():
    """A restored memory reads and writes on bit for bit."""
    config = MemoryConfig(recent_frames=2, write_interval=2, keys_per_frame=12, key_dims=5)
    one, other = MaskMemory(config, 3), MaskMemory(config, 99)
    for i in range(5):
        one.write(places(i), mask(i), permanent=i in (0, 3))
        one.warp_positions(torch.full((4, 6, 2), 0.25))
    one.should_write()
    other.write(places(7), mask(7), permanent=True)
    other.restore(one.snapshot())
    for i in range(5, 9):
        assert torch.equal(one.read(places(i)), other.read(places(i)))
        assert one.should_write() == other.should_write()
        for memory in (one, other):
            memory.warp_positions(torch.full((4, 6, 2), -0.5))
            memory.write(places(i), mask(i))
    assert one.nbytes == other.nbytes
    assert len(one) == len(other) == 4
    assert {n: t.tolist() for n, t in one.snapshot().items()} == {n: t.tolist() for n, t in other.snapshot().items()}


def test_snapshot_unaffected_by_later_writes():
    """A snapshot is left alone by later writes."""
    memory = MaskMemory(MemoryConfig(recent_frames=1, keys_per_frame=12))
    memory.write(places(0), mask(0), permanent=True)
    memory.write(places(1), mask(1))
    before = {name: tensor.tolist() for name, tensor in memory.snapshot().items()}
    kept = memory.snapshot()
    memory.warp_positions(torch.ones(4, 6, 2))
    memory.write(places(2), mask(2), permanent=True)
    memory.write(places(3), mask(3))
    assert {name: tensor.tolist() for name, tensor in kept.items()} == before


def test_cells_near_parts_kept_first():
    """Cells within a tenth of the short side of a part are kept first.

    A lone part of a single cell: the square around it has three quarters of the budget to itself.
    """
    mask = torch.zeros(2, 40, 60)
    mask[1, 20, 30] = 1
    mask[0] = 1 - mask[1]
    kept, log_weight = sample_places(mask, 108, torch.Generator().manual_seed(0))
    row, column = kept // 60, kept % 60
    near = ((row - 20).abs() <= 4) & ((column - 30).abs() <= 4)
    assert int(near.sum()) == 81
    assert (log_weight[near] == 0).all()
    assert (log_weight[~near] > 3).all()


def test_unlabelled_cells_not_stored():
    """Unlabelled cells of a frame are not stored.

    Cells without labels leave the keys of the others alone, as if the frame had ended before them.
    """
    config = MemoryConfig(key_dims=0, spatial_sigma=0.0, keys_per_frame=0)
    seen, labels = places(1), mask(2)
    known = torch.arange(24).reshape(GRID)[:, :4].flatten()
    part = KnownGridFeatures(seen.descriptor[known], seen.color[known], (4, 4))
    whole, less = MaskMemory(config), MaskMemory(config)
    partly = labels.clone()
    partly[:, :, 4] *= 0.4  # less than half of it known
    partly[:, :, 5] = 0
    whole.write(seen, partly, permanent=True)
    less.write(part, labels[:, :, :4], permanent=True)
    asked = places(3)
    torch.testing.assert_close(whole.read(asked), less.read(asked), rtol=1e-4, atol=1e-6)
    assert len(whole.snapshot()["permanent.0000.key"]) == 16


def test_partly_labelled_cell_normalised():
    """A partly labelled cell counts by its labelled share."""
    config = MemoryConfig(key_dims=0, spatial_sigma=0.0, keys_per_frame=0)
    labels, memories = mask(2), (MaskMemory(config), MaskMemory(config))
    partly = labels.clone()
    partly[:, 1] *= 0.6
    for memory, soft in zip(memories, (labels, partly), strict=True):
        memory.write(places(1), soft, permanent=True)
    torch.testing.assert_close(*(memory.read(places(3)) for memory in memories), rtol=1e-4, atol=1e-6)


def test_nearly_unlabelled_frame_stays_finite():
    """A frame with next to no labels keeps readings finite."""
    memory, labels = MaskMemory(MemoryConfig(key_dims=0)), torch.zeros(3, *GRID)
    labels[1, 2, 3] = 0.1
    memory.write(places(1), labels, permanent=True)
    assert len(memory.snapshot()["permanent.0000.key"]) == 1
    assert torch.isfinite(memory.read(places(3))).all()
    memory.write(places(2), torch.zeros(3, *GRID), permanent=True)
    assert torch.isfinite(memory.read(places(3))).all()


def read_with(lasting, parts, recent_says):
    """Parts' shares, (parts,), of a place that one reference and three recent frames show, recent ones more alike."""
    config = MemoryConfig(
        write_interval=1,
        color_weight=0.0,
        spatial_sigma=0.0,
        class_balance=0.0,
        novelty_distance=0.0,
        keys_per_frame=0,
        key_dims=0,
        reference_share=lasting,
    )
    memory = MaskMemory(config)
    there = functional.normalize(torch.tensor([[1.0, 0.0]]).repeat(24, 1), dim=1)
    alike = functional.normalize(torch.tensor([[1.0, 0.4]]).repeat(24, 1), dim=1)

    def says(part):
        labels = torch.full((parts + 1, *GRID), 0.05 / parts)
        labels[0], labels[1 + part] = 0.05, 0.9 + 0.05 / parts
        return labels

    memory.write(KnownGridFeatures(alike, torch.zeros(24, 1), GRID), says(0), permanent=True)
    for _ in range(3):
        memory.write(KnownGridFeatures(there, torch.zeros(24, 1), GRID), says(recent_says))
    return memory.read(KnownGridFeatures(there, torch.zeros(24, 1), GRID))[0]


def test_reference_outweighs_recent_errors():
    """Recent errors do not outweigh the reference."""
    found = read_with(0.7, 2, recent_says=1)
    assert found[1] > found[2]
    drifted = read_with(0.0, 2, recent_says=1)
    assert drifted[2] > drifted[1]
    torch.testing.assert_close(found[0], drifted[0])  # whether it is any part is read from both together


def test_single_part_ignores_reference_share():
    """With a single part the reference share has no effect."""
    assert torch.equal(read_with(0.0, 1, recent_says=0), read_with(1.0, 1, recent_says=0))
