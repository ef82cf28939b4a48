"""The user's masks of frames, brought to the clip's size and to one set of parts."""

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
    """A mask file and the frame it was drawn on."""

    path: Path
    frame: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """Annotated frames of a clip.

    Parameters
    ----------
    items : tuple of Reference
        In increasing order of frames.
    parts : Parts
        Of all of them.
    notes : tuple of str
        What was decided about doubtful masks.
    """

    items: tuple[Reference, ...]
    parts: Parts
    notes: tuple[str, ...]

    def digests(self) -> dict[int, str]:
        """A hash of every reference's picture and labels, by frame."""
        found = {}
        for item in self.items:
            values = np.append(item.annotation.parts.values, -1).astype(np.int16)  # rows change when parts are added
            content = values[item.annotation.rows].tobytes() + zlib.crc32(item.frame.rgb.data).to_bytes(4, "big")
            found[item.frame.index] = hashlib.sha256(content).hexdigest()[:16]
        return found


def parse_reference(text: str, frame: int) -> MaskRef:
    """``MASK`` or ``N=MASK``; a mask without a number belongs to `frame`."""
    number, path = parse_numbered(text)
    return MaskRef(path, frame if number is None else number)


def parse_drop(text: str) -> tuple[int, tuple[int, ...]]:
    """Frame and part values of ``N=VALUE[,VALUE ...]``.

    Raises
    ------
    InputError
        It is written otherwise.
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
        In the order given: where colours are numbered, the first mask's come first.
    clip : Clip
    names : Path or None
        JSON ``{"1": "head"}``.
    given : PartEmbeddings or None
        Its names serve parts that `names` does not name.

    Raises
    ------
    InputError
        A mask that cannot be read or does not fit, a frame outside the clip or given twice, or values that mean
        something else in another mask. A mask without any part is one only if all are: else it says that the frame
        shows none.
    """
    _check_frames(refs, clip)
    for ref in refs:
        if not ref.path.exists():
            raise InputError(f"no such mask: {ref.path}; --ref takes a file, or N=FILE with the number of its frame")
        if ref.path.is_dir():
            raise InputError(f"--ref {ref.path} is a folder; give a mask there, and the clip before it")
    raw = [read_mask(ref.path) for ref in refs]
    marked = [i for i, mask in enumerate(raw) if mask.values] or list(range(len(raw)))
    fitted = [fit_mask(raw[i], clip.size, str(refs[i].path)) for i in marked]
    masks, notes = harmonize_values(fitted, [str(refs[i].path) for i in marked])
    known = _names(names, masks, given)
    own = [make_parts(mask, {v: n for v, n in known.items() if v in (0, *mask.values)}) for mask in masks]
    parts = union_parts([_plainly_colored(p, masks) for p in own])
    labels = dict(zip(marked, (mask.labels for mask in masks), strict=True))
    items = []
    for i, ref in sorted(enumerate(refs), key=lambda found: found[1].frame):
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
    twice = [frame for frame in frames if frames.count(frame) > 1]
    if twice:
        raise InputError(f"frame {twice[0]} has two reference masks; give one a frame")


def _plainly_colored(parts: Parts, masks: Sequence[MaskFile]) -> Parts:
    """A part has the colour of the first mask that says one."""
    colors = {value: color for mask in reversed(masks) for value, color in mask.colors.items()}
    return replace(parts, colors=tuple(colors.get(v, c) for v, c in zip(parts.values, parts.colors, strict=True)))


def _names(path: Path | None, masks: Sequence[MaskFile], given: PartEmbeddings | None) -> Mapping[int, str]:
    """Names the user gave, else those the part embeddings carry."""
    names = dict(zip(given.parts.values, given.parts.names, strict=True)) if given else {}
    if path:
        own = read_names(path)
        values = sorted({value for mask in masks for value in mask.values})
        unknown = sorted(set(own) - {0, *values})
        if unknown:
            raise InputError(
                f"{path}: the mask has no part {', '.join(map(str, unknown))}, its values are "
                f"{', '.join(map(str, values))}"
            )
        names |= own
    return names
