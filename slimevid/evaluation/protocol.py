"""Evaluation protocol: rules for scored frames and objects, and statistics over frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.errors import ConfigError

__all__ = [
    "CODINGS",
    "FRAME_RULES",
    "TASKS",
    "Evaluation",
    "ObjectScore",
    "Protocol",
    "SequenceScore",
    "Statistic",
    "Summary",
    "match_proposals",
    "statistic",
    "summarize",
]

Curve = npt.NDArray[np.float64]
TASKS = ("semi-supervised", "unsupervised")
FRAME_RULES = ("inner", "all", "later")
CODINGS = ("auto", "binary", "ids")
OBJECT_RULES = ("count", "present", "growing")


@dataclass(frozen=True, slots=True)
class Protocol:
    """Rules of an evaluation.

    Parameters
    ----------
    task : str
        ``semi-supervised``: an id is the same object in truth and result, void is background. ``unsupervised``:
        proposals are matched to objects, void pixels are ignored (Caelles et al., 2019).
    frames : str
        ``inner``: all annotated frames except the first and the last (official, semi-supervised). ``all``: all
        annotated frames (official, unsupervised). ``later``: all annotated frames after an object's first (YouTube-VOS,
        Xu et al., ECCV 2018).
    objects : str
        ``count``: ids from 1 to the largest in the first annotated frame (official). ``present``: ids in the first
        annotated frame. ``growing``: every id, from its first annotated frame on (YouTube-VOS).
    coding : str
        ``binary``: all values except 0 are a single object. ``ids``: values are objects, 255 is void. ``auto``: binary
        if the first annotated frame holds only 0 and 255.
    strict : int or None
        Tolerance in pixels of a second, stricter F, 1..100.

    Raises
    ------
    ConfigError
        A rule is unknown, or two rules contradict each other.
    """

    task: str = "semi-supervised"
    frames: str = "inner"
    objects: str = "count"
    coding: str = "ids"
    strict: int | None = None

    def __post_init__(self) -> None:
        for value, allowed in (
            (self.task, TASKS),
            (self.frames, FRAME_RULES),
            (self.objects, OBJECT_RULES),
            (self.coding, CODINGS),
        ):
            if value not in allowed:
                raise ConfigError(f"unknown evaluation rule {value!r}; known: {', '.join(allowed)}")
        if (self.objects == "growing") != (self.frames == "later"):
            raise ConfigError("objects that appear one by one are scored on the frames after each appears, only those")
        if self.task == "unsupervised" and self.objects == "growing":
            raise ConfigError("the unsupervised task needs the objects of the first frame: not with sparse annotation")
        if self.strict is not None and not 1 <= self.strict <= 100:
            raise ConfigError(f"the strict tolerance must lie in 1..100 pixels, got {self.strict}")


@dataclass(frozen=True, slots=True)
class Statistic:
    """Statistics of a curve of J or F over time (Perazzi et al., CVPR 2016).

    Parameters
    ----------
    mean : float
        0..1.
    recall : float
        Share of frames above 0.5, 0..1.
    decay : float
        Mean of the first quarter minus mean of the last quarter.
    """

    mean: float
    recall: float
    decay: float


@dataclass(frozen=True, slots=True, eq=False)
class ObjectScore:
    """J and F of an object over time.

    Parameters
    ----------
    sequence : str
    object : int
        Id of the object in the ground truth.
    frames : tuple of str
        File stems of the scored frames.
    j, f : (n,) float64
        Region similarity and boundary accuracy of every scored frame, 0..1.
    strict : (n,) float64 or None
        F at the strict tolerance.
    """

    sequence: str
    object: int
    frames: tuple[str, ...]
    j: Curve
    f: Curve
    strict: Curve | None = None

    @property
    def name(self) -> str:
        """Name of the object in the official result files."""
        return f"{self.sequence}_{self.object}"


@dataclass(frozen=True, slots=True, eq=False)
class SequenceScore:
    """Scores of a sequence.

    Parameters
    ----------
    name : str
    objects : tuple of ObjectScore
        In increasing order of ids.
    notes : tuple of str
        Warnings about the annotations.
    """

    name: str
    objects: tuple[ObjectScore, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over objects.

    Parameters
    ----------
    jf : float
        J&F: mean of the means of J and F, 0..1.
    j, f : Statistic
    strict : Statistic or None
        F at the strict tolerance.
    objects, frames : int
        Number of objects, and of distinct scored frames.
    """

    jf: float
    j: Statistic
    f: Statistic
    strict: Statistic | None
    objects: int
    frames: int


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Scores of a result folder.

    Parameters
    ----------
    label : str
        Name of the folder in tables and figures.
    protocol : Protocol
    sequences : tuple of SequenceScore
    """

    label: str
    protocol: Protocol
    sequences: tuple[SequenceScore, ...]

    @property
    def objects(self) -> tuple[ObjectScore, ...]:
        """Scores of the objects of all sequences."""
        return tuple(score for sequence in self.sequences for score in sequence.objects)

    @property
    def summary(self) -> Summary:
        """Means over all objects."""
        return summarize(self.objects)


def statistic(curve: Curve) -> Statistic:
    """Compute mean, recall and decay of an object's scores over time.

    Parameters
    ----------
    curve : (n,) float64
        Score of every frame, 0..1, n >= 1.

    Notes
    -----
    Decay uses the official bin edges ``round(linspace(1, n, 5)) - 1``, shared by neighbouring bins. The official tool
    stores the edges in 8 bits, an error above 256 frames. Here they are 64-bit integers.
    """
    edges = np.round(np.linspace(1, len(curve), 5) + 1e-10).astype(np.int64) - 1
    first, last = curve[edges[0] : edges[1] + 1], curve[edges[3] : edges[4] + 1]
    return Statistic(float(curve.mean()), float((curve > 0.5).mean()), float(first.mean() - last.mean()))


def summarize(objects: Sequence[ObjectScore]) -> Summary:
    """Average over the objects of all sequences, each with the same weight."""
    j, f = _average([o.j for o in objects]), _average([o.f for o in objects])
    sharp = [o.strict for o in objects if o.strict is not None]
    frames = {(o.sequence, frame) for o in objects for frame in o.frames}
    return Summary((j.mean + f.mean) / 2, j, f, _average(sharp) if sharp else None, len(objects), len(frames))


def _average(curves: Sequence[Curve]) -> Statistic:
    statistics = [statistic(curve) for curve in curves]
    return Statistic(*(float(np.mean([getattr(s, name) for s in statistics])) for name in ("mean", "recall", "decay")))


def match_proposals(j: npt.NDArray[Any], f: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Assign a proposal to each object so that the sum of mean J&F is largest (Kuhn, Hungarian method, 1955).

    Parameters
    ----------
    j, f : (proposals, objects, frames) float64
        At least as many proposals as objects.

    Returns
    -------
    (objects,) int64
        Index of the proposal of each object. Each proposal is assigned at most once.
    """
    from scipy.optimize import linear_sum_assignment

    proposals, objects = linear_sum_assignment(-(j.mean(2) + f.mean(2)) / 2)
    return np.asarray(proposals, np.int64)[np.argsort(objects)]
