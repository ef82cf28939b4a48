"""Run the DAVIS protocol (Perazzi et al., CVPR 2016), resumable, with results in the layout of a submission.

``davis_run.json`` in the result folder holds three hashes per finished sequence: of settings, model and program, of the
input frames and mask, and of the written masks. A sequence counts as done only if all three match.
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
from slimecore.io.result_folder import lock_folder, refuse_links
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
    """Request to segment a DAVIS split.

    Parameters
    ----------
    root : Path
        DAVIS folder.
    out : Path
        Result folder. Masks are written to ``<out>/<sequence>/<frame>.png``.
    year : int
        2016 or 2017.
    subset : str
        Split: ``train``, ``val``, ``test-dev``, ...
    resolution : str
        Folder below ``JPEGImages`` and ``Annotations``.
    sequences : tuple of str
        Names to select from the split. Empty selects all.
    config : RunConfig
    jobs : int
        Number of processes, each with a sequence at a time.
    redo : bool
        Replace results whose settings, inputs or masks have changed.
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
    """Segment the sequences of a request that are not done yet.

    Parameters
    ----------
    request : DavisRequest
    notify : callable(stage, done, total), optional
        Called after every sequence, with numbers of frames.

    Returns
    -------
    dict
        ``made`` and ``kept`` are names of sequences. ``frames`` and ``seconds`` are totals of the sequences made.

    Raises
    ------
    InputProblems
        All missing frames and masks, before the first sequence starts.
    OutputError
        The folder holds results with other settings or inputs, or changed masks, or another process writes into it.
        No file was touched.
    """
    work = _list_work(request, dataset_of(request))
    with lock_folder(request.out):
        return _run_work(request, work, notify)


def _run_work(request: DavisRequest, work: Sequence[Work], notify: Notify | None) -> dict[str, Any]:
    manifest = Manifest(request.out)
    settings = _settings_key(request)
    sources = {w.name: digest([w.mask, *list_images(w.frames)]) for w in work}
    manifest.check_others(sources, settings)
    done = {w.name for w in work if manifest.check(w, settings, sources[w.name], redo=request.redo)}
    refuse_links(request.out, [w.out for w in work])
    make_folder(request.out)
    manifest.save()
    pending = sorted((w for w in work if w.name not in done), key=lambda w: -len(list_images(w.frames)))
    total, frames, seconds = sum(len(list_images(w.frames)) for w in pending), 0, 0.0
    for item, spent in map_processes(_segment, pending, request.jobs):
        manifest.add(item, settings, sources[item.name], to_dict(request.config))
        frames += len(list_images(item.frames))
        seconds += spent
        if notify:
            notify("segment", frames, total)
    made = [w.name for w in work if w.name not in done]
    return {"made": made, "kept": sorted(done), "frames": frames, "seconds": seconds}


def dataset_of(request: DavisRequest) -> Dataset:
    """Return the ground truth of the requested sequences."""
    return open_davis(
        request.root, request.year, request.subset, resolution=request.resolution, sequences=request.sequences
    )


def _list_work(request: DavisRequest, dataset: Dataset) -> list[Work]:
    import torch

    threads = max(1, torch.get_num_threads() // require_jobs(request.jobs))
    work, problems = [], []
    for name, truths in dataset.truths:
        frames = request.root / "JPEGImages" / request.resolution / name
        images = list_images(frames) if frames.is_dir() else []
        if not images:
            problems.append(f"{frames}: no frames; complete the dataset or name --sequences")
        elif images[0].stem != truths[0].stem:
            problems.append(f"{name}: the first frame is {images[0].name}, the first annotation {truths[0].name}")
        else:
            binary = request.year == 2016
            work.append(Work(name, frames, truths[0], binary, request.out / name, request.config, threads))
    if problems:
        raise InputProblems(problems)
    return work


def _segment(work: Work) -> float:
    """Segment a sequence in the calling process and return the seconds spent."""
    import torch

    from slimevid.io import open_clip
    from slimevid.session.segmenter import Segmenter

    torch.set_num_threads(work.threads)
    started = time.perf_counter()
    clip = open_clip(work.frames)
    mask = fit_mask(
        _merge_objects(read_mask(work.mask)) if work.binary else read_mask(work.mask), clip.size, str(work.mask)
    )
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


def _merge_objects(mask: MaskFile) -> MaskFile:
    """Merge all objects of a mask into a single object of value 1."""
    return MaskFile((mask.labels > 0).astype(np.int32), {}, mask.notes)


@lru_cache(1)
def _backbone(config: RunConfig) -> Backbone | None:
    """Load the model, once per process. None if the propagator needs no model."""
    from slimecore.backbones import load_model

    needed = load_propagator(config.propagator)[0].needs_model
    return load_model(config.model, config.device, config.seed) if needed else None


def _settings_key(request: DavisRequest) -> str:
    """Return a hash of everything but the inputs that results depend on: settings, model, task and program."""
    model = _backbone(request.config)
    content = {
        "settings": to_dict(request.config),
        "model": None if model is None else [model.name, model.revision, str(model.device)],
        "task": [request.year, request.resolution],
        "program": code_hash("slimecore", "slimevid"),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def zip_results(out: Path, names: Sequence[str]) -> Path:
    """Pack ``<sequence>/<frame>.png`` of the sequences into ``<out>.zip``. Equal masks give equal bytes.

    Parameters
    ----------
    out : Path
        Result folder.
    names : sequence of str
        Sequences to pack.

    Returns
    -------
    Path
        The zip file.

    Raises
    ------
    InputError
        A sequence has no masks.
    OutputError
        The file cannot be written.
    """
    target = out.resolve().with_name(f"{out.resolve().name}.zip")
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            masks = list_images(out / name) if (out / name).is_dir() else []
            if not masks:
                raise InputError(f"{out / name}: no masks to pack")
            for mask in masks:
                archive.writestr(zipfile.ZipInfo(f"{name}/{mask.name}"), mask.read_bytes())
    return target


def floors(request: DavisRequest) -> list[DavisRequest]:
    """Return requests for the two baselines, with results in ``<out>-copy`` and ``<out>-flow_warp``."""
    out = request.out.resolve()
    forward_only = replace(request.config, bidirectional_span=0)  # a baseline is the plain method, without extras
    return [
        replace(request, out=out.with_name(f"{out.name}-{name}"), config=replace(forward_only, propagator=name))
        for name in ("copy", "flow_warp")
    ]
