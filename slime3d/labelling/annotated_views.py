"""Masks of annotated views, resized to the views and mapped to a common set of parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from slime3d.labelling.painted_masks import PaintedMask, interpret_mask, is_exact, marked_beside
from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.io.mask_consistency import harmonize_values, parse_numbered
from slimecore.io.masks import IGNORE, fit_mask, make_parts, read_mask
from slimecore.types import Parts

__all__ = ["Reference", "References", "parse_reference", "read_references"]

_MAX_UNLABELLED_SHARE = 0.03  # share of the visible object; up to this, 0 in an exact mask is an inexact outline
_MAX_LONE_UNLABELLED_SHARE = 0.005  # the same where one part alone is marked, which would take the whole mesh


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
    weight : (A, h, w) float32, optional
        Certainty of every pixel, 0..1, if a mask was painted by hand.
    """

    views: tuple[int, ...]
    rows: Array
    parts: Parts
    notes: tuple[str, ...]
    weight: Array | None = None


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
    weight = np.ones(labels.shape, np.float32)
    is_lone_part = len({v for mask in masks for v in mask.values}) == 1
    for i, (source, reference, mask_labels, faces_shown) in enumerate(
        zip(sources, references, labels, face_id, strict=True)
    ):
        if not (mask_labels[faces_shown >= 0] > 0).any():
            raise InputError(
                f"{reference.path}: the mask marks no face of view {reference.view}, only the ground around it; draw "
                f"it on view_{reference.view:03d}.png of slime3d render, with the same --views, --size and --up"
            )
        notes += _note_labels_outside(source, mask_labels, faces_shown)
        if is_exact(mask_labels, faces_shown):
            largest = _MAX_LONE_UNLABELLED_SHARE if is_lone_part else _MAX_UNLABELLED_SHARE
            notes += _ignore_unlabelled_pixels(source, mask_labels, faces_shown, unlabelled_faces, largest)
            continue
        painted = interpret_mask(mask_labels, faces_shown, unlabelled_faces)
        notes += _note_painted(source, painted, faces_shown >= 0)
        labels[i], weight[i] = painted.labels, painted.weight
    labels[face_id < 0] = IGNORE
    present = replace(masks[0], labels=labels.reshape(len(labels) * size[0], size[1]))
    colors = {value: color for mask in reversed(masks) for value, color in mask.colors.items()}
    parts = make_parts(replace(present, colors=colors), names)
    missing = sorted({v for mask in masks for v in mask.values} - set(parts.values))
    if missing:
        notes.append(f"parts {', '.join(map(str, missing))} mark no face in any view and are left out")
    return References(
        tuple(r.view for r in references),
        parts.index(labels),
        parts,
        tuple(notes),
        weight if (weight < 1).any() else None,
    )


def _note_labels_outside(source: str, mask_labels: Array, faces_shown: Array) -> list[str]:
    """Return a warning if over 10 % of the labelled pixels lie outside the object, farther than a brush spills."""
    share = marked_beside(mask_labels, faces_shown)
    if share <= 0.1:
        return []
    return [f"{source}: {share:.0%} of what is marked lies beside the object; was it drawn on another view?"]


def _note_painted(source: str, painted: PaintedMask, visible: Array) -> list[str]:
    """Return a note of what was taken for what in a mask painted by hand."""
    gap, rest = (float(mask.sum() / max(1, visible.sum())) for mask in (painted.gap, painted.rest))
    taken = [f"{gap:.1%} of the object, unmarked near paint, as unknown"] if gap else []
    taken += [f"{rest:.1%}, unmarked farther off, as the rest (0)"] if rest else []
    remedy = " (--set unlabelled_faces=part: all as the rest; =ignore: all as unknown)" if taken else ""
    return [f"{source}: taken as painted by hand: {', '.join(['pixels at borders as doubtful', *taken])}{remedy}"]


def _ignore_unlabelled_pixels(
    source: str, mask_labels: Array, faces_shown: Array, unlabelled_faces: str, largest_share: float
) -> list[str]:
    """Set unlabelled pixels of the object to `IGNORE`, in place, unless they are a part. Return a note about them."""
    unlabelled = (mask_labels == 0) & (faces_shown >= 0)
    share = float(unlabelled.sum() / max(1, (faces_shown >= 0).sum()))
    if unlabelled_faces == "part" or (unlabelled_faces == "auto" and share > largest_share) or not unlabelled.any():
        return []
    mask_labels[unlabelled] = IGNORE
    remedy = "--set unlabelled_faces=part: as the rest"
    return [f"{source}: {share:.1%} of the object is unmarked and taken as unknown ({remedy})"]
