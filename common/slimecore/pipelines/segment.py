"""Run ``slime segment``: from part embeddings and pictures to masks."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from slimecore.backbones import ModelSpec, load_model
from slimecore.config import dump_yaml, to_dict
from slimecore.errors import InputError, OutputError
from slimecore.imaging.overlay import overlay
from slimecore.io.atomic_files import atomic_path, make_folder, write_json, write_text
from slimecore.io.embeddings import load_embeddings
from slimecore.io.images import list_images, read_rgb, unread_note, write_png
from slimecore.io.masks import write_mask
from slimecore.io.result_folder import lock_folder, open_in_place, refuse_links
from slimecore.pipelines.config import ImageConfig
from slimecore.provenance.report import model_entry, parts_entry, peak_memory_mb, versions
from slimecore.segmentation.part_segmenter import PartSegmenter, Segmentation
from slimecore.types import PartEmbeddings

__all__ = ["SegmentRequest", "model_of", "run_segment"]

Notify = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class SegmentRequest:
    """Inputs, output and settings of ``slime segment``.

    Parameters
    ----------
    parts : Path
        Part-embedding file.
    images : sequence of Path
        Picture files, or folders of them.
    out : Path
        Result folder.
    model : str or None
        Another path or name of the model the parts were learned with. It must hold the same weights.
    soft : bool
        Write probabilities and confidence too.
    config : ImageConfig
    """

    parts: Path
    images: Sequence[Path]
    out: Path
    model: str | None = None
    soft: bool = False
    config: ImageConfig = field(default_factory=ImageConfig)


def run_segment(request: SegmentRequest, notify: Notify | None = None) -> dict[str, Any]:
    """Segment pictures and write ``masks/``, ``overlays/``, ``scores.csv``, ``config.yaml`` and ``report.json``.

    Parameters
    ----------
    request : SegmentRequest
    notify : callable, optional
        Called as ``notify(stage, done, total)``.

    Returns
    -------
    dict
        Content of ``report.json``.

    Raises
    ------
    SlimeError
        An input, the model or the output path is invalid, or another process writes there. Masks written before a
        damaged picture stay valid.
    """
    with lock_folder(request.out):
        return _run_segment(request, notify)


def _run_segment(request: SegmentRequest, notify: Notify | None) -> dict[str, Any]:
    embeddings = load_embeddings(request.parts)
    paths = _picture_paths(request.images)
    notes = [note for path in request.images if path.is_dir() for note in unread_note(path)]
    _check_output_folder(request.out, paths)
    config = request.config
    backbone = load_model(model_of(embeddings, config.model, request.model), config.device, config.seed)
    segmenter = PartSegmenter(backbone, embeddings, config.segment, str(request.parts))
    folders = ("masks", "overlays", *(("soft", "confidence") if request.soft else ()))
    refuse_links(request.out, [request.out / name for name in folders])
    output_folders = {name: make_folder(make_folder(request.out) / name) for name in folders}
    write_text(request.out / "config.yaml", dump_yaml(config))
    seconds = 0.0
    with _open_scores(request.out / "scores.csv") as file:
        scores = csv.writer(file)
        scores.writerow(("image", "part", "name", "area", "confidence"))
        for done, path in enumerate(paths, 1):
            rgb = read_rgb(path, guess_depth=True)
            before = time.perf_counter()
            result = segmenter(rgb)
            seconds += time.perf_counter() - before
            _write_result(output_folders, path.stem, rgb, result)
            try:
                scores.writerows(_score_rows(path.stem, result))
                file.flush()  # rows must survive an error in the next picture
            except OSError as error:
                raise OutputError(
                    f"cannot write {file.name}: {error.strerror or error}; free space, the masks so far are kept"
                ) from error
            if notify:
                notify("segment", done, len(paths))
    report = {
        "status": "done",
        "images": len(paths),
        "parts_file": request.parts.name,
        "parts": parts_entry(embeddings.parts),
        "mode": embeddings.mode,
        "model": model_entry(backbone),
        "settings": to_dict(config.segment),
        "seed": config.seed,
        "notes": notes,
        "versions": versions(),
        "seconds_per_image": round(seconds / len(paths), 4),
        "peak_memory_mb": peak_memory_mb(),
    }
    write_json(request.out / "report.json", report)
    return report


def _open_scores(path: Path) -> IO[str]:
    try:
        return open_in_place(path, keep=False, newline="", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another --out") from error


def _picture_paths(files_or_folders: Sequence[Path]) -> list[Path]:
    """Return the picture files, those of folders included, after a check that they exist under distinct stems."""
    paths: list[Path] = []
    for path in files_or_folders:
        pictures = list_images(path) if path.is_dir() else [path]
        if not pictures:
            raise InputError(" ".join([f"{path}: the folder holds no picture", *unread_note(path)]))
        paths += pictures
    for path in paths:
        if not path.is_file():
            raise InputError(f"no such file: {path}")
    stems = [path.stem for path in paths]
    duplicate = next((stem for stem in stems if stems.count(stem) > 1), None)
    if duplicate is not None:
        raise InputError(f"two pictures are called {duplicate!r}, and their masks would be, too; segment them apart")
    return paths


def _check_output_folder(out: Path, paths: Sequence[Path]) -> None:
    """Raise if results would overwrite an input picture."""
    output_folders = {(out / folder).resolve() for folder in ("masks", "overlays", "soft", "confidence")}
    for path in paths:
        if path.resolve().parent in output_folders:
            raise OutputError(f"{out}: results would overwrite {path}; choose another --out")


def model_of(embeddings: PartEmbeddings, spec: ModelSpec, override: str | None) -> ModelSpec:
    """Return the specification of the model the parts were learned with.

    Parameters
    ----------
    embeddings : PartEmbeddings
    spec : ModelSpec
        Revision, variant and timestep given here have priority over those stored in the embeddings.
    override : str or None
        Name or path of another copy of the model.

    Returns
    -------
    ModelSpec
    """
    stored = embeddings.settings
    timestep = spec.timestep if spec.timestep is not None else stored.get("model.timestep")
    return replace(
        spec,
        name=override or embeddings.model,
        revision=spec.revision or (None if override else _text(stored.get("model.revision"))),
        variant=spec.variant or (None if override else _text(stored.get("model.variant"))),
        timestep=None if timestep is None else int(timestep),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _write_result(folders: Mapping[str, Path], stem: str, rgb: npt.NDArray[np.uint8], result: Segmentation) -> None:
    """Write mask and overlay, and probabilities and confidence if their folders exist."""
    write_mask(folders["masks"] / f"{stem}.png", result.labels.labels)
    write_png(folders["overlays"] / f"{stem}.png", overlay(rgb, result.labels.labels))
    if "soft" not in folders:
        return
    with atomic_path(folders["soft"] / f"{stem}.npy") as temporary, temporary.open("wb") as file:
        np.save(file, result.scores.values.astype(np.float16))
    write_png(folders["confidence"] / f"{stem}.png", (result.confidence * 255).round().astype(np.uint8))


def _score_rows(stem: str, result: Segmentation) -> list[tuple[Any, ...]]:
    """Return a row of ``scores.csv`` for every part: picture, value, name, area in pixels, mean confidence."""
    labels, parts = result.labels.labels, result.labels.parts
    rows = []
    for value, name in zip(parts.values[1:], parts.names[1:], strict=True):
        inside = labels == value
        area = int(np.count_nonzero(inside))
        rows.append((stem, value, name, area, f"{result.confidence[inside].mean() if area else 0.0:.4f}"))
    return rows
