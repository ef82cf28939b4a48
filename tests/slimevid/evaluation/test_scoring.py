"""Scores against an independent implementation, written from the official definitions in plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from slimevid.evaluation.dataset import open_davis, open_pairs
from slimevid.evaluation.protocol import Protocol
from slimevid.evaluation.scoring import evaluate
from tests.slimevid.evaluation.commands import naive_statistics

QUICK = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def naive_j(a, b, void):
    keep = ~void
    union = int(((a | b) & keep).sum())
    return 1.0 if union == 0 else int((a & b & keep).sum()) / union


def naive_edge(mask):
    """Return all pixels that differ from their right, lower or lower-right neighbour."""
    h, w = mask.shape
    return {
        (y, x)
        for y in range(h)
        for x in range(w)
        for dy, dx in ((0, 1), (1, 0), (1, 1))
        if y + dy < h and x + dx < w and mask[y, x] != mask[y + dy, x + dx]
    }


def naive_f(a, b, void, radius=None):
    h, w = a.shape
    r = math.ceil(0.008 * math.sqrt(h * h + w * w)) if radius is None else radius
    one, other = naive_edge(a & ~void), naive_edge(b & ~void)
    if not one or not other:
        return 1.0 if one == other else 0.0

    def found(points, others):
        return sum(any((y - v) ** 2 + (x - u) ** 2 <= r * r for v, u in others) for y, x in points) / len(points)

    precision, recall = found(one, other), found(other, one)
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def naive_semi_supervised(truth, result):
    """(objects, frames) J and F over frames 1..n-2; 255 in the truth is background."""
    truth = [np.where(t == 255, 0, t) for t in truth]
    none = np.zeros(truth[0].shape, bool)
    count, frames = int(truth[0].max()), range(1, len(truth) - 1)
    j = [[naive_j(result[t] == k, truth[t] == k, none) for t in frames] for k in range(1, count + 1)]
    f = [[naive_f(result[t] == k, truth[t] == k, none) for t in frames] for k in range(1, count + 1)]
    return np.array(j), np.array(f)


def naive_unsupervised(truth, result):
    """Every assignment of proposals to objects is tried; void counts for neither; all frames."""
    void = [t == 255 for t in truth]
    truth = [np.where(v, 0, t) for t, v in zip(truth, void, strict=True)]
    count = int(truth[0].max())
    proposals = max(count, max(int(r.max()) for r in result))
    frames = range(len(truth))
    shape = (proposals, count, len(truth))
    j, f = np.zeros(shape), np.zeros(shape)
    for p, g, t in itertools.product(range(proposals), range(count), frames):
        a, b = result[t] == p + 1, truth[t] == g + 1
        j[p, g, t], f[p, g, t] = naive_j(a, b, void[t]), naive_f(a, b, void[t])
    score = (j.mean(2) + f.mean(2)) / 2
    best = max(itertools.permutations(range(proposals), count), key=lambda c: sum(score[p, g] for g, p in enumerate(c)))
    return score, best


def figures(evaluation):
    return np.array([o.j for o in evaluation.objects]), np.array([o.f for o in evaluation.objects])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("objects", [1, 3])
def test_frame_scores_match_official_definition(seed, objects, clip, write, davis, tmp_path):
    """J and F of every frame match the official definition."""
    truth, result = clip(9, objects, seed)
    truth[3, 10:14, 10:20] = 255  # void: background in the semi-supervised task
    root = davis(2017, {"a": truth})
    write(tmp_path / "r" / "a", result)
    ours = evaluate(open_davis(root, 2017), tmp_path / "r", Protocol())
    assert [o.frames for o in ours.objects] == [tuple(f"{i:05d}" for i in range(1, 8))] * objects
    j, f = naive_semi_supervised(truth, result)
    for measured, expected in zip(figures(ours), (j, f), strict=True):
        assert np.abs(measured - expected).max() < 1e-9
    expected = [(naive_statistics(list(a)), naive_statistics(list(b))) for a, b in zip(j, f, strict=True)]
    mean = np.mean(expected, axis=0)
    s = ours.summary
    assert np.allclose([s.j.mean, s.j.recall, s.j.decay], mean[0], atol=1e-9)
    assert np.allclose([s.f.mean, s.f.recall, s.f.decay], mean[1], atol=1e-9)
    assert s.jf == pytest.approx((mean[0][0] + mean[1][0]) / 2, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_unsupervised_matching_is_optimal(seed, clip, write, davis, tmp_path):
    """The matching of proposals in the unsupervised task is optimal."""
    truth, result = clip(4, 3, seed)
    truth[:, 5:9, 3:12] = 255
    truth[0, :4, 0] = range(4)
    result = np.array([0, 3, 1, 2], np.uint8)[result]  # other ids: matching must not care
    result[2, 15:, 25:] = 4  # and a fourth proposal
    root = davis(2017, {"a": truth}, unsupervised=True)
    write(tmp_path / "r" / "a", result)
    ours = evaluate(open_davis(root, 2017, task="unsupervised"), tmp_path / "r", Protocol("unsupervised", "all"))
    score, best = naive_unsupervised(truth, result)
    measured = [(o.j.mean() + o.f.mean()) / 2 for o in ours.objects]
    assert sum(measured) == pytest.approx(sum(score[p, g] for g, p in enumerate(best)), abs=1e-9)
    assert measured == pytest.approx([score[p, g] for g, p in enumerate(best)], abs=1e-9)


def test_unmatched_object_scored_as_empty(clip, write, davis, tmp_path):
    """Objects without a proposal are scored against an empty mask."""
    truth, _ = clip(3, 2, 1)
    root = davis(2017, {"a": truth}, unsupervised=True)
    write(tmp_path / "r" / "a", np.where(truth == 2, 7, 0))
    ours = evaluate(open_davis(root, 2017, task="unsupervised"), tmp_path / "r", Protocol("unsupervised", "all"))
    assert ours.objects[1].j.tolist() == [1.0, 1.0, 1.0]
    assert ours.objects[0].j.tolist() == [float(not (t == 1).any()) for t in truth]


def hand(name):
    mask = np.zeros((20, 30), np.uint8)
    if name == "full":
        mask[:] = 1
    elif name == "pixel":
        mask[9, 14] = 1
    elif name == "border":
        mask[5:, 10:] = 1
    elif name == "corner":
        mask[-1, -1] = 1
    return mask


@pytest.mark.parametrize(
    ("result", "truth", "j", "f"),
    [
        ("empty", "empty", 1, 1),
        ("empty", "full", 0, 1),  # neither has a boundary
        ("full", "empty", 0, 1),
        ("full", "full", 1, 1),
        ("empty", "pixel", 0, 0),
        ("pixel", "pixel", 1, 1),
        ("full", "pixel", 1 / 600, 0),
        ("border", "border", 1, 1),
        ("border", "full", 300 / 600, 0),
        ("corner", "corner", 1, 1),
        ("corner", "border", 1 / 300, None),
    ],
)
def test_hand_made_frames_score_exactly(result, truth, j, f, write, davis, tmp_path):
    """Frames made by hand get their known scores."""
    root = davis(2016, {"a": [255 * hand("pixel"), 255 * hand(truth), 255 * hand("empty")]}, "L")
    write(tmp_path / "r" / "a", [hand(result)], "L", first=1)
    ours = evaluate(open_davis(root, 2016), tmp_path / "r", Protocol(coding="binary"))
    none = np.zeros((20, 30), bool)
    expected = naive_f(hand(result) > 0, hand(truth) > 0, none) if f is None else f
    assert (ours.objects[0].j[0], ours.objects[0].f[0]) == pytest.approx((j, expected), abs=1e-12)


def test_void_ignored_in_unsupervised_only(write, davis, tmp_path):
    """Void pixels are ignored in the unsupervised task only."""
    truth = np.zeros((3, 20, 30), np.uint8)
    truth[:, 5:15, 5:15] = 1
    truth[:, 5:15, 15:20] = 255
    result = (truth > 0).astype(np.uint8)
    root = davis(2017, {"a": truth})
    write(root / "Annotations_unsupervised" / "480p" / "a", truth)
    write(tmp_path / "r" / "a", result)
    for task, frames, j in (("semi-supervised", "inner", 100 / 150), ("unsupervised", "all", 1.0)):
        ours = evaluate(open_davis(root, 2017, task=task), tmp_path / "r", Protocol(task, frames))
        assert ours.summary.j.mean == pytest.approx(j)
        assert ours.sequences[0].notes == ()  # void is no object that came late


def test_clip_of_300_frames_measured(write, davis, tmp_path):
    """A clip of 300 frames is measured from its files."""
    truth = np.zeros((302, 6, 8), np.uint8)
    truth[:, 1:4, 1:5] = 1
    result = truth.copy()
    result[200:] = 0
    root = davis(2017, {"a": truth})
    write(tmp_path / "r" / "a", result)
    s = evaluate(open_davis(root, 2017), tmp_path / "r", Protocol()).summary
    assert s.frames == 300
    assert s.j.decay == 1.0
    assert s.j.recall == pytest.approx(199 / 300)


@QUICK
@given(seed=st.integers(0, 10_000), order=st.permutations([1, 2, 3]))
def test_scores_symmetric_bounded_permutation_invariant(seed, order, clip, write, tmp_path_factory):
    """J is symmetric, F lies in 0..1, and the order of the objects changes nothing."""
    folder = tmp_path_factory.mktemp("laws")
    truth, result = clip(4, 3, seed)
    result[0] = truth[0]  # both sides have the objects in their first frame
    table = np.array([0, *order], np.uint8)
    for name, masks in (("t", truth), ("r", result), ("tp", table[truth]), ("rp", table[result])):
        write(folder / name, masks)
    measured = evaluate(open_pairs(folder / "t"), folder / "r", Protocol(objects="present"))
    swapped = evaluate(open_pairs(folder / "r"), folder / "t", Protocol(objects="present"))
    permuted = evaluate(open_pairs(folder / "tp"), folder / "rp", Protocol(objects="present"))
    same = evaluate(open_pairs(folder / "t"), folder / "t", Protocol(objects="present"))
    j, f = figures(measured)
    assert np.array_equal(j, figures(swapped)[0])
    assert ((f >= 0) & (f <= 1)).all()
    assert (figures(same)[0] == 1).all()
    assert (figures(same)[1] == 1).all()
    rows = [order[k] - 1 for k in range(3)]
    assert np.array_equal(figures(permuted)[0][rows], j)
    assert np.array_equal(figures(permuted)[1][rows], f)
    assert permuted.summary.jf == pytest.approx(measured.summary.jf, abs=1e-12)


def test_strict_f_uses_pixel_tolerance(clip, write, tmp_path):
    """Strict F is F at a tolerance given in pixels."""
    truth, result = clip(6, 2, 3, size=(60, 90))
    write(tmp_path / "t", truth)
    write(tmp_path / "r", result)
    ours = evaluate(open_pairs(tmp_path / "t"), tmp_path / "r", Protocol(strict=2))
    none = np.zeros((60, 90), bool)
    for o in ours.objects:
        pairs = [(result[t] == o.object, truth[t] == o.object) for t in range(1, 5)]
        assert o.strict == pytest.approx([naive_f(a, b, none, 2) for a, b in pairs], abs=1e-9)


def test_jobs_do_not_change_scores(clip, write, davis, tmp_path):
    """The number of processes does not change the scores."""
    clips = {f"s{i}": clip(5 + i, 2, i) for i in range(3)}
    root = davis(2017, {name: pair[0] for name, pair in clips.items()})
    for name, pair in clips.items():
        write(tmp_path / "r" / name, pair[1])
    one, two = (evaluate(open_davis(root, 2017), tmp_path / "r", Protocol(), jobs=jobs) for jobs in (1, 2))
    assert [o.name for o in one.objects] == [o.name for o in two.objects]
    for a, b in zip(one.objects, two.objects, strict=True):
        assert np.array_equal(a.j, b.j)
        assert np.array_equal(a.f, b.f)


@pytest.mark.data
def test_davis_frames_match_array_code(data, tmp_path, write):
    """Scores of DAVIS-2016 frames at full size, for the copied first mask, match plain array code."""
    import cv2

    root = data / "DAVIS"
    files = sorted((root / "Annotations" / "480p" / "dog").glob("*.png"))
    truth = [np.array(Image.open(f)) > 0 for f in files]
    write(tmp_path / "dog", [truth[0]] * len(truth))
    ours = evaluate(open_davis(root, 2016, sequences=["dog"]), tmp_path, Protocol(coding="binary"))
    y, x = np.mgrid[-8:9, -8:9]
    disk = (x**2 + y**2 <= 64).astype(np.uint8)

    def edge(mask):
        padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
        others = (padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:])
        out = np.any([mask ^ other for other in others], axis=0)
        # beyond the border the mask goes on as it ends, so only the diagonal there must not count twice
        out[-1] = mask[-1] ^ padded[-2, 1:]
        out[:, -1] = mask[:, -1] ^ padded[1:, -2]
        return out

    for i in range(1, len(truth) - 1, 6):
        a, b = truth[0], truth[i]
        one, other = edge(a), edge(b)
        p = (one & (cv2.dilate(other.astype(np.uint8), disk) > 0)).sum() / one.sum()
        r = (other & (cv2.dilate(one.astype(np.uint8), disk) > 0)).sum() / other.sum()
        assert ours.objects[0].j[i - 1] == pytest.approx((a & b).sum() / (a | b).sum(), abs=1e-9)
        assert ours.objects[0].f[i - 1] == pytest.approx(2 * p * r / (p + r) if p + r else 0.0, abs=1e-9)
