"""Compute the IoU of image part segmentation in the two protocols of the literature.

*Per image* is SLiMe's (Khani et al., ICLR 2024): the IoU of a part is averaged over the images whose ground truth has
the part. A part predicted in another image costs nothing. *Dataset* sums intersections and unions over all images
first, so it costs. The mean over parts includes the background by default.
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
from slimecore.io.mask_consistency import ColorNumbers, matching_colors
from slimecore.io.masks import IGNORE, MaskFile, read_mask

__all__ = ["IouAccumulator", "PartIou", "SegmentationReport", "evaluate_folders", "evaluate_labels"]

Labels = npt.NDArray[Any]
_MAX_LISTED = 12  # problems in a message


@dataclass(frozen=True, slots=True)
class PartIou:
    """Scores of a part.

    Parameters
    ----------
    value : int
        Part value in masks. 0 is the background.
    name : str
    images : int
        Number of images whose ground truth has the part.
    per_image : float or None
        Mean IoU over these images, 0..1, or None without any.
    dataset : float or None
        Sum of intersections over sum of unions, 0..1, or None if both are 0.
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
        Number of pairs of label maps compared.
    parts : tuple of PartIou
        The background and every value that occurs in a ground truth or a prediction, increasing.
    """

    images: int
    parts: tuple[PartIou, ...]

    def mean(self, protocol: str, *, background: bool = True) -> float | None:
        """Return the mean IoU over the parts with a score.

        Parameters
        ----------
        protocol : {"per_image", "dataset"}
        background : bool
            Count value 0 as a part.

        Returns
        -------
        float or None
            0..1, or None when no part has a score.
        """
        all_scores = [getattr(part, protocol) for part in self.parts if background or part.value != 0]
        scores = [score for score in all_scores if score is not None]
        return sum(scores) / len(scores) if scores else None

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain values for JSON."""
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
        """Return a text table with a line per part and the means, in per cent."""
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
    """Running sums of areas over pairs of label maps. Memory does not grow with the number of pairs."""

    def __init__(self) -> None:
        self.images = 0
        self._truth_images: dict[int, int] = {}  # number of images whose ground truth has the value
        self._iou_sums: dict[int, float] = {}  # over these images
        self._intersections: dict[int, int] = {}  # pixels, over all images
        self._unions: dict[int, int] = {}

    def add(self, prediction: Labels, truth: Labels) -> None:
        """Add the areas of a pair of label maps.

        Parameters
        ----------
        prediction : (h, w) int array
            Part values. A negative pixel has no part, not even the background, so it is wrong unless ignored.
        truth : (h, w) int array
            Part values. A negative pixel is ignored.

        Raises
        ------
        InputError
            The shapes differ or are not (h, w), or the values are no integers.
        """
        if prediction.shape != truth.shape or truth.ndim != 2:
            raise InputError(f"label maps must be (h, w) and of one size, got {prediction.shape} and {truth.shape}")
        if not all(np.issubdtype(labels.dtype, np.integer) for labels in (prediction, truth)):
            raise InputError(f"label maps must hold integers, got {prediction.dtype} and {truth.dtype}")
        counted = truth >= 0
        predicted, true = prediction[counted], truth[counted]
        predicted_areas, areas, shared = (
            _areas(predicted[predicted >= 0]),
            _areas(true),
            _areas(true[predicted == true]),
        )
        self.images += 1
        for value in predicted_areas.keys() | areas.keys():
            intersection = shared.get(value, 0)
            union = predicted_areas.get(value, 0) + areas.get(value, 0) - intersection
            self._intersections[value] = self._intersections.get(value, 0) + intersection
            self._unions[value] = self._unions.get(value, 0) + union
            if value in areas:
                self._truth_images[value] = self._truth_images.get(value, 0) + 1
                self._iou_sums[value] = self._iou_sums.get(value, 0.0) + intersection / union

    def report(self, names: Mapping[int, str] | None = None) -> SegmentationReport:
        """Return the scores of all pairs added so far."""
        names = names or {}
        parts = []
        for value in sorted({0, *self._unions}):
            images, union = self._truth_images.get(value, 0), self._unions.get(value, 0)
            parts.append(
                PartIou(
                    value,
                    names.get(value, "background" if value == 0 else f"part {value}"),
                    images,
                    self._iou_sums[value] / images if images else None,
                    self._intersections[value] / union if union else None,
                )
            )
        return SegmentationReport(self.images, tuple(parts))


def _areas(labels: Labels) -> dict[int, int]:
    """Count the pixels of every value."""
    values, counts = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def evaluate_labels(
    pairs: Iterable[tuple[Labels, Labels]], names: Mapping[int, str] | None = None, size: int | None = None
) -> SegmentationReport:
    """Compute the scores of pairs of label maps, read pair by pair.

    Parameters
    ----------
    pairs : iterable of (prediction, truth)
        (h, w) int arrays of part values. Negative values as in :meth:`IouAccumulator.add`.
    names : mapping of int to str, optional
        Part names by value.
    size : int, optional
        Squash both to ``size x size`` pixels first, by nearest neighbour (SLiMe: 512). They may then differ in size.

    Returns
    -------
    SegmentationReport
    """
    accumulator = IouAccumulator()
    for prediction, truth in pairs:
        accumulator.add(_squashed(prediction, size), _squashed(truth, size))
    return accumulator.report(names)


def _squashed(labels: Labels, size: int | None) -> Labels:
    return labels if size is None else resize_labels(labels, (size, size))


def evaluate_folders(
    predictions: Path | str, truths: Path | str, names: Mapping[int, str] | None = None, size: int | None = None
) -> SegmentationReport:
    """Compute the scores of a folder of predicted masks against a folder of ground truths, matched by file stem.

    A value must mean the same part in every file, so masks whose colours or grey levels would be numbered file by file
    are matched by colour, all masks of both folders together. 255 is void: ignored in a truth, wrong in a prediction.
    In a folder without any other value, it is part 1. A folder may be compared with itself: of an array and a picture
    with one name, the array is the mask.

    Parameters
    ----------
    predictions, truths : Path or str
        Folders of indexed or grey PNG or ``.npy`` files. Every truth needs a prediction. Other predictions are left
        out.
    names, size
        See :func:`evaluate_labels`.

    Returns
    -------
    SegmentationReport

    Raises
    ------
    InputError
        Predictions are missing, stems repeat, masks are unreadable or cannot be matched, or sizes differ. All problems
        are listed.
    """
    predictions, truths = Path(predictions), Path(truths)
    if size is not None and not 1 <= size <= 8192:
        raise InputError(f"the size to compare at must lie in 1..8192 pixels, got {size}")
    problems: list[str] = []
    pairs = predictions.exists() and truths.exists() and predictions.samefile(truths)
    prediction_files, truth_files = (_files_by_stem(folder, problems, pairs) for folder in (predictions, truths))
    if not prediction_files.keys() & truth_files.keys():
        raise InputError(
            f"no mask in {predictions} has the name of one in {truths}; they hold "
            f"{_example_names(prediction_files)} and {_example_names(truth_files)}: "
            "name each prediction after its ground truth"
        )
    missing = [stem for stem in truth_files if stem not in prediction_files]
    problems += [f"no prediction for {truth_files[stem].name}" for stem in missing]
    accumulator, undecided, has_ids = IouAccumulator(), [], [False, False]  # of predictions, of truths
    by_color = False
    for stem in truth_files:
        if stem in missing:
            continue
        pair = _read_pair(prediction_files[stem], truth_files[stem], size, problems)
        if pair is None or problems:
            continue
        by_color |= any(mask.values_are_arbitrary for mask in pair)
        has_ids = [before or (bool(m.values) and not m.is_binary_255) for before, m in zip(has_ids, pair, strict=True)]
        if any(mask.is_binary_255 for mask in pair):  # the meaning of a lone 255 depends on the files to come
            undecided.append(stem)
        else:
            accumulator.add(_squashed(pair[0].labels, size), _squashed(pair[1].labels, size))
    if problems:
        shown = "; ".join(problems[:_MAX_LISTED]) + (
            f"; and {len(problems) - _MAX_LISTED} more" * (len(problems) > _MAX_LISTED)
        )
        raise InputError(f"{predictions} against {truths}: {shown}")
    if by_color:
        return _evaluate_by_color([(prediction_files[s], truth_files[s]) for s in truth_files], names, size)
    for stem in undecided:
        prediction = _resolve_lone_255(read_mask(prediction_files[stem]), has_ids[0])
        truth = _resolve_lone_255(read_mask(truth_files[stem]), has_ids[1])
        accumulator.add(_squashed(prediction, size), _squashed(truth, size))
    return accumulator.report(names)


def _evaluate_by_color(
    files: list[tuple[Path, Path]], names: Mapping[int, str] | None, size: int | None
) -> SegmentationReport:
    """Compute the scores of pairs of prediction and truth with parts that are matched by their colours."""
    numbers, accumulator = ColorNumbers(), IouAccumulator()
    for prediction, truth in files:
        true = numbers.renumber(read_mask(truth), str(truth)).labels
        predicted = numbers.renumber(read_mask(prediction), str(prediction)).labels
        accumulator.add(_squashed(predicted, size), _squashed(true, size))
    colors = {i: f"#{r:02x}{g:02x}{b:02x}" for i, (r, g, b) in enumerate(numbers.colors, 1)}
    return accumulator.report({**colors, **(names or {})})


def _resolve_lone_255(mask: MaskFile, has_ids: bool) -> Labels:
    """Return the labels of a mask, with a lone 255 read as void where the folder also has part values."""
    return np.where(mask.labels > 0, IGNORE, mask.labels) if mask.is_binary_255 and has_ids else mask.labels


def _files_by_stem(folder: Path, problems: list[str], pairs: bool) -> dict[str, Path]:
    """Return the mask files of a folder by stem and append repeated stems to `problems`.

    If `pairs`, an array may stand beside a picture of its name, and is the mask.
    """
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda p: (natural_key(p.name), p.name)):
        if path.suffix.lower() not in {*IMAGE_SUFFIXES, ".npy"} or path.name.startswith("."):
            continue
        if pairs and path.stem in files and ".npy" in {path.suffix.lower(), files[path.stem].suffix.lower()}:
            files[path.stem] = path if path.suffix.lower() == ".npy" else files[path.stem]
            continue
        if path.stem in files:
            problems.append(f"{files[path.stem].name} and {path.name} in {folder} share a name; keep one")
        files[path.stem] = path
    return files


def _example_names(files: Mapping[str, Path]) -> str:
    """Name up to three of the files, and their number if there are more."""
    shown = ", ".join(path.name for path in list(files.values())[:3])
    return f"{shown}, ... ({len(files)} masks)" if len(files) > 3 else shown or "no mask"


def _read_pair(
    prediction: Path, truth: Path, size: int | None, problems: list[str]
) -> tuple[MaskFile, MaskFile] | None:
    """Read both masks, or append their problems to `problems` and return None."""
    masks = []
    for path in (prediction, truth):
        try:
            mask = read_mask(path)
        except InputError as error:
            problems.append(str(error))
            continue
        masks.append(mask)
    if len(masks) < 2:
        return None
    if any(mask.values_are_arbitrary for mask in masks):
        for path, mask in zip((prediction, truth), masks, strict=True):
            if mask.values_are_indices or set(mask.values) - set(matching_colors(mask)):
                problems.append(
                    f"{path}: its values cannot be matched with colours or greys that would be numbered file by file; "
                    "save masks as indexed PNG or .npy with one value a part"
                )
                return None
    (h, w), (height, width) = masks[0].labels.shape, masks[1].labels.shape
    if size is None and (h, w) != (height, width):
        problems.append(f"{prediction.name} is {w}x{h}, its ground truth {width}x{height}; compare at one size (size)")
        return None
    return masks[0], masks[1]
