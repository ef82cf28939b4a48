"""Run ``slime learn``: from annotated pictures to a file of part embeddings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slimecore.backbones import load_model
from slimecore.errors import InputError, OutputError
from slimecore.io.atomic_files import make_folder
from slimecore.io.embeddings import save_embeddings
from slimecore.io.images import IMAGE_SUFFIXES, list_images, read_rgb, unread_note
from slimecore.io.mask_consistency import harmonize_values
from slimecore.io.masks import MaskFile, fit_mask, make_parts, read_mask, read_names
from slimecore.pipelines.config import ImageConfig
from slimecore.pipelines.learn_parts import learn
from slimecore.provenance.report import model_entry, parts_entry, peak_memory_mb
from slimecore.types import Annotation

__all__ = ["LearnRequest", "run_learn"]

_MAX_PART_VALUE = 65534  # masks of slime segment are 16-bit PNG where a part value is above 255
Notify = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class LearnRequest:
    """Inputs, output and settings of ``slime learn``.

    Parameters
    ----------
    pairs : sequence of Path
        Picture, mask, picture, mask ..., or a folder of pictures and a folder of masks with the same file stems.
    out : Path
        Part-embedding file to write.
    names : Path or None
        JSON file of part names by value, ``{"1": "head"}``.
    config : ImageConfig
    """

    pairs: Sequence[Path]
    out: Path
    names: Path | None = None
    config: ImageConfig = field(default_factory=ImageConfig)


def run_learn(request: LearnRequest, notify: Notify | None = None) -> dict[str, Any]:
    """Learn parts from annotated pictures and write the part embeddings.

    Parameters
    ----------
    request : LearnRequest
    notify : callable, optional
        Called as ``notify(stage, done, total)``.

    Returns
    -------
    dict
        Parts, model, notes about doubtful masks, seconds and peak memory.

    Raises
    ------
    SlimeError
        An input, the model or the output path is invalid.
    """
    started = time.perf_counter()
    pairs, unmatched_notes = _pair_paths(request.pairs)
    annotations, notes = _read_annotations(pairs, request.names)
    make_folder(request.out.parent)
    if request.out.is_dir():
        raise OutputError(f"{request.out} is a folder; give a file name such as {request.out / 'parts.safetensors'}")
    config = request.config
    backbone = load_model(config.model, config.device, config.seed)
    loaded = time.perf_counter()
    embeddings = learn(backbone, annotations, config, lambda step, steps, _: notify and notify("learn", step, steps))
    save_embeddings(request.out, embeddings)
    return {
        "images": len(annotations),
        "parts": parts_entry(embeddings.parts),
        "model": model_entry(backbone),
        "mode": embeddings.mode,
        "notes": unmatched_notes + notes,
        "timings_s": {"load": round(loaded - started, 3), "learn": round(time.perf_counter() - loaded, 3)},
        "peak_memory_mb": peak_memory_mb(),
    }


def _pair_paths(paths: Sequence[Path]) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return pairs of picture and mask, and notes on pictures without a mask."""
    if len(paths) % 2:
        raise InputError(f"{len(paths)} paths are no pairs; give IMAGE MASK [IMAGE MASK ...], or two folders")
    pairs: list[tuple[Path, Path]] = []
    notes: list[str] = []
    for image, mask in zip(paths[::2], paths[1::2], strict=True):
        if image.is_dir() != mask.is_dir():
            raise InputError(f"{image} and {mask}: one is a folder and one is not; give two files or two folders")
        matched = _pair_folders(image, mask) if image.is_dir() else [(image, mask)]
        used = {path for pair in matched for path in pair}
        unmatched = [path.name for path in list_images(image) if path not in used] if image.is_dir() else []
        notes += unread_note(image) if image.is_dir() else []
        if unmatched:
            more = f" and {len(unmatched) - 3} more" if len(unmatched) > 3 else ""
            notes.append(f"{mask} has no mask for {', '.join(unmatched[:3])}{more}")
        pairs += matched
    return pairs, notes


def _pair_folders(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """Return the pairs of picture and mask of the same file stem."""
    files = list_images(masks, (*IMAGE_SUFFIXES, ".npy"))
    pairs = []
    for stem in dict.fromkeys(path.stem for path in list_images(images)):
        pictures = [path for path in list_images(images) if path.stem == stem]
        candidates = [path for path in files if path.stem == stem]
        if images.resolve() == masks.resolve():
            candidates = [_mask_beside(candidates)] if len(candidates) > 1 else []
            pictures = [path for path in pictures if path not in candidates]
        if len(candidates) > 1:
            raise InputError(f"{candidates[0].name} and {candidates[1].name} in {masks} share a name; keep one")
        pairs += [(picture, mask) for picture in pictures for mask in candidates]
    if not pairs:
        raise InputError(f"{images} and {masks}: no picture has a mask of the same name; name them alike")
    return pairs


def _mask_beside(files: Sequence[Path]) -> Path:
    """Return the mask among files of one folder and one stem: the array, or the PNG beside a photograph's format."""
    for suffix in (".npy", ".png"):
        masks = [path for path in files if path.suffix.lower() == suffix]
        if len(masks) == 1:
            return masks[0]
    names = ", ".join(path.name for path in files)
    raise InputError(f"{names} in {files[0].parent}: which one is the mask cannot be told; put masks in a folder apart")


def _read_annotations(
    pairs: Sequence[tuple[Path, Path]], names_file: Path | None
) -> tuple[list[Annotation], list[str]]:
    """Read annotations with notes on doubtful masks, and check the part names against the masks."""
    names: Mapping[int, str] = read_names(names_file) if names_file else {}
    annotations: list[Annotation] = []
    notes: list[str] = []
    values = {0}
    masks, color_notes = _common_values([read_mask(path) for _, path in pairs], [str(path) for _, path in pairs])
    has_ids = any(mask.values and not mask.is_binary_255 for mask in masks)
    for (image, path), original in zip(pairs, masks, strict=True):
        if original.is_binary_255 and has_ids:
            notes.append(f"{path}: 255 alone, beside masks with ids, is read as void; the picture teaches nothing")
            continue
        rgb = read_rgb(image, guess_depth=True)
        mask = fit_mask(original, (rgb.shape[0], rgb.shape[1]), str(path))
        parts = make_parts(mask, names)
        annotations.append(Annotation(rgb, parts.index(mask.labels), parts))
        notes += mask.notes
        values |= set(mask.values)
    notes += color_notes
    unknown = sorted(set(names) - values)
    if unknown and not set(names) & (values - {0}):
        raise InputError(
            f"{names_file}: names parts {', '.join(map(str, unknown))}, the masks hold "
            f"{', '.join(map(str, sorted(values - {0})))}; name the values of the masks"
        )
    if unknown:  # probably the names of a whole data set
        notes.append(f"{names_file}: no mask has part {', '.join(map(str, unknown))}")
    return annotations, notes


def _common_values(masks: list[MaskFile], sources: list[str]) -> tuple[list[MaskFile], list[str]]:
    """Match masks by colour where they have no values of their own, with a note on the numbering."""
    filled = [i for i, mask in enumerate(masks) if mask.values]
    harmonized, notes = harmonize_values([masks[i] for i in filled], [sources[i] for i in filled], _MAX_PART_VALUE)
    if len(filled) < 2 or all(harmonized[n] is masks[i] for n, i in enumerate(filled)):
        return masks, []
    common = list(masks)
    for i, mask in zip(filled, harmonized, strict=True):
        kept = tuple(note for note in mask.notes if "are numbered" not in note)
        common[i] = replace(mask, notes=kept, is_binary_255=False)
    return common, notes[-1:]
