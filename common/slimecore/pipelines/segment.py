"""``slime segment``: from part embeddings and pictures to masks."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.backbones import ModelSpec, load_model
from slimecore.config import dump_yaml, to_dict
from slimecore.errors import InputError, OutputError
from slimecore.imaging.overlay import overlay
from slimecore.io.atomic_files import atomic_path, make_folder, write_json, write_text
from slimecore.io.embeddings import load_embeddings
from slimecore.io.images import list_images, read_rgb, write_png
from slimecore.io.masks import write_mask
from slimecore.pipelines.config import ImageConfig
from slimecore.provenance.report import model_entry, parts_entry, peak_memory_mb, versions
from slimecore.segmentation.part_segmenter import PartSegmenter, Segmentation
from slimecore.types import PartEmbeddings

__all__ = ["SegmentRequest", "model_of", "run_segment"]

Notify = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class SegmentRequest:
    """What to segment, with what, and where to put it.

    Parameters
    ----------
    parts : Path
        Part embeddings.
    images : sequence of Path
        Files, or folders of files.
    out : Path
    model : str or None
        Instead of the model the parts were learned with; it must hold the same weights.
    soft : bool
        Write soft maps and confidence too.
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

    Returns
    -------
    dict
        As written in ``report.json``.

    Raises
    ------
    SlimeError
        Bad input, model or output place. Masks written before a picture turns out to be damaged stay valid.
    """
    embeddings = load_embeddings(request.parts)
    paths = _pictures(request.images)
    _protect(request.out, paths)
    config = request.config
    backbone = load_model(model_of(embeddings, config.model, request.model), config.device, config.seed)
    segmenter = PartSegmenter(backbone, embeddings, config.segment, str(request.parts))
    folders = ("masks", "overlays", *(("soft", "confidence") if request.soft else ()))
    places = {name: make_folder(make_folder(request.out) / name) for name in folders}
    write_text(request.out / "config.yaml", dump_yaml(config))
    seconds = 0.0
    with (request.out / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        scores = csv.writer(file)
        scores.writerow(("image", "part", "name", "area", "confidence"))
        for done, path in enumerate(paths, 1):
            rgb = read_rgb(path)
            before = time.perf_counter()
            result = segmenter(rgb)
            seconds += time.perf_counter() - before
            _write(places, path.stem, rgb, result)
            scores.writerows(_score_rows(path.stem, result))
            file.flush()  # what is written stays, whatever the next picture does
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
        "versions": versions(),
        "seconds_per_image": round(seconds / len(paths), 4),
        "peak_memory_mb": peak_memory_mb(),
    }
    write_json(request.out / "report.json", report)
    return report


def _pictures(given: Sequence[Path]) -> list[Path]:
    paths: list[Path] = []
    for path in given:
        found = list_images(path) if path.is_dir() else [path]
        if not found:
            raise InputError(f"{path}: the folder holds no picture")
        paths += found
    for path in paths:
        if not path.is_file():
            raise InputError(f"no such file: {path}")
    stems = [path.stem for path in paths]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise InputError(f"two pictures are called {twice!r}, and their masks would be, too; segment them apart")
    return paths


def _protect(out: Path, paths: Sequence[Path]) -> None:
    written = {(out / folder).resolve() for folder in ("masks", "overlays", "soft", "confidence")}
    for path in paths:
        if path.resolve().parent in written:
            raise OutputError(f"{out}: results would overwrite {path}; choose another --out")


def model_of(embeddings: PartEmbeddings, spec: ModelSpec, override: str | None) -> ModelSpec:
    """The model the parts were learned with, unless another is asked for."""
    kept = embeddings.settings
    timestep = spec.timestep if spec.timestep is not None else kept.get("model.timestep")
    return replace(
        spec,
        name=override or embeddings.model,
        revision=spec.revision or (None if override else _text(kept.get("model.revision"))),
        variant=spec.variant or (None if override else _text(kept.get("model.variant"))),
        timestep=None if timestep is None else int(timestep),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _write(places: Mapping[str, Path], stem: str, rgb: npt.NDArray[np.uint8], result: Segmentation) -> None:
    write_mask(places["masks"] / f"{stem}.png", result.labels.labels)
    write_png(places["overlays"] / f"{stem}.png", overlay(rgb, result.labels.labels))
    if "soft" not in places:
        return
    with atomic_path(places["soft"] / f"{stem}.npy") as part, part.open("wb") as file:
        np.save(file, result.scores.values.astype(np.float16))
    write_png(places["confidence"] / f"{stem}.png", (result.confidence * 255).round().astype(np.uint8))


def _score_rows(stem: str, result: Segmentation) -> list[tuple[Any, ...]]:
    labels, parts = result.labels.labels, result.labels.parts
    rows = []
    for value, name in zip(parts.values[1:], parts.names[1:], strict=True):
        mine = labels == value
        area = int(np.count_nonzero(mine))
        rows.append((stem, value, name, area, f"{result.confidence[mine].mean() if area else 0.0:.4f}"))
    return rows
