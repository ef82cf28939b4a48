"""IoU of image part segmentation, in the two protocols that papers use.

*Per image* is SLiMe's (Khani et al., ICLR 2024): the IoU of a part is taken in every image whose ground truth has the
part and averaged over those images; a part found where there is none costs nothing. *Dataset* sums intersections and
unions over all images first, so it does cost. The mean over parts counts the background unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError
from slimecore.imaging.resize import resize_labels
from slimecore.io.images import IMAGE_SUFFIXES, natural_key
from slimecore.io.masks import IGNORE, MaskFile, read_mask

__all__ = ["IouAccumulator", "PartIou", "SegmentationReport", "evaluate_folders", "evaluate_labels"]

Labels = npt.NDArray[Any]
_LISTED = 12


@dataclass(frozen=True, slots=True)
class PartIou:
    """Scores of one part.

    Parameters
    ----------
    value : int
        Mask value; 0 is the background.
    name : str
    images : int
        Images whose ground truth has the part.
    per_image : float or None
        Mean IoU over those images, 0..1; None without any.
    dataset : float or None
        Sum of intersections over sum of unions, 0..1.
    """

    value: int
    name: str
    images: int
    per_image: float | None
    dataset: float | None


@dataclass(frozen=True, slots=True)
class SegmentationReport:
    """Scores of all parts.

    Parameters
    ----------
    images : int
        Pairs of label maps compared.
    parts : tuple of PartIou
        Every value that occurs in a ground truth or a prediction, increasing; the background always.
    """

    images: int
    parts: tuple[PartIou, ...]

    def mean(self, protocol: str, *, background: bool = True) -> float | None:
        """Mean IoU over the parts that have one.

        Parameters
        ----------
        protocol : {"per_image", "dataset"}
        background : bool
            Whether value 0 counts as a part.

        Returns
        -------
        float or None
            0..1; None when no part has a score.
        """
        found = [getattr(part, protocol) for part in self.parts if background or part.value != 0]
        scores = [score for score in found if score is not None]
        return sum(scores) / len(scores) if scores else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        fields = ("value", "name", "images", "per_image", "dataset")
        return {
            "images": self.images,
            "miou": {
                protocol: {
                    "with_background": self.mean(protocol),
                    "without_background": self.mean(protocol, background=False),
                }
                for protocol in ("per_image", "dataset")
            },
            "parts": [{field: getattr(part, field) for field in fields} for part in self.parts],
        }

    def table(self) -> str:
        """Text for a terminal: one line a part, then the means, in per cent."""
        rows = [(str(p.value), p.name, str(p.images), _percent(p.per_image), _percent(p.dataset)) for p in self.parts]
        for title, background in (("mean with background", True), ("mean without background", False)):
            means = [_percent(self.mean(protocol, background=background)) for protocol in ("per_image", "dataset")]
            rows.append(("", title, str(self.images), means[0], means[1]))
        rows.insert(0, ("value", "part", "images", "IoU per image", "IoU dataset"))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = []
        for row in rows:
            cells = [c.ljust(w) if i == 1 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)


def _percent(score: float | None) -> str:
    return "-" if score is None else f"{100 * score:.1f}"


class IouAccumulator:
    """Running sums over pairs of label maps; memory does not grow with their number."""

    def __init__(self) -> None:
        self.images = 0
        self._truths: dict[int, int] = {}  # images whose ground truth has the value
        self._ious: dict[int, float] = {}
        self._both: dict[int, int] = {}
        self._either: dict[int, int] = {}

    def add(self, prediction: Labels, truth: Labels) -> None:
        """Count one pair.

        Parameters
        ----------
        prediction : (h, w) int array
            Negative: the pixel is given to no part, not even the background, so it is wrong wherever it counts.
        truth : (h, w) int array
            Negative: the pixel is ignored.

        Raises
        ------
        InputError
            Shapes or types do not fit.
        """
        if prediction.shape != truth.shape or truth.ndim != 2:
            raise InputError(f"label maps must be (h, w) and of one size, got {prediction.shape} and {truth.shape}")
        if not all(np.issubdtype(labels.dtype, np.integer) for labels in (prediction, truth)):
            raise InputError(f"label maps must hold integers, got {prediction.dtype} and {truth.dtype}")
        known = truth >= 0
        told, true = prediction[known], truth[known]
        told_areas, areas, shared = _areas(told[told >= 0]), _areas(true), _areas(true[told == true])
        self.images += 1
        for value in told_areas.keys() | areas.keys():
            both = shared.get(value, 0)
            either = told_areas.get(value, 0) + areas.get(value, 0) - both
            self._both[value] = self._both.get(value, 0) + both
            self._either[value] = self._either.get(value, 0) + either
            if value in areas:
                self._truths[value] = self._truths.get(value, 0) + 1
                self._ious[value] = self._ious.get(value, 0.0) + both / either

    def report(self, names: Mapping[int, str] | None = None) -> SegmentationReport:
        """Scores so far."""
        given = names or {}
        parts = []
        for value in sorted({0, *self._either}):
            images, either = self._truths.get(value, 0), self._either.get(value, 0)
            parts.append(
                PartIou(
                    value,
                    given.get(value, "background" if value == 0 else f"part {value}"),
                    images,
                    self._ious[value] / images if images else None,
                    self._both[value] / either if either else None,
                )
            )
        return SegmentationReport(self.images, tuple(parts))


def _areas(values: Labels) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def evaluate_labels(
    pairs: Iterable[tuple[Labels, Labels]], names: Mapping[int, str] | None = None, size: int | None = None
) -> SegmentationReport:
    """Scores of label maps, taken one pair at a time.

    Parameters
    ----------
    pairs : iterable of (prediction, truth)
        (h, w) int arrays of part values; negative in a truth is ignored. See :meth:`PartTally.add`.
    names : mapping of int to str, optional
        Part names by value.
    size : int, optional
        Squash both to ``size x size`` first, by nearest neighbour (SLiMe: 512); they may then differ in size.

    Returns
    -------
    SegmentationReport
    """
    tally = IouAccumulator()
    for prediction, truth in pairs:
        tally.add(_squashed(prediction, size), _squashed(truth, size))
    return tally.report(names)


def _squashed(labels: Labels, size: int | None) -> Labels:
    return labels if size is None else resize_labels(labels, (size, size))


def evaluate_folders(
    predictions: Path, truths: Path, names: Mapping[int, str] | None = None, size: int | None = None
) -> SegmentationReport:
    """Scores of a folder of predicted masks against one of ground truths; files belong together by their stem.

    Values must mean the same in every file, so masks whose colours or greys would be numbered file by file are
    refused. 255 is void, in a truth ignored and in a prediction wrong; in a folder with no other value it is part 1.

    Parameters
    ----------
    predictions, truths : Path
        Folders of indexed or grey PNGs, or ``.npy``. Every truth needs a prediction; other predictions are left out.
    names, size
        See :func:`evaluate_labels`.

    Returns
    -------
    SegmentationReport

    Raises
    ------
    InputError
        Lists everything that is wrong: missing predictions, doubled stems, unreadable masks, sizes that differ.
    """
    if size is not None and not 1 <= size <= 8192:
        raise InputError(f"the size to compare at must lie in 1..8192 pixels, got {size}")
    problems: list[str] = []
    told, true = _by_stem(predictions, problems), _by_stem(truths, problems)
    if not told.keys() & true.keys():
        raise InputError(
            f"no mask in {predictions} has the name of one in {truths}; "
            f"they hold {_some(told)} and {_some(true)}: name each prediction after its ground truth"
        )
    missing = [stem for stem in true if stem not in told]
    problems += [f"no prediction for {true[stem].name}" for stem in missing]
    tally, undecided, others = IouAccumulator(), [], [False, False]
    for stem in true:
        if stem in missing:
            continue
        pair = _read_pair(told[stem], true[stem], size, problems)
        if pair is None or problems:
            continue
        others = [found or (bool(m.values) and not m.is_binary_255) for found, m in zip(others, pair, strict=True)]
        if any(
            mask.is_binary_255 for mask in pair
        ):  # what a lone 255 means is known when the folder is: count it later
            undecided.append(stem)
        else:
            tally.add(_squashed(pair[0].labels, size), _squashed(pair[1].labels, size))
    if problems:
        shown = "; ".join(problems[:_LISTED]) + (f"; and {len(problems) - _LISTED} more" * (len(problems) > _LISTED))
        raise InputError(f"{predictions} against {truths}: {shown}")
    for stem in undecided:
        prediction = _decided(read_mask(told[stem]), others[0])
        tally.add(_squashed(prediction, size), _squashed(_decided(read_mask(true[stem]), others[1]), size))
    return tally.report(names)


def _decided(mask: MaskFile, others: bool) -> Labels:
    """Labels of a mask, with a lone 255 read as void where the folder uses other values."""
    return np.where(mask.labels > 0, IGNORE, mask.labels) if mask.is_binary_255 and others else mask.labels


def _by_stem(folder: Path, problems: list[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda p: (natural_key(p.name), p.name)):
        if path.suffix.lower() not in {*IMAGE_SUFFIXES, ".npy"} or path.name.startswith("."):
            continue
        if path.stem in found:
            problems.append(f"{found[path.stem].name} and {path.name} in {folder} share a name; keep one")
        found[path.stem] = path
    return found


def _some(files: Mapping[str, Path]) -> str:
    shown = ", ".join(path.name for path in list(files.values())[:3])
    return f"{shown}, ... ({len(files)} masks)" if len(files) > 3 else shown or "no mask"


def _read_pair(
    prediction: Path, truth: Path, size: int | None, problems: list[str]
) -> tuple[MaskFile, MaskFile] | None:
    """Both masks, or None and what is wrong with them."""
    masks = []
    for path in (prediction, truth):
        try:
            mask = read_mask(path)
        except InputError as error:
            problems.append(str(error))
            continue
        if mask.values_are_arbitrary:
            problems.append(
                f"{path}: its colours or greys are no part values, and would be numbered file by file; "
                "save masks as indexed PNG or .npy with one value a part"
            )
            continue
        masks.append(mask)
    if len(masks) < 2:
        return None
    (h, w), (height, width) = masks[0].labels.shape, masks[1].labels.shape
    if size is None and (h, w) != (height, width):
        problems.append(f"{prediction.name} is {w}x{h}, its ground truth {width}x{height}; compare at one size (size)")
        return None
    return masks[0], masks[1]
