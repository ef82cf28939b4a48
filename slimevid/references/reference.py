"""Reference frames: frames with known labels, and checks on them."""

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
    """A frame and its annotation."""

    frame: Frame
    annotation: Annotation


def annotation_from_mask(frame: Frame, mask: Array, names: Mapping[int, str] | None, parts: Parts | None) -> Annotation:
    """Make the annotation of a frame from a mask.

    Parameters
    ----------
    frame : Frame
    mask : (h, w) int
        Part values at the frame's size. 0 is background, negative values are ignored.
    names : mapping of int to str, or None
        Part names by value.
    parts : Parts or None
        Parts of earlier references, whose names are kept.

    Returns
    -------
    Annotation
        Empty if the mask holds no part and `parts` is given.

    Raises
    ------
    InputError
        No pixel holds a part and `parts` is None.
    """
    if parts is None:
        return annotate(frame.rgb, mask, names)
    if not (mask > 0).any():
        return Annotation(frame.rgb, mask.clip(-1), parts, empty=True)
    earlier_names = dict(zip(parts.values, parts.names, strict=True))
    return annotate(frame.rgb, mask, {**earlier_names, **(names or {})})


def check(references: Sequence[Reference]) -> None:
    """Refuse references of different sizes, and references without any part.

    Raises
    ------
    InputError
        A reference differs in size from the first, or no reference marks a part.
    """
    for reference in references:
        check_size(reference.frame, references[0].frame)
    if not any((reference.annotation.rows > 0).any() for reference in references):
        raise InputError("no reference marks a part: every pixel is background (0); mark at least one part")


def check_size(frame: Frame, reference: Frame) -> None:
    """Refuse a frame whose size differs from the reference's.

    Raises
    ------
    InputError
        The sizes differ.
    """
    (height, width), (h, w) = frame.size, reference.size
    if (height, width) != (h, w):
        raise InputError(f"frame {frame.index} is {width}x{height}, the reference {w}x{h}; all must have one size")


def one_hot(annotation: Annotation, parts: int) -> Array:
    """Return binary label planes, (parts, h, w) float32 of 0 and 1. Ignored pixels count as background."""
    soft = np.stack([annotation.rows == i for i in range(parts)]).astype(np.float32)
    soft[0] += annotation.rows < 0
    return soft


def smallest_areas(annotations: Sequence[Annotation]) -> npt.NDArray[np.int64]:
    """Return the number of pixels over which the presence of each part is tested, (P - 1,) int64.

    The default is ``PRESENCE_PIXELS``. For a smaller part it is the part's smallest area in the annotations that show
    it, at least 1.
    """
    areas = np.stack([np.bincount(a.rows[a.rows >= 0], minlength=len(a.parts)) for a in annotations])[:, 1:]
    return np.asarray(np.clip(np.where(areas > 0, areas, PRESENCE_PIXELS).min(0), 1, PRESENCE_PIXELS), np.int64)
