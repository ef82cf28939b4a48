"""A reference as the session keeps it: a frame and its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.io.masks import annotate
from slimecore.types import Annotation, Frame, Parts
from slimevid.frame.labels import PRESENCE_PIXELS

__all__ = ["Reference", "annotation_from_mask", "one_hot", "smallest_areas"]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A frame and its labels."""

    frame: Frame
    annotation: Annotation


def annotation_from_mask(frame: Frame, mask: Array, names: Mapping[int, str] | None, parts: Parts | None) -> Annotation:
    """Labels of a frame from a mask (h, w) of part values; `parts` are those of earlier references, if there are any.

    Raises
    ------
    InputError
        No pixel holds a part and nothing says which parts there are.
    """
    if parts is None:
        return annotate(frame.rgb, mask, names)
    if not (mask > 0).any():
        return Annotation(frame.rgb, mask.clip(-1), parts, empty=True)
    known = dict(zip(parts.values, parts.names, strict=True))
    return annotate(frame.rgb, mask, {**known, **(names or {})})


def check(references: Sequence[Reference]) -> None:
    """Refuse references of several sizes, or of which none marks a part.

    Raises
    ------
    InputError
    """
    for reference in references:
        check_size(reference.frame, references[0].frame)
    if not any((reference.annotation.rows > 0).any() for reference in references):
        raise InputError("no reference marks a part: every pixel is background (0); mark at least one part")


def check_size(frame: Frame, reference: Frame) -> None:
    """Refuse a frame of another size than a reference's.

    Raises
    ------
    InputError
    """
    (height, width), (h, w) = frame.size, reference.size
    if (height, width) != (h, w):
        raise InputError(f"frame {frame.index} is {width}x{height}, the reference {w}x{h}; all must have one size")


def one_hot(annotation: Annotation, parts: int) -> Array:
    """(parts, h, w) float32; what is ignored counts as background."""
    soft = np.stack([annotation.rows == i for i in range(parts)]).astype(np.float32)
    soft[0] += annotation.rows < 0
    return soft


def smallest_areas(annotations: Sequence[Annotation]) -> npt.NDArray[np.int64]:
    """Pixels by which the presence of each part is judged, (P - 1,), given the annotations of all references.

    A part smaller than the presence test's sample is judged by as many pixels as it had where it was smallest.
    """
    areas = np.stack([np.bincount(a.rows[a.rows >= 0], minlength=len(a.parts)) for a in annotations])[:, 1:]
    return np.asarray(np.clip(np.where(areas > 0, areas, PRESENCE_PIXELS).min(0), 1, PRESENCE_PIXELS), np.int64)
