"""Score sequences frame by frame, with two masks in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError, InputProblems
from slimecore.metrics.davis import Outline, outline_f, region_j, tolerance
from slimevid.evaluation.dataset import Dataset, Job, pair
from slimevid.evaluation.mask_ids import VOID, Labels, as_binary, as_ids, holds_only_255, listed, read_labels, values_of
from slimevid.evaluation.process_pool import map_processes
from slimevid.evaluation.protocol import Evaluation, ObjectScore, Protocol, SequenceScore, match_proposals

__all__ = ["evaluate", "score_sequence"]

MOST_PROPOSALS = 20  # official limit of the unsupervised task
Plane = npt.NDArray[np.uint8]
Values = tuple[float, ...]  # J, F and, if configured, the strict F


def evaluate(
    dataset: Dataset,
    results: Path,
    protocol: Protocol,
    *,
    jobs: int = 1,
    notify: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Score a result folder.

    Parameters
    ----------
    dataset : Dataset
    results : Path
    protocol : Protocol
    jobs : int
        Number of processes. Scores do not depend on it, because a sequence is never split. With more than 1, a calling
        script needs ``if __name__ == "__main__":``, as spawned processes import it.
    notify : callable(stage, done, total), optional
        Called after every sequence, with numbers of annotated frames.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputProblems
        All missing and all invalid masks. No scores are returned then.
    """
    work = pair(dataset, results, protocol)
    longest_first = sorted(work, key=lambda job: -len(job.truths))  # so that the longest sequence does not finish last
    outcomes: dict[str, _Outcome] = {}
    total, done = sum(len(job.truths) for job in work), 0
    for (job, _), outcome in map_processes(_score, [(job, protocol) for job in longest_first], jobs):
        outcomes[job.name] = outcome
        done += len(job.truths)
        if notify:
            notify("evaluate", done, total)
    problems = [text for job in work for text in outcomes[job.name].problems]
    if problems:
        raise InputProblems(problems)
    scores = tuple(outcomes[job.name].score for job in work)
    return Evaluation(str(results), protocol, tuple(score for score in scores if score is not None))


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    score: SequenceScore | None
    problems: tuple[str, ...]


def _score(work: tuple[Job, Protocol]) -> _Outcome:
    try:
        return _Outcome(score_sequence(*work), ())
    except InputProblems as error:
        return _Outcome(None, error.problems)
    except InputError as error:
        return _Outcome(None, (str(error),))


def score_sequence(job: Job, protocol: Protocol) -> SequenceScore:
    """Compute J and F of every object on every scored frame of a sequence.

    Raises
    ------
    InputError
        The annotations cannot be used.
    InputProblems
        All masks of a wrong size, with unknown ids, of mixed storage, or unreadable.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # masks are small: threads cost more than they gain, and --jobs uses the cores
    try:
        reader = _Reader(job, protocol)
        score = (_unsupervised if protocol.task == "unsupervised" else _semi_supervised)(job, protocol, reader)
        reader.finish(score)
    finally:
        cv2.setNumThreads(threads)
    return SequenceScore(job.name, tuple(score), tuple(reader.notes))


@dataclass(slots=True)
class _Reader:
    """Reader of the masks of a sequence as object ids. It collects problems instead of raising the first."""

    job: Job
    protocol: Protocol
    ids: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _binary: bool = False
    _kinds: dict[str, Path] = field(default_factory=dict)
    _late_ids: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        first = read_labels(self.job.truths[0])
        coding, path = self.protocol.coding, self.job.truths[0]
        only_255 = holds_only_255(first.values)
        if coding == "ids" and only_255:
            raise InputError(
                f"{path}: the truth is 0/255, which ids read as void only; is it DAVIS-2016 (--year 2016)?"
            )
        self._binary = coding == "binary" or (coding == "auto" and (only_255 or first.kind == "1-bit"))
        ids = [1] if self._binary and first.values.any() else [v for v in values_of(first.values) if v != VOID]
        if self._binary and len(values_of(first.values)) > 1:
            self.notes.append(f"{self.job.name}: all ids of the truth count as its one object")
        if not ids and self.protocol.objects != "growing":
            raise InputError(f"{path}: the first annotated frame holds no object; there is nothing to score")
        self.ids = list(range(1, ids[-1] + 1)) if self.protocol.objects == "count" else ids

    def truth(self, index: int) -> tuple[Plane, npt.NDArray[np.bool_] | None]:
        """Return the ids of an annotated frame (void is 0), and its void pixels in the unsupervised task."""
        labels = read_labels(self.job.truths[index])
        if self._binary:
            return (labels.values > 0).astype(np.uint8), None
        plane, void = labels.values, None
        if int(plane.max()) == VOID:
            void = plane == VOID
            plane = np.where(void, 0, plane).astype(np.uint8)
        if self.protocol.objects != "count" or int(plane.max()) > self.ids[-1]:
            self._late_ids.update(set(values_of(plane)) - set(self.ids))
        return plane, void if self.protocol.task == "unsupervised" else None

    def late(self) -> list[int]:
        """Return the ids that appeared in annotated frames so far and are not in `ids`."""
        return sorted(self._late_ids - set(self.ids))

    def result(self, index: int, size: tuple[int, ...]) -> Plane | None:
        """Return the ids of a frame's result, or None for an invalid mask, whose problem is recorded."""
        path = self.job.results[index]
        if path is None:
            return None
        try:
            labels = read_labels(path)
            if labels.values.shape != size:
                (h, w), (height, width) = labels.values.shape, size
                raise InputError(f"{path}: is {w}x{h}, the truth {width}x{height}; resize it with nearest neighbour")
            self._note_kind(labels)
            if self._binary:
                return as_binary(labels).astype(np.uint8)
            if self.protocol.task == "unsupervised":
                return as_ids(labels, list(range(1, MOST_PROPOSALS + 1)))
            # Objects that appear later are unknown yet, so their ids are checked at the end.
            growing = self.protocol.objects == "growing"
            return as_ids(labels, list(range(1, VOID)) if growing else self.ids)
        except InputError as error:
            self.problems.append(str(error))
            return None

    def _note_kind(self, labels: Labels) -> None:
        if labels.values.any():
            only_255 = holds_only_255(labels.values)
            self._kinds.setdefault(f"{labels.kind} {'0/255' if only_255 else 'ids'}", labels.path)

    def finish(self, score: Sequence[ObjectScore]) -> None:
        """Raise all problems of the sequence, and add the last notes."""
        if len(self._kinds) > 1:
            kinds = ", ".join(f"{kind} ({path.name})" for kind, path in self._kinds.items())
            folder = next(iter(self._kinds.values())).parent
            self.problems.append(f"{folder}: masks are stored in mixed modes: {kinds}; save all of them in one")
        if self.problems:
            raise InputProblems(self.problems)
        if self.protocol.objects != "growing" and self.late():
            shown = listed(self.late())
            self.notes.append(f"{self.job.name}: objects {shown} are not in the first annotated frame and do not count")
        if not score:
            raise InputError(
                f"{self.job.name}: no object appears before the last annotated frame; nothing can be scored"
            )


def _measure_masks(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_], strict: int | None) -> Values:
    """Compute J, F and, if `strict` is a tolerance in pixels, F at this tolerance, of two masks (h, w) bool."""
    first, second = Outline(a), Outline(b)
    values = (region_j(a, b), outline_f(first, second, tolerance((a.shape[0], a.shape[1]))))
    return values if strict is None else (*values, outline_f(first, second, strict))


def _scored_indices(job: Job) -> Iterator[int]:
    return (i for i, path in enumerate(job.results) if path is not None)


def _semi_supervised(job: Job, protocol: Protocol, reader: _Reader) -> list[ObjectScore]:
    growing = protocol.objects == "growing"
    curves: dict[int, list[tuple[str, Values]]] = {}
    used: set[int] = set()
    for index in range(len(job.truths)) if growing else _scored_indices(job):
        truth, _ = reader.truth(index)
        result = reader.result(index, truth.shape)
        if result is not None:
            for number in reader.ids:
                values = _measure_masks(result == number, truth == number, protocol.strict)
                curves.setdefault(number, []).append((job.truths[index].stem, values))
            used.update(values_of(result) if growing else ())
        if growing:
            reader.ids = sorted({*reader.ids, *reader.late()})
    foreign = sorted(used - set(reader.ids)) if growing else []
    if foreign:
        reader.problems.append(
            f"{job.name}: results hold the ids {listed(foreign)}, but the objects are {listed(reader.ids)}"
        )
    return [_object_score(job.name, number, curve) for number, curve in sorted(curves.items())]


def _object_score(sequence: str, number: int, curve: Sequence[tuple[str, Values]]) -> ObjectScore:
    columns = np.array([values for _, values in curve], np.float64).T
    strict = columns[2] if len(columns) > 2 else None
    return ObjectScore(sequence, number, tuple(stem for stem, _ in curve), columns[0], columns[1], strict)


def _unsupervised(job: Job, protocol: Protocol, reader: _Reader) -> list[ObjectScore]:
    """Score every proposal against every object, then the best assignment. Absent proposals count as empty masks."""
    frames = list(_scored_indices(job))
    per_frame: list[dict[int, npt.NDArray[Any]]] = []
    for index in frames:
        truth, void = reader.truth(index)
        result = reader.result(index, truth.shape)
        if result is not None:
            per_frame.append(_score_proposals(result, truth, void, reader.ids, protocol.strict))
    if len(per_frame) < len(frames):
        return []  # finish() raises the recorded problems
    proposals = sorted(set().union(*per_frame) - {0})
    proposals += [0] * max(len(reader.ids) - len(proposals), 0)  # 0 is an empty proposal
    cube = np.array([[frame.get(p, frame[0]) for frame in per_frame] for p in proposals]).transpose(3, 0, 2, 1)
    chosen = match_proposals(cube[0], cube[1])
    return [
        _object_score(
            job.name,
            number,
            [(job.truths[i].stem, tuple(cube[:, chosen[row], row, t])) for t, i in enumerate(frames)],
        )
        for row, number in enumerate(reader.ids)
    ]


def _score_proposals(
    result: Plane, truth: Plane, void: npt.NDArray[np.bool_] | None, ids: Sequence[int], strict: int | None
) -> dict[int, npt.NDArray[Any]]:
    """Score every proposal of a frame, (objects, 2 or 3) float64 each. Key 0 is an empty proposal."""
    valid = np.ones(truth.shape, np.bool_) if void is None else ~void
    objects = [(truth == number) & valid for number in ids]
    outlines = [Outline(mask) for mask in objects]
    radii = [tolerance((truth.shape[0], truth.shape[1])), *([] if strict is None else [strict])]
    table = {}
    for proposal in {0, *values_of(result)}:
        mask = (result == proposal) & valid & (proposal > 0)
        outline = Outline(mask)
        table[proposal] = np.array(
            [
                [region_j(mask, other), *(outline_f(outline, edge, radius) for radius in radii)]
                for other, edge in zip(objects, outlines, strict=True)
            ]
        )
    return table
