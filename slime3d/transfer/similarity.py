"""Label votes for a target mesh from a labelled source mesh, by position, shape and colour (docs/adr/0016).

Each function returns part probabilities (S, P) of the target's samples. Position always votes. Shape and colour vote
where the source has similar features, with a weight equal to their leave-one-region-out accuracy on the source.
"""

from __future__ import annotations

import numpy as np

from slimecore.array_types import Array

__all__ = ["cross_validated_trust", "vote_by_feature", "vote_by_position", "vote_by_target_color"]

_NEIGHBOURS = 16  # nearest source samples that vote
_POSITION_WIDTH_RADII = 0.1  # standard deviation of the Gaussian over excess distances, in radii of the source
_POSITION_UNIFORM_SHARE = 0.01  # uniform probability mixed into position votes
_UNIFORM_WEIGHT = 1e-3  # weight of the uniform distribution a neighbour, beside 1 for an equal feature
_MAX_SEARCHED_SAMPLES = 8000  # source samples, as features shared within shells make a search tree slow
_MAX_KERNEL_ROWS = 2000  # source samples, or colours, of a dense kernel matrix


def vote_by_position(features: Array, labels: Array, queries: Array, parts: int, *, nearest: bool = False) -> Array:
    """Vote by the nearest source samples, at any distance.

    Parameters
    ----------
    features : (n, d) float64
        Position features of the source's samples, in radii of the source.
    labels : (n,) int64
    queries : (S, d) float64
        Position features of the target's samples.
    parts : int
        P.
    nearest : bool
        Use the single nearest sample, without subsampling the source.

    Returns
    -------
    (S, P) float64
        Probabilities that sum to 1.
    """
    from scipy.spatial import cKDTree

    stride = slice(None, None, 1 if nearest else max(1, len(features) // _MAX_SEARCHED_SAMPLES))
    features, labels = features[stride], labels[stride]
    count = 1 if nearest else min(_NEIGHBOURS, len(features))
    distance, neighbours = cKDTree(features).query(queries, count)
    distance, neighbours = distance.reshape(-1, count), neighbours.reshape(-1, count)
    weight = np.exp(-(distance**2 - distance[:, :1] ** 2) / (2 * _POSITION_WIDTH_RADII**2))
    probability = _sum_by_label(labels[neighbours], weight, parts)
    probability /= probability.sum(1, keepdims=True)
    return np.asarray((probability + _POSITION_UNIFORM_SHARE / parts) / (1 + _POSITION_UNIFORM_SHARE))


def vote_by_feature(features: Array, labels: Array, queries: Array, parts: int, width: float) -> Array:
    """Vote by source samples with similar features.

    Parameters
    ----------
    features : (n, d) float64
    labels : (n,) int64
    queries : (S, d) float64
    parts : int
        P.
    width : float
        Standard deviation of the Gaussian kernel, in units of the features.

    Returns
    -------
    (S, P) float64
        Probabilities that sum to 1, uniform for queries without a similar sample.
    """
    from scipy.spatial import cKDTree

    count = min(_NEIGHBOURS, len(features))
    distance, neighbours = cKDTree(features).query(queries, count)
    distance, neighbours = distance.reshape(-1, count), neighbours.reshape(-1, count)
    probability = _sum_by_label(labels[neighbours], np.exp(-(distance**2) / (2 * width**2)), parts)
    return np.asarray(
        (probability + _UNIFORM_WEIGHT * count / parts) / (probability.sum(1, keepdims=True) + _UNIFORM_WEIGHT * count)
    )


def vote_by_target_color(color: Array, probability: Array, area: Array, width: float = 0.03) -> Array:
    """Vote by the current probabilities of the target's samples with similar colour.

    Parameters
    ----------
    color : (S, 3) float64
        RGB, 0..1.
    probability : (S, P) float64
        Current part probabilities.
    area : (S,) float64
        Weights of the samples.
    width : float
        Standard deviation of the Gaussian kernel over colours.

    Returns
    -------
    (S, P) float64
        Probabilities that sum to 1.
    """
    cell = np.round(color / (width / 2)).astype(np.int64)
    cells, cell_of = np.unique(cell, axis=0, return_inverse=True)
    cell_of = cell_of.reshape(-1)
    total = np.stack(
        [np.bincount(cell_of, area * probability[:, p], minlength=len(cells)) for p in range(probability.shape[1])], 1
    )
    if len(cells) <= _MAX_KERNEL_ROWS:  # a photographic texture has too many colours for a kernel matrix
        squared_distance = ((cells[:, None] - cells[None]) ** 2).sum(-1) * (width / 2) ** 2
        total = np.exp(-squared_distance / (2 * width**2)) @ total
    floor = 1e-9 * total.sum()
    return np.asarray(((total + floor) / (total.sum(1, keepdims=True) + floor * probability.shape[1]))[cell_of])


def cross_validated_trust(
    features: Array, labels: Array, region: Array, area: Array, parts: int, width: float
) -> float:
    """Measure by leave-one-region-out prediction how well features determine the part, 0 (chance level) .. 1.

    It is the squared mean accuracy over parts, rescaled so that chance level is 0.

    Parameters
    ----------
    features : (S, d) float64
    labels : (S,) int64
    region : (S,) int64
        Connected region of equal label. Samples of the same region do not vote for each other.
    area : (S,) float64
        Weights of the samples.
    parts : int
        P.
    width : float
        Standard deviation of the Gaussian kernel, in units of the features.

    Returns
    -------
    float
    """
    present = np.unique(labels)
    if len(present) < 2:
        return 0.0
    step = max(1, len(labels) // _MAX_KERNEL_ROWS)
    chosen = np.unique(np.concatenate([np.arange(0, len(labels), step), np.unique(region, return_index=True)[1]]))
    x, true, chosen_region, weight = features[chosen].astype(np.float32), labels[chosen], region[chosen], area[chosen]
    count = min(_NEIGHBOURS, len(chosen))
    squared_distance = (x**2).sum(1)[:, None] + (x**2).sum(1)[None] - 2 * x @ x.T
    kernel = np.exp(-squared_distance.clip(0) / (2 * width**2)) * (chosen_region[:, None] != chosen_region[None])
    neighbours = np.argpartition(-kernel, count - 1, axis=1)[:, :count]
    probability = _sum_by_label(true[neighbours], np.take_along_axis(kernel, neighbours, 1), parts)
    probability = (probability + _UNIFORM_WEIGHT * count / parts) / (
        probability.sum(1, keepdims=True) + _UNIFORM_WEIGHT * count
    )
    accuracy = [float(np.average(probability[true == p, p], weights=weight[true == p].clip(1e-30))) for p in present]
    uniform = 1 / len(present)
    return max(0.0, (float(np.mean(accuracy)) - uniform) / (1 - uniform)) ** 2


def _sum_by_label(labels: Array, weight: Array, parts: int) -> Array:
    """Sum the weights (S, n) of neighbours by their labels (S, n) to (S, P)."""
    count = len(labels)
    flat = (np.arange(count)[:, None] * parts + labels).reshape(-1)
    return np.bincount(flat, weight.reshape(-1), minlength=count * parts).reshape(count, parts).astype(np.float64)
