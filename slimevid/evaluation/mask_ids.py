"""Read masks of ground truth and results as object ids, from all common file styles, without guessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from slimecore.errors import InputError
from slimecore.imaging.palette import davis_palette
from slimecore.io.images import open_image
from slimecore.io.indexed_masks import indexed_colors
from slimecore.io.masks import MaskFile, read_mask
from slimecore.user_files import read_array

__all__ = ["VOID", "Labels", "as_binary", "as_ids", "holds_only_255", "read_labels", "values_of"]

VOID = 255
Plane = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Values of a mask file.

    Parameters
    ----------
    path : Path
    values : (h, w) uint8
        Values stored in indexed files, grey files and arrays. For colours, the index in the DAVIS palette, or numbers
        1..K if the colours are not in the palette.
    kind : str
        Storage: ``indexed``, ``grey``, ``1-bit``, ``colours`` or ``array``.
    exact : bool
        False for colours that are not in the palette. Their numbers differ between files.
    """

    path: Path
    values: Plane
    kind: str
    exact: bool = True


def read_labels(path: Path) -> Labels:
    """Read a mask file.

    Raises
    ------
    InputError
        The file is missing, unreadable, or a photograph.
    """
    if path.suffix.lower() == ".npy":
        checked = _byte_sized(read_mask(path), path).labels  # refuses arrays that hold no labels
        raw = read_array(path)
        return Labels(path, _as_uint8(raw if raw.min() >= 0 and raw.max() <= VOID else checked), "array")
    image = open_image(path)
    if image.format != "JPEG":  # its grey levels are noisy: only read_mask can separate them
        plane = _stored_values(image, path)
        if plane is not None:
            return Labels(path, plane, {"P": "indexed", "1": "1-bit"}.get(image.mode, "grey"))
    mask = _byte_sized(read_mask(path), path)
    table = davis_palette()
    exact = all(tuple(table[value].tolist()) == mask.colors.get(value) for value in mask.values)
    return Labels(path, _as_uint8(mask.labels), "colours", exact)


def _stored_values(image: Image.Image, path: Path) -> Plane | None:
    """Return the values of an indexed or grey file, or None for colours or levels above 255.

    Indices in an order of an image program are colours.
    """
    if image.mode == "P" and indexed_colors(image, path)[0] is not None:
        return None
    if image.mode in {"P", "L", "1"}:
        return np.asarray(image).view(np.uint8)
    pixels = np.asarray(image)
    if image.mode == "RGB" and bool((pixels == pixels[..., :1]).all()):
        return np.ascontiguousarray(pixels[..., 0])
    if image.mode.startswith("I") and int(pixels.max()) <= VOID:
        return pixels.astype(np.uint8)
    return None


def _byte_sized(mask: MaskFile, path: Path) -> MaskFile:
    """Return a mask, or raise if it has a value that no result of a clip can hold."""
    if mask.values and mask.values[-1] > VOID:
        raise InputError(f"{path}: object id {mask.values[-1]} is above 254, the largest id of a result")
    return mask


def _as_uint8(labels: npt.NDArray[Any]) -> Plane:
    return np.where(labels < 0, VOID, labels).astype(np.uint8)


def values_of(plane: Plane) -> list[int]:
    """Return the values in a mask except 0, in increasing order."""
    return [int(v) for v in np.flatnonzero(np.bincount(plane.ravel(), minlength=256)) if v]


def holds_only_255(plane: Plane) -> bool:
    """Return True if the mask holds 255, and no other value but 0."""
    return int(plane.max()) == VOID and int(np.count_nonzero(plane)) == int(np.count_nonzero(plane == VOID))


def as_binary(labels: Labels) -> npt.NDArray[np.bool_]:
    """Return the object of a binary mask, (h, w) bool.

    Raises
    ------
    InputError
        The mask holds more than a single object.
    """
    plane = labels.values
    top = int(plane.max())
    if top == 0:
        return np.zeros(plane.shape, np.bool_)
    object_pixels = plane == top
    if int(np.count_nonzero(plane)) == int(np.count_nonzero(object_pixels)):
        return np.asarray(object_pixels)
    reread = read_mask(labels.path)  # resolves the grey levels of an anti-aliased mask
    if reread.values == (1,) and not (reread.labels < 0).any():
        return np.asarray(reread.labels > 0)
    raise InputError(
        f"{labels.path}: holds the values {listed(values_of(plane))} where one object is expected; save it as "
        "0 and 255, or 0 and 1"
    )


def as_ids(labels: Labels, known: list[int]) -> Plane:
    """Return the object ids of a result, (h, w) uint8, 0 is background.

    Raises
    ------
    InputError
        A value is not in `known`, the increasing list of object ids.
    """
    plane = labels.values
    if int(plane.max()) == 0 or (labels.exact and int(plane.max()) <= known[-1] and not _has_foreign_ids(plane, known)):
        return plane
    if holds_only_255(plane):
        if known == [1]:
            return (plane > 0).astype(np.uint8)
        raise InputError(
            f"{labels.path}: holds only 0 and 255, but the objects are {listed(known)}; save an indexed PNG whose "
            "values are the ids"
        )
    if not labels.exact and len(known) == 1 and len(values_of(plane)) == 1:
        return np.where(plane > 0, known[0], 0).astype(np.uint8)
    if not labels.exact:
        raise InputError(
            f"{labels.path}: its colours are not the DAVIS palette, so no id can be told; save an indexed PNG whose "
            "values are the ids"
        )
    foreign = [v for v in values_of(plane) if v not in known]
    hint = "; 255 is void, which a result must not hold" if foreign == [VOID] else ""
    raise InputError(
        f"{labels.path}: holds the ids {listed(foreign)}, but the objects are {listed(known)}{hint}; "
        "give results the ids of the first annotated frame"
    )


def _has_foreign_ids(plane: Plane, known: list[int]) -> bool:
    return known != list(range(1, known[-1] + 1)) and bool(set(values_of(plane)) - set(known))


def listed(values: list[int]) -> str:
    """Return values as text, at most eight, and their number if more."""
    text = ", ".join(map(str, values[:8]))
    return f"{text}, ... ({len(values)} in all)" if len(values) > 8 else text
