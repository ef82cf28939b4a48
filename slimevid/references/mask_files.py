"""Read the user's mask files and bring them to the clip's size and to a common set of parts."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from slimecore.annotations import union_parts
from slimecore.errors import InputError
from slimecore.io.mask_consistency import harmonize_values, parse_numbered
from slimecore.io.masks import MaskFile, fit_mask, make_parts, read_mask, read_names
from slimecore.types import Annotation, Frame, PartEmbeddings, Parts
from slimevid.io import Clip
from slimevid.references.reference import Reference

__all__ = ["MaskRef", "References", "parse_drop", "parse_reference", "read_references"]


@dataclass(frozen=True, slots=True)
class MaskRef:
    """A mask file and the number of the frame it was drawn on."""

    path: Path
    frame: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # callers from Python may pass a string


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """Reference frames of a clip.

    Parameters
    ----------
    items : tuple of Reference
        In increasing order of frames.
    parts : Parts
        Union of the parts of all references.
    notes : tuple of str
        Decisions about ambiguous masks.
    """

    items: tuple[Reference, ...]
    parts: Parts
    notes: tuple[str, ...]

    def digests(self) -> dict[int, str]:
        """Return a hash of every reference's image and labels, by frame number."""
        hashes = {}
        for item in self.items:
            # Hash part values instead of rows: rows change when parts are added.
            values = np.append(item.annotation.parts.values, -1).astype(np.int16)
            content = values[item.annotation.rows].tobytes() + zlib.crc32(item.frame.rgb.data).to_bytes(4, "big")
            hashes[item.frame.index] = hashlib.sha256(content).hexdigest()[:16]
        return hashes


def parse_reference(text: str, frame: int) -> MaskRef:
    """Parse ``MASK`` or ``N=MASK``. A mask without a number belongs to `frame`."""
    number, path = parse_numbered(text)
    return MaskRef(path, frame if number is None else number)


def parse_drop(text: str) -> tuple[int, tuple[int, ...]]:
    """Parse ``N=VALUE[,VALUE ...]`` and return the frame number and the part values.

    Raises
    ------
    InputError
        The text has another form.
    """
    frame, _, values = text.partition("=")
    try:
        return int(frame), tuple(int(v) for v in values.split(","))
    except ValueError:
        raise InputError(f"--drop {text!r}: write it as FRAME=VALUE, for instance --drop 120=3") from None


def read_references(
    refs: Sequence[MaskRef], clip: Clip, names: Path | None, given: PartEmbeddings | None
) -> References:
    """Read masks and the frames they were drawn on.

    Parameters
    ----------
    refs : sequence of MaskRef
        In the user's order. Colours outside the palette are numbered in this order.
    clip : Clip
    names : Path or None
        JSON file ``{"1": "head"}`` with part names.
    given : PartEmbeddings or None
        Supplies the names of parts that `names` leaves out.

    Returns
    -------
    references : References
        A mask without parts marks a frame that shows no part, provided another mask has parts.

    Raises
    ------
    InputError
        A mask is unreadable or of another shape than the clip, or all masks are empty. A frame lies outside the clip
        or has two masks. A value means different parts in two masks.
    """
    _check_frames(refs, clip)
    for ref in refs:
        if not ref.path.exists():
            raise InputError(f"no such mask: {ref.path}; --ref takes a file, or N=FILE with the number of its frame")
        if ref.path.is_dir():
            raise InputError(f"--ref {ref.path} is a folder; give a mask there, and the clip before it")
    mask_files = [read_mask(ref.path) for ref in refs]
    nonempty = [i for i, mask in enumerate(mask_files) if mask.values] or list(range(len(mask_files)))
    fitted = [fit_mask(mask_files[i], clip.size, str(refs[i].path), clip.pixel_shape) for i in nonempty]
    masks, notes = harmonize_values(fitted, [str(refs[i].path) for i in nonempty])
    names_by_value = _part_names(names, masks, given)
    parts_per_mask = [
        make_parts(mask, {v: n for v, n in names_by_value.items() if v in (0, *mask.values)}) for mask in masks
    ]
    parts = union_parts([_with_first_colors(p, masks) for p in parts_per_mask])
    labels = dict(zip(nonempty, (mask.labels for mask in masks), strict=True))
    items = []
    for i, ref in sorted(enumerate(refs), key=lambda numbered: numbered[1].frame):
        frame: Frame = next(clip.read(ref.frame, ref.frame + 1))
        rows = np.zeros(clip.size, np.int16) if i not in labels else parts.index(labels[i])
        items.append(Reference(frame, Annotation(frame.rgb, rows, parts, i not in labels)))
    notes += [
        f"{refs[i].path.name}: an empty mask, frame {refs[i].frame} shows no part"
        for i in range(len(refs))
        if i not in labels
    ]
    return References(tuple(items), parts, tuple(notes))


def _check_frames(refs: Sequence[MaskRef], clip: Clip) -> None:
    if not refs:
        raise InputError("there is no reference; give one with --ref MASK")
    for ref in refs:
        if not 0 <= ref.frame < len(clip):
            raise InputError(
                f"reference frame {ref.frame} lies outside the clip, which has frames 0..{len(clip) - 1}"
                + (f" ({ref.path})" if len(refs) > 1 else "")
            )
    frames = [ref.frame for ref in refs]
    duplicates = [frame for frame in frames if frames.count(frame) > 1]
    if duplicates:
        raise InputError(f"frame {duplicates[0]} has two reference masks; give one a frame")


def _with_first_colors(parts: Parts, masks: Sequence[MaskFile]) -> Parts:
    """Give every part the colour it has in the first mask that stores its colour."""
    colors = {value: color for mask in reversed(masks) for value, color in mask.colors.items()}
    return replace(parts, colors=tuple(colors.get(v, c) for v, c in zip(parts.values, parts.colors, strict=True)))


def _part_names(path: Path | None, masks: Sequence[MaskFile], given: PartEmbeddings | None) -> Mapping[int, str]:
    """Return the part names of the user's file, completed by those of the part embeddings."""
    names = dict(zip(given.parts.values, given.parts.names, strict=True)) if given else {}
    if path:
        names_in_file = read_names(path)
        values = sorted({value for mask in masks for value in mask.values})
        unknown = sorted(set(names_in_file) - {0, *values})
        if unknown:
            raise InputError(
                f"{path}: the mask has no part {', '.join(map(str, unknown))}, its values are "
                f"{', '.join(map(str, values))}"
            )
        names |= names_in_file
    return names
