"""What one labelled mesh says about another of its kind: by place, by form, by colour, and by the surface itself.

Each source gives chances (S, P) for the samples of the target. Place always answers; form and colour only where
they have seen something alike, and only as loudly as they predict the source's own pieces from its other pieces.
"""

from __future__ import annotations

import numpy as np

from slimecore.array_types import Array

__all__ = ["cross_validated_trust", "vote_by_feature", "vote_by_position", "vote_by_target_color"]

_NEAR = 16  # neighbours that are asked
_WIDTH = 0.1  # difference of distances, in radii, within which neighbours count alike
_DOUBT = 0.01  # share of chance that place leaves to every other part
_UNSEEN = 1e-3  # weight of "never seen" beside one sample that is just alike
_ASKED = 8000  # known samples at most: features that shells share make a search tree slow
_TESTED = 2000  # samples of the source that a source of evidence is tested on


def vote_by_position(known: Array, labels: Array, asking: Array, parts: int, *, nearest: bool = False) -> Array:
    """Chances (S, P) by the nearest known features, however far they are; by a single one with `nearest`."""
    from scipy.spatial import cKDTree

    few = slice(None, None, 1 if nearest else max(1, len(known) // _ASKED))
    known, labels = known[few], labels[few]
    count = 1 if nearest else min(_NEAR, len(known))
    distance, near = cKDTree(known).query(asking, count)
    distance, near = distance.reshape(-1, count), near.reshape(-1, count)
    weight = np.exp(-(distance**2 - distance[:, :1] ** 2) / (2 * _WIDTH**2))
    chance = _counted(labels[near], weight, parts)
    chance /= chance.sum(1, keepdims=True)
    return np.asarray((chance + _DOUBT / parts) / (1 + _DOUBT))


def vote_by_feature(known: Array, labels: Array, asking: Array, parts: int, width: float) -> Array:
    """Chances (S, P) by known features within about `width`; even where none is."""
    from scipy.spatial import cKDTree

    count = min(_NEAR, len(known))
    distance, near = cKDTree(known).query(asking, count)
    distance, near = distance.reshape(-1, count), near.reshape(-1, count)
    chance = _counted(labels[near], np.exp(-(distance**2) / (2 * width**2)), parts)
    return np.asarray((chance + _UNSEEN * count / parts) / (chance.sum(1, keepdims=True) + _UNSEEN * count))


def vote_by_target_color(color: Array, chance: Array, area: Array, width: float = 0.03) -> Array:
    """Chances (S, P) by what the target's samples of the same colour are thought to be."""
    cell = np.round(color / (width / 2)).astype(np.int64)
    cells, owner = np.unique(cell, axis=0, return_inverse=True)
    owner = owner.reshape(-1)
    total = np.stack([np.bincount(owner, area * chance[:, p], minlength=len(cells)) for p in range(chance.shape[1])], 1)
    if len(cells) <= _TESTED:  # a photograph's many colours stand for themselves
        apart = ((cells[:, None] - cells[None]) ** 2).sum(-1) * (width / 2) ** 2
        total = np.exp(-apart / (2 * width**2)) @ total
    little = 1e-9 * total.sum()
    return np.asarray(((total + little) / (total.sum(1, keepdims=True) + little * chance.shape[1]))[owner])


def cross_validated_trust(
    features: Array, labels: Array, region: Array, area: Array, parts: int, width: float
) -> float:
    """How well features predict a part from the source's other regions of it, 0 (as chance does) .. 1, squared.

    Parameters
    ----------
    features : (S, d) float64
    labels : (S,) int64
    region : (S,) int64
        Connected region of equal label: what lies in the same one is not asked.
    area : (S,) float64
    parts : int
        Rows there are.
    width : float
    """
    present = np.unique(labels)
    if len(present) < 2:
        return 0.0
    step = max(1, len(labels) // _TESTED)
    some = np.unique(np.concatenate([np.arange(0, len(labels), step), np.unique(region, return_index=True)[1]]))
    f, own, group, weight = features[some].astype(np.float32), labels[some], region[some], area[some]
    count = min(_NEAR, len(some))
    apart = (f**2).sum(1)[:, None] + (f**2).sum(1)[None] - 2 * f @ f.T
    kernel = np.exp(-apart.clip(0) / (2 * width**2)) * (group[:, None] != group[None])
    near = np.argpartition(-kernel, count - 1, axis=1)[:, :count]
    chance = _counted(own[near], np.take_along_axis(kernel, near, 1), parts)
    chance = (chance + _UNSEEN * count / parts) / (chance.sum(1, keepdims=True) + _UNSEEN * count)
    right = [float(np.average(chance[own == p, p], weights=weight[own == p].clip(1e-30))) for p in present]
    even = 1 / len(present)
    return max(0.0, (float(np.mean(right)) - even) / (1 - even)) ** 2


def _counted(labels: Array, weight: Array, parts: int) -> Array:
    """(S, P) weights (S, n) summed by the labels (S, n) of neighbours."""
    count = len(labels)
    flat = (np.arange(count)[:, None] * parts + labels).reshape(-1)
    return np.bincount(flat, weight.reshape(-1), minlength=count * parts).reshape(count, parts).astype(np.float64)
