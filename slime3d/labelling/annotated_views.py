"""The user's masks of views, brought to the pictures' size and to one set of parts."""

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

_CARELESS = 0.03  # share of the shown object that an outline may miss


@dataclass(frozen=True, slots=True)
class Reference:
    """A mask file and the view it was drawn on."""

    view: int
    path: Path


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """Masks of annotated views.

    Parameters
    ----------
    views : tuple of int
    rows : (A, h, w) int64
        Part row at every pixel, -1 = says nothing.
    parts : Parts
    notes : tuple of str
    """

    views: tuple[int, ...]
    rows: Array
    parts: Parts
    notes: tuple[str, ...]


def parse_reference(text: str, view: int) -> Reference:
    """``MASK`` or ``N=MASK``; a mask without a number belongs to `view`."""
    number, path = parse_numbered(text)
    return Reference(view if number is None else number, path)


def read_references(
    references: Sequence[Reference], face_id: Array, names: Mapping[int, str] | None, unmarked: str
) -> References:
    """Read the masks of annotated views.

    Parameters
    ----------
    references : sequence of Reference
    face_id : (A, h, w) int32
        What the annotated views show, in the same order.
    names : mapping of int to str, optional
        Names of part values.
    unmarked : str
        See :class:`slime3d.config.RunConfig`.

    Raises
    ------
    InputError
        A mask that cannot be read or does not fit, that marks no face, or whose values mean something else than
        those of another mask.
    """
    sources = [f"{r.path.name} (view {r.view})" for r in references]
    size = face_id.shape[1:]
    raw = [read_mask(r.path) for r in references]
    fitted = [fit_mask(mask, size, str(r.path)) for mask, r in zip(raw, references, strict=True)]
    masks, notes = harmonize_values(fitted, [str(r.path) for r in references])
    labels = np.stack([mask.labels for mask in masks])
    for source, reference, plane, ids in zip(sources, references, labels, face_id, strict=True):
        if not (plane[ids >= 0] > 0).any():
            raise InputError(
                f"{reference.path}: the mask marks no face of view {reference.view}, only the ground around it; draw "
                f"it on view_{reference.view:03d}.png of slime3d render, with the same --views, --size and --up"
            )
        notes += _outside(source, plane, ids)
        notes += _rest(source, plane, ids, unmarked)
    labels[face_id < 0] = IGNORE
    present = replace(masks[0], labels=labels.reshape(len(labels) * size[0], size[1]))
    colors = {value: color for mask in reversed(masks) for value, color in mask.colors.items()}
    parts = make_parts(replace(present, colors=colors), names)
    lost = sorted({v for mask in masks for v in mask.values} - set(parts.values))
    if lost:
        notes.append(f"parts {', '.join(map(str, lost))} mark no face in any view and are left out")
    return References(tuple(r.view for r in references), parts.index(labels), parts, tuple(notes))


def _outside(source: str, plane: Array, ids: Array) -> list[str]:
    share = float((ids[plane > 0] < 0).mean())
    if share <= 0.1:
        return []
    return [f"{source}: {share:.0%} of what is marked lies beside the object; was it drawn on another view?"]


def _rest(source: str, plane: Array, ids: Array, unmarked: str) -> list[str]:
    """Decide, in place, what 0 on the object means."""
    zero = (plane == 0) & (ids >= 0)
    share = float(zero.sum() / max(1, (ids >= 0).sum()))
    if unmarked == "part" or (unmarked == "auto" and share > _CARELESS) or not zero.any():
        return []
    plane[zero] = IGNORE
    how = "--set unlabelled_faces=part: as the rest"
    return [f"{source}: {share:.1%} of the object is unmarked and taken as unknown ({how})"]
