"""``slimevid davis``: the whole DAVIS protocol, sequence by sequence, resumable, in the submission layout.

``davis_run.json`` in the result folder says what every finished sequence was made of: a hash of the settings, of the
model's weights and of this program, one of the frames and the mask given, and one of the masks written. A sequence is
taken as done only if all of them still hold.
"""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimecore.config import to_dict
from slimecore.errors import InputError, InputProblems
from slimecore.io.atomic_files import atomic_path, make_folder
from slimecore.io.images import list_images
from slimecore.io.masks import MaskFile, fit_mask, make_parts, read_mask, write_mask
from slimecore.provenance.code_hash import code_hash, digest
from slimecore.types import Annotation
from slimevid.config import RunConfig
from slimevid.evaluation.dataset import Dataset, open_davis
from slimevid.evaluation.davis_manifest import Manifest, Work
from slimevid.evaluation.process_pool import map_processes, require_jobs
from slimevid.propagators import load_propagator

if TYPE_CHECKING:
    from slimecore.backbones import Backbone

__all__ = ["DavisRequest", "dataset_of", "floors", "run_davis", "zip_results"]

Notify = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class DavisRequest:
    """What to run, and where to put it.

    Parameters
    ----------
    root : Path
        DAVIS folder.
    out : Path
        ``<out>/<sequence>/<frame>.png``.
    year : int
    subset, resolution : str
    sequences : tuple of str
        Only these; empty = all of the split.
    config : RunConfig
    jobs : int
        Sequences at a time, a process each.
    redo : bool
        Make again what was made from other settings or inputs, or was changed since.
    """

    root: Path
    out: Path
    year: int = 2016
    subset: str = "val"
    resolution: str = "480p"
    sequences: tuple[str, ...] = ()
    config: RunConfig = field(default_factory=RunConfig)
    jobs: int = 1
    redo: bool = False


def run_davis(request: DavisRequest, notify: Notify | None = None) -> dict[str, Any]:
    """Segment the sequences that are not done yet.

    Parameters
    ----------
    request : DavisRequest
    notify : callable(stage, done, total), optional
        Told after every sequence.

    Returns
    -------
    dict
        ``made`` and ``kept``: names of sequences; ``frames`` and ``seconds`` of those made.

    Raises
    ------
    InputProblems
        Frames or masks are missing: everything that is, before the first sequence starts.
    OutputError
        The folder holds results of other settings or inputs, or masks that changed since; nothing was touched.
    """
    work = _work(request, dataset_of(request))
    manifest = Manifest(request.out)
    settings = _settings_key(request)
    sources = {w.name: digest([w.mask, *list_images(w.frames)]) for w in work}
    manifest.check_others(sources, settings)
    keep = {w.name for w in work if manifest.check(w, settings, sources[w.name], redo=request.redo)}
    make_folder(request.out)
    manifest.save()
    todo = sorted((w for w in work if w.name not in keep), key=lambda w: -len(list_images(w.frames)))
    total, frames, seconds = sum(len(list_images(w.frames)) for w in todo), 0, 0.0
    for item, spent in map_processes(_segment, todo, request.jobs):
        manifest.add(item, settings, sources[item.name], to_dict(request.config))
        frames += len(list_images(item.frames))
        seconds += spent
        if notify:
            notify("segment", frames, total)
    made = [w.name for w in work if w.name not in keep]
    return {"made": made, "kept": sorted(keep), "frames": frames, "seconds": seconds}


def dataset_of(request: DavisRequest) -> Dataset:
    """Ground truth of the sequences asked for."""
    return open_davis(
        request.root, request.year, request.subset, resolution=request.resolution, sequences=request.sequences
    )


def _work(request: DavisRequest, dataset: Dataset) -> list[Work]:
    import torch

    threads = max(1, torch.get_num_threads() // require_jobs(request.jobs))
    work, problems = [], []
    for name, truths in dataset.truths:
        frames = request.root / "JPEGImages" / request.resolution / name
        pictures = list_images(frames) if frames.is_dir() else []
        if not pictures:
            problems.append(f"{frames}: no frames; complete the dataset or name --sequences")
        elif pictures[0].stem != truths[0].stem:
            problems.append(f"{name}: the first frame is {pictures[0].name}, the first annotation {truths[0].name}")
        else:
            binary = request.year == 2016
            work.append(Work(name, frames, truths[0], binary, request.out / name, request.config, threads))
    if problems:
        raise InputProblems(problems)
    return work


def _segment(work: Work) -> float:
    """Run one sequence; seconds spent on it. A process of its own, or this one."""
    import torch

    from slimevid.io import open_clip
    from slimevid.session.segmenter import Segmenter

    torch.set_num_threads(work.threads)
    started = time.perf_counter()
    clip = open_clip(work.frames)
    mask = fit_mask(_binary(read_mask(work.mask)) if work.binary else read_mask(work.mask), clip.size, str(work.mask))
    parts = make_parts(mask)
    segmenter = Segmenter(work.config, _backbone(work.config))
    first = next(clip.read(0, 1))
    folder = make_folder(work.out)
    for stale in folder.glob("*.png"):
        stale.unlink()
    segmenter.add_reference(first, Annotation(first.rgb, parts.index(mask.labels), parts))
    for result in segmenter.propagate(clip):
        write_mask(folder / f"{result.frame.name}.png", result.labels)
    return time.perf_counter() - started


def _binary(mask: MaskFile) -> MaskFile:
    return MaskFile((mask.labels > 0).astype(np.int32), {}, mask.notes)


@lru_cache(1)
def _backbone(config: RunConfig) -> Backbone | None:
    """The model, loaded once a process."""
    from slimecore.backbones import load_model

    needed = load_propagator(config.propagator)[0].needs_model
    return load_model(config.model, config.device, config.seed) if needed else None


def _settings_key(request: DavisRequest) -> str:
    model = _backbone(request.config)
    content = {
        "settings": to_dict(request.config),
        "model": None if model is None else [model.name, model.revision, str(model.device)],
        "task": [request.year, request.resolution],
        "program": code_hash("slimecore", "slimevid"),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def zip_results(out: Path, names: Sequence[str]) -> Path:
    """Pack ``<sequence>/<frame>.png`` of the sequences into ``<out>.zip``, the same bytes for the same masks.

    Raises
    ------
    InputError
        A sequence has no masks.
    OutputError
        The file cannot be written.
    """
    target = out.resolve().with_name(f"{out.resolve().name}.zip")
    with atomic_path(target) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            masks = list_images(out / name) if (out / name).is_dir() else []
            if not masks:
                raise InputError(f"{out / name}: no masks to pack")
            for mask in masks:
                archive.writestr(zipfile.ZipInfo(f"{name}/{mask.name}"), mask.read_bytes())
    return target


def floors(request: DavisRequest) -> list[DavisRequest]:
    """The same run by the two floors, into ``<out>-copy`` and ``<out>-flow_warp``."""
    out = request.out.resolve()
    alone = replace(request.config, bidirectional_span=0)  # a floor is nothing but what its name says
    return [
        replace(request, out=out.with_name(f"{out.name}-{name}"), config=replace(alone, propagator=name))
        for name in ("copy", "flow_warp")
    ]
