"""Masks of annotated views, resized to the views and mapped to a common set of parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.io.mask_consistency import harmonize_values, parse_numbered
from slimecore.io.masks import IGNORE, fit_mask, make_parts, read_mask
from slimecore.types import Parts

__all__ = ["Reference", "References", "parse_reference", "read_references"]

_MAX_UNLABELLED_SHARE = 0.03  # share of the visible object; up to this, 0 in a mask is an inexact outline


@dataclass(frozen=True, slots=True)
class Reference:
    """A mask file and the number of its view."""

    view: int
    path: Path


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """Masks of annotated views.

    Parameters
    ----------
    views : tuple of int
        Numbers of the A views.
    rows : (A, h, w) int64
        Part row at every pixel, -1 = unlabelled.
    parts : Parts
    notes : tuple of str
        Warnings for the user, a sentence each.
    """

    views: tuple[int, ...]
    rows: Array
    parts: Parts
    notes: tuple[str, ...]


def parse_reference(text: str, view: int) -> Reference:
    """Parse ``MASK`` or ``N=MASK``. A mask without a number belongs to `view`."""
    number, path = parse_numbered(text)
    return Reference(view if number is None else number, path)


def read_references(
    references: Sequence[Reference], face_id: Array, names: Mapping[int, str] | None, unlabelled_faces: str
) -> References:
    """Read the masks of annotated views.

    Parameters
    ----------
    references : sequence of Reference
    face_id : (A, h, w) int32
        Faces shown by the annotated views, in the same order, -1 = none.
    names : mapping of int to str, optional
        Names of part values.
    unlabelled_faces : str
        Meaning of 0 on the object. See :class:`slime3d.config.RunConfig`.

    Returns
    -------
    masks : References

    Raises
    ------
    InputError
        A mask is unreadable, does not fit, marks no face, or uses its values otherwise than another mask.
    """
    sources = [f"{r.path.name} (view {r.view})" for r in references]
    size = face_id.shape[1:]
    raw = [read_mask(r.path) for r in references]
    fitted = [fit_mask(mask, size, str(r.path)) for mask, r in zip(raw, references, strict=True)]
    masks, notes = harmonize_values(fitted, [str(r.path) for r in references])
    labels = np.stack([mask.labels for mask in masks])
    for source, reference, mask_labels, faces_shown in zip(sources, references, labels, face_id, strict=True):
        if not (mask_labels[faces_shown >= 0] > 0).any():
            raise InputError(
                f"{reference.path}: the mask marks no face of view {reference.view}, only the ground around it; draw "
                f"it on view_{reference.view:03d}.png of slime3d render, with the same --views, --size and --up"
            )
        notes += _note_labels_outside(source, mask_labels, faces_shown)
        notes += _ignore_unlabelled_pixels(source, mask_labels, faces_shown, unlabelled_faces)
    labels[face_id < 0] = IGNORE
    present = replace(masks[0], labels=labels.reshape(len(labels) * size[0], size[1]))
    colors = {value: color for mask in reversed(masks) for value, color in mask.colors.items()}
    parts = make_parts(replace(present, colors=colors), names)
    missing = sorted({v for mask in masks for v in mask.values} - set(parts.values))
    if missing:
        notes.append(f"parts {', '.join(map(str, missing))} mark no face in any view and are left out")
    return References(tuple(r.view for r in references), parts.index(labels), parts, tuple(notes))


def _note_labels_outside(source: str, mask_labels: Array, faces_shown: Array) -> list[str]:
    """Return a warning if over 10 % of the labelled pixels lie outside the object."""
    share = float((faces_shown[mask_labels > 0] < 0).mean())
    if share <= 0.1:
        return []
    return [f"{source}: {share:.0%} of what is marked lies beside the object; was it drawn on another view?"]


def _ignore_unlabelled_pixels(source: str, mask_labels: Array, faces_shown: Array, unlabelled_faces: str) -> list[str]:
    """Set unlabelled pixels of the object to `IGNORE`, in place, unless they are a part. Return a note about them."""
    unlabelled = (mask_labels == 0) & (faces_shown >= 0)
    share = float(unlabelled.sum() / max(1, (faces_shown >= 0).sum()))
    if (
        unlabelled_faces == "part"
        or (unlabelled_faces == "auto" and share > _MAX_UNLABELLED_SHARE)
        or not unlabelled.any()
    ):
        return []
    mask_labels[unlabelled] = IGNORE
    remedy = "--set unlabelled_faces=part: as the rest"
    return [f"{source}: {share:.1%} of the object is unmarked and taken as unknown ({remedy})"]
