"""``slimevid run``: from a clip and a mask to a folder of results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slimecore.artifacts import load_embeddings, require_model, require_parts, save_embeddings
from slimecore.config import dump_yaml, to_dict
from slimecore.errors import InputError, OutputError
from slimecore.files import make_folder, write_json, write_text
from slimecore.masks import MaskFile, fit_mask, make_parts, read_mask, read_names, write_mask
from slimecore.report import model_entry, parts_entry, peak_memory_mb, versions
from slimecore.types import Annotation, Frame, PartEmbeddings, Parts
from slimecore.viz import overlay
from slimevid.config import RunConfig
from slimevid.io import Clip, open_clip
from slimevid.io.writers import OverlayWriter, ScoreWriter
from slimevid.segmenter import FrameResult, Segmenter

__all__ = ["RunRequest", "run"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to segment, and where to put it.

    Parameters
    ----------
    clip : Path
        Video file or folder of frames.
    ref : Path
        Mask of the reference frame.
    out : Path
    ref_frame : int
        Frame the mask was drawn on.
    names : Path or None
        JSON ``{"1": "head"}``.
    parts : Path or None
        Part embeddings learned earlier; the learning step is skipped.
    config : RunConfig
    """

    clip: Path
    ref: Path
    out: Path
    ref_frame: int = 0
    names: Path | None = None
    parts: Path | None = None
    config: RunConfig = field(default_factory=RunConfig)


Notify = Callable[[str, int, int], None]


def run(request: RunRequest, notify: Notify | None = None) -> dict[str, Any]:
    """Segment a clip and write everything.

    Parameters
    ----------
    request : RunRequest
    notify : callable(stage, done, total), optional
        Told after every step of ``learn`` and every frame of ``segment``.

    Returns
    -------
    dict
        What the run did, as written in ``report.json``.

    Raises
    ------
    SlimeError
        Bad input, model or output place. Everything is checked before the first file is written; masks already written
        stay valid when a later frame turns out to be corrupt.
    """
    started = time.perf_counter()
    clip = open_clip(request.clip, leave_out=request.ref)
    mask = fit_mask(read_mask(request.ref), clip.size, str(request.ref))
    reference = _reference_frame(clip, request.ref_frame)
    given = load_embeddings(request.parts) if request.parts else None
    parts = make_parts(mask, _names(request, mask, given))
    annotation = Annotation(reference.rgb, parts.index(mask.labels), parts)
    _protect(request, clip)
    segmenter = Segmenter(request.config, embeddings=given)
    if given is not None:
        require_parts(given, parts, str(request.parts))
        if segmenter.backbone is not None:
            require_model(given, segmenter.backbone.name, segmenter.backbone.revision, str(request.parts))
    loaded = time.perf_counter()

    masks = make_folder(make_folder(request.out) / "masks")
    for stale in ("overlay.mp4", "parts.safetensors", "scores.csv"):
        (request.out / stale).unlink(missing_ok=True)
    write_text(request.out / "config.yaml", dump_yaml(request.config))
    write_json(request.out / "report.json", {"status": "running", "clip": _clip_entry(clip)})

    def learning(step: int, steps: int, _loss: float) -> None:
        if notify:
            notify("learn", step, steps)

    first = segmenter.add_reference(reference, annotation, learning)
    if segmenter.embeddings is not None:
        save_embeddings(request.out / "parts.safetensors", segmenter.embeddings)
    learned = time.perf_counter()

    count = _segment_all(request, clip, segmenter, first, annotation, masks, notify)
    finished = time.perf_counter()
    content = _report(request, clip, mask, parts, segmenter)
    content["timings_s"] = {
        "load": round(loaded - started, 3),
        "learn": round(learned - loaded, 3),
        "segment": round(finished - learned, 3),
        "total": round(finished - started, 3),
    }
    content["fps"] = round((count - 1) / max(finished - learned, 1e-9), 3)
    write_json(request.out / "report.json", content)
    return content


def _reference_frame(clip: Clip, index: int) -> Frame:
    if not 0 <= index < len(clip):
        raise InputError(f"--ref-frame {index} lies outside the clip, which has frames 0..{len(clip) - 1}")
    return next(clip.read(index, index + 1))


def _names(request: RunRequest, mask: MaskFile, given: PartEmbeddings | None) -> dict[int, str]:
    """Names the user gave, else those the part embeddings carry."""
    names = dict(zip(given.parts.values, given.parts.names, strict=True)) if given else {}
    if request.names:
        own = read_names(request.names)
        unknown = sorted(set(own) - {0, *mask.values})
        if unknown:
            raise InputError(
                f"{request.names}: the mask has no part {', '.join(map(str, unknown))}, "
                f"its values are {', '.join(map(str, mask.values))}"
            )
        names |= own
    return names


def _clip_entry(clip: Clip) -> dict[str, Any]:
    return {
        "name": clip.name,
        "frames": len(clip),
        "height": clip.size[0],
        "width": clip.size[1],
        "fps": float(clip.fps),
    }


def _protect(request: RunRequest, clip: Clip) -> None:
    """Refuse to write over the clip itself, or to mix with the results of another clip."""
    folder = request.out / "masks"
    inputs = {request.clip.resolve(), request.ref.resolve().parent}
    if folder.resolve() in inputs or (request.out / "overlay.mp4").resolve() in inputs:
        raise OutputError(f"{request.out}: results would overwrite the clip or the mask; choose another --out")
    report = request.out / "report.json"
    if report.is_file():
        try:
            before = json.loads(report.read_text(encoding="utf-8")).get("clip")
        except (OSError, ValueError, AttributeError):
            before = None
        if before != _clip_entry(clip):
            raise OutputError(f"{request.out} holds the results of another clip; choose another --out")
    foreign = {p.stem for p in folder.glob("*.png")} - set(clip.stems())
    if foreign:
        raise OutputError(
            f"{folder} holds {len(foreign)} masks of another clip (such as {min(foreign)}.png); choose another --out"
        )


def _segment_all(
    request: RunRequest,
    clip: Clip,
    segmenter: Segmenter,
    first: FrameResult,
    annotation: Annotation,
    masks: Path,
    notify: Notify | None,
) -> int:
    """Forward from the reference, then backward from it; results stream to disk."""
    out, done = request.out, 0
    # A reference in the middle makes results come out of order; the overlay is then drawn from the masks, afterwards.
    in_order = request.ref_frame == 0
    with ScoreWriter(out / "scores.csv") as scores, ExitStack() as stack:
        video = stack.enter_context(OverlayWriter(out / "overlay.mp4", clip.size, clip.fps)) if in_order else None
        for result in _results(request.ref_frame, clip, segmenter, first, annotation):
            write_mask(masks / f"{result.frame.name}.png", result.labels)
            scores.write(_score_rows(result, annotation))
            if video is not None:
                video.write(overlay(result.frame.rgb, result.labels))
            done += 1
            if notify:
                notify("segment", done, len(clip))
    if not in_order:
        _overlay_from_masks(out, clip)
    return done


def _results(
    start: int, clip: Clip, segmenter: Segmenter, first: FrameResult, annotation: Annotation
) -> Iterator[FrameResult]:
    yield first
    for frame in clip.read(start + 1, len(clip)):
        yield segmenter.step(frame)
    if start:
        segmenter.restart(first.frame, annotation)
        for frame in clip.read_reversed(0, start):
            yield segmenter.step(frame)


def _overlay_from_masks(out: Path, clip: Clip) -> None:
    with OverlayWriter(out / "overlay.mp4", clip.size, clip.fps) as video:
        for frame in clip.read(0, len(clip)):
            video.write(overlay(frame.rgb, read_mask(out / "masks" / f"{frame.name}.png").labels))


def _score_rows(result: FrameResult, annotation: Annotation) -> list[tuple[Any, ...]]:
    parts = annotation.parts
    return [
        (
            result.frame.index,
            result.frame.name,
            parts.values[i + 1],
            parts.names[i + 1],
            int(result.present[i]),
            f"{result.presence[i]:.4f}",
            f"{result.confidence[i]:.4f}",
            int(result.area[i]),
        )
        for i in range(len(parts) - 1)
    ]


def _report(request: RunRequest, clip: Clip, mask: MaskFile, parts: Parts, segmenter: Segmenter) -> dict[str, Any]:
    backbone = segmenter.backbone
    return {
        "status": "done",
        "clip": _clip_entry(clip),
        "reference": {"mask": request.ref.name, "frame": request.ref_frame, "notes": list(mask.notes)},
        "parts_file": None if request.parts is None else request.parts.name,
        "parts": parts_entry(parts),
        "model": None if backbone is None else model_entry(backbone),
        "settings": to_dict(request.config),
        "seed": request.config.seed,
        "versions": versions("av"),
        "memory_bytes": segmenter.memory_bytes,
        "peak_memory_mb": peak_memory_mb(),
    }
