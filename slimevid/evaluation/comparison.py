"""Compare result folders, with paired bootstrap intervals (Efron and Tibshirani, 1993)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError
from slimevid.evaluation.protocol import Evaluation

__all__ = ["Comparison", "Interval", "compare"]

RESAMPLES = 10_000
"""Number of bootstrap samples."""
LEVEL = 0.95
"""Confidence level of the intervals."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean score with its bootstrap interval.

    Parameters
    ----------
    value : float
        Mean score 0..1, or a difference of mean scores.
    low, high : float or None
        Ends of the interval. None with fewer than two sequences.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row of the comparison table.

    Parameters
    ----------
    label : str
    jf : Interval
        J&F.
    difference : Interval or None
        J&F minus the J&F of the first folder. None for the first folder.
    """

    label: str
    jf: Interval
    difference: Interval | None


def compare(evaluations: Sequence[Evaluation], seed: int = 0) -> list[Comparison]:
    """Compute J&F of every result folder and its difference to the first.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        Scores of the same ground truth.
    seed : int
        Seed of the resampling.

    Returns
    -------
    list of Comparison
        A row per folder, in order.

    Raises
    ------
    InputError
        The folders were scored on different objects.

    Notes
    -----
    Whole sequences are drawn with replacement, because frames and objects of a sequence depend on each other. All
    folders share the same draws. The interval is the 95 % percentile interval.
    """
    scored = [[o.name for o in e.objects] for e in evaluations]
    if any(names != scored[0] for names in scored):
        raise InputError("the result folders were scored on different objects; they cannot be compared in pairs")
    counts = np.array([len(s.objects) for s in evaluations[0].sequences], np.float64)
    sums = np.array([[sum((o.j.mean() + o.f.mean()) / 2 for o in s.objects) for s in e.sequences] for e in evaluations])
    size = len(counts)
    draws = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), RESAMPLES).astype(np.float64)
    samples = (draws @ sums.T) / (draws @ counts)[:, None]
    means = sums.sum(1) / counts.sum()
    rows = []
    for i, evaluation in enumerate(evaluations):
        difference = _interval(means[i] - means[0], samples[:, i] - samples[:, 0], size) if i else None
        rows.append(Comparison(evaluation.label, _interval(means[i], samples[:, i], size), difference))
    return rows


def _interval(value: float, samples: npt.NDArray[np.float64], sequences: int) -> Interval:
    if sequences < 2:
        return Interval(float(value), None, None)
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(value), float(low), float(high))
