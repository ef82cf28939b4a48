"""Several result folders side by side, with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError
from slimevid.evaluation.protocol import Evaluation

__all__ = ["Comparison", "Interval", "compare"]

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its bootstrap interval, 0..1; no interval (None) from fewer than two sequences."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of the table.

    Parameters
    ----------
    label : str
    jf : Interval
        J&F.
    difference : Interval or None
        J&F minus that of the first folder; None for the first itself.
    """

    label: str
    jf: Interval
    difference: Interval | None


def compare(evaluations: Sequence[Evaluation], seed: int = 0) -> list[Comparison]:
    """J&F of every folder and its difference to the first.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        Of the same ground truth.
    seed : int
        Of the resampling.

    Returns
    -------
    list of Comparison

    Raises
    ------
    InputError
        They scored different objects.

    Notes
    -----
    Sequences are drawn with replacement, the same draw for all folders: frames of a sequence, and its objects, are not
    independent of each other. The interval is the percentile one of 95 %.
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
