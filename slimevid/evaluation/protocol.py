"""What is measured: which frames and objects count, and how frames become figures."""

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
    """The rules of one evaluation.

    Parameters
    ----------
    task : str
        ``semi-supervised``: an id means the same object in truth and result, void is background. ``unsupervised``:
        proposals are matched to objects, void pixels count for neither.
    frames : str
        ``inner``: all annotated frames but the first and the last (official, semi-supervised). ``all`` (official,
        unsupervised). ``later``: all after the one in which an object first appears (YouTube-VOS).
    objects : str
        ``count``: ids 1 .. the largest of the first annotated frame (official). ``present``: the ids the first
        annotated frame holds. ``growing``: every id, from its first annotated frame on (YouTube-VOS).
    coding : str
        ``binary``: whatever is not 0 is the one object. ``ids``: values are objects, 255 is void. ``auto``: binary
        where the first annotated frame holds nothing but 0 and 255.
    strict : int or None
        Tolerance in pixels of a second, stricter F.

    Raises
    ------
    ConfigError
        An unknown rule, or rules that contradict each other.
    """

    task: str = "semi-supervised"
    frames: str = "inner"
    objects: str = "count"
    coding: str = "ids"
    strict: int | None = None

    def __post_init__(self) -> None:
        for value, known in (
            (self.task, TASKS),
            (self.frames, FRAME_RULES),
            (self.objects, OBJECT_RULES),
            (self.coding, CODINGS),
        ):
            if value not in known:
                raise ConfigError(f"unknown evaluation rule {value!r}; known: {', '.join(known)}")
        if (self.objects == "growing") != (self.frames == "later"):
            raise ConfigError("objects that appear one by one are scored on the frames after each appears, only those")
        if self.task == "unsupervised" and self.objects == "growing":
            raise ConfigError("the unsupervised task needs the objects of the first frame: not with sparse annotation")
        if self.strict is not None and not 1 <= self.strict <= 100:
            raise ConfigError(f"the strict tolerance must lie in 1..100 pixels, got {self.strict}")


@dataclass(frozen=True, slots=True)
class Statistic:
    """Mean, recall (share of frames above 0.5) and decay (first quarter minus last quarter) of a curve, 0..1."""

    mean: float
    recall: float
    decay: float


@dataclass(frozen=True, slots=True, eq=False)
class ObjectScore:
    """J and F of one object over time.

    Parameters
    ----------
    sequence : str
    object : int
        Its id in the truth.
    frames : tuple of str
        File stems of the scored frames.
    j, f : (n,) float64
        0..1, a value a frame.
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
        """Name in the official files."""
        return f"{self.sequence}_{self.object}"


@dataclass(frozen=True, slots=True, eq=False)
class SequenceScore:
    """The objects of one sequence, by increasing id, and what was noticed on the way."""

    name: str
    objects: tuple[ObjectScore, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over objects: J&F is the mean of J's and F's means."""

    jf: float
    j: Statistic
    f: Statistic
    strict: Statistic | None
    objects: int
    frames: int


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Everything measured on one folder of results."""

    label: str
    protocol: Protocol
    sequences: tuple[SequenceScore, ...]

    @property
    def objects(self) -> tuple[ObjectScore, ...]:
        """Objects of all sequences."""
        return tuple(score for sequence in self.sequences for score in sequence.objects)

    @property
    def summary(self) -> Summary:
        """Figures over all objects."""
        return summarize(self.objects)


def statistic(curve: Curve) -> Statistic:
    """Mean, recall and decay of the values of one object's frames.

    Parameters
    ----------
    curve : (n,) float64, n >= 1

    Notes
    -----
    Decay takes the official bin edges, ``round(linspace(1, n, 5)) - 1``, shared by neighbouring bins. The official tool
    keeps them in 8 bits, which is wrong above 256 frames; here they are whole numbers.
    """
    edges = np.round(np.linspace(1, len(curve), 5) + 1e-10).astype(np.int64) - 1
    first, last = curve[edges[0] : edges[1] + 1], curve[edges[3] : edges[4] + 1]
    return Statistic(float(curve.mean()), float((curve > 0.5).mean()), float(first.mean() - last.mean()))


def summarize(objects: Sequence[ObjectScore]) -> Summary:
    """Flat means over objects, whatever sequence they come from."""
    j, f = _average([o.j for o in objects]), _average([o.f for o in objects])
    sharp = [o.strict for o in objects if o.strict is not None]
    frames = {(o.sequence, frame) for o in objects for frame in o.frames}
    return Summary((j.mean + f.mean) / 2, j, f, _average(sharp) if sharp else None, len(objects), len(frames))


def _average(curves: Sequence[Curve]) -> Statistic:
    each = [statistic(curve) for curve in curves]
    return Statistic(*(float(np.mean([getattr(s, name) for s in each])) for name in ("mean", "recall", "decay")))


def match_proposals(j: npt.NDArray[Any], f: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Proposal of each object so that the sum of mean J&F is largest (Hungarian method).

    Parameters
    ----------
    j, f : (proposals, objects, frames) float64
        At least as many proposals as objects.

    Returns
    -------
    (objects,) int64
        Each proposal at most once.
    """
    from scipy.optimize import linear_sum_assignment

    proposals, objects = linear_sum_assignment(-(j.mean(2) + f.mean(2)) / 2)
    return np.asarray(proposals, np.int64)[np.argsort(objects)]
