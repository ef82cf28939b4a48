"""Batches of meshes: file search, assignment of masks, resuming, and a summary of outcomes (docs/adr/0019)."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slime3d.io.mesh import MESH_SUFFIXES
from slime3d.labelling.annotated_views import Reference
from slime3d.run.provenance import NEW, results_stale_reason
from slimecore.errors import ConfigError, InputError, SlimeError, UnknownPlugin
from slimecore.io.atomic_files import write_json
from slimecore.io.images import IMAGE_SUFFIXES, natural_key

__all__ = ["Job", "Outcome", "gather", "masks_of", "run_batch", "write_summary"]

_MASK_SUFFIXES = (*IMAGE_SUFFIXES, ".npy")


@dataclass(frozen=True, slots=True)
class Job:
    """A mesh to process.

    Parameters
    ----------
    name : str
        Name in messages and in ``batch.json``.
    path : Path
        Mesh file.
    out : Path
        Result folder.
    """

    name: str
    path: Path
    out: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a job.

    Parameters
    ----------
    name : str
    status : str
        ``done``, ``kept`` (finished before, nothing changed since) or ``failed``.
    message : str
        Summary of the result, reason for a repetition, or error message.
    bad_input : bool
        True: a failure the user can correct. False: an error of this program, or a lack of memory.
    trace : str
        Traceback of an error of this program, else empty.
    """

    name: str
    status: str
    message: str
    bad_input: bool = True
    trace: str = ""


def gather(given: Sequence[Path], out: Path) -> list[Job]:
    """List the jobs of mesh files and of folders of mesh files.

    Folders are searched recursively, in natural order. Files in `out` and results of earlier runs are left out. The
    name of a mesh is its path inside the given folder, or its file name, both without suffix.

    Raises
    ------
    InputError
        A folder holds no meshes, or two meshes have the same name. Missing files fail later, each on its own.
    """
    files: dict[str, Path] = {}
    for path in given:
        for name, file in _find_meshes(path, out) if path.is_dir() else [(path.stem, path)]:
            if name in files:
                raise InputError(f"{files[name]} and {file} would both write into {out / name}; run them apart")
            files[name] = file
    return [Job(name, file, out / name) for name, file in files.items()]


def _find_meshes(folder: Path, out: Path) -> list[tuple[str, Path]]:
    """Return (name, file) of all meshes below a folder, without hidden files and results of earlier runs."""
    target = out.resolve()
    files = sorted(folder.rglob("*"), key=lambda p: natural_key(p.as_posix()))
    results = {p.parent for p in files if p.name == "face_labels.npy"}
    written = {r / "segmented.glb" for r in results} | {r / "parts" for r in results}
    meshes = [
        p
        for p in files
        if p.suffix.lower() in MESH_SUFFIXES
        and p.is_file()
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
        and target not in p.resolve().parents
        and not written & {p, *p.parents}
    ]
    if not meshes:
        raise InputError(f"{folder}: no meshes in this folder ({', '.join(s[1:] for s in MESH_SUFFIXES)})")
    return [(p.relative_to(folder).with_suffix("").as_posix(), p) for p in meshes]


def masks_of(given: Sequence[Reference], name: str, *, alone: bool) -> list[Reference]:
    """Return the masks of the mesh called `name`.

    Parameters
    ----------
    given : sequence of Reference
        Mask files, or folders of masks of any file type. ``NAME.png`` in a folder is a mask of the reference's view,
        ``NAME/mask_005.png`` is a mask of view 5. For a single mesh, ``mask_005.png`` is too.
    name : str
    alone : bool
        The batch has a single mesh, to which mask files belong.

    Returns
    -------
    list of Reference

    Raises
    ------
    InputError
        A mask file is given for several meshes, or a folder has no masks of this mesh.
    """
    out: list[Reference] = []
    for reference in given:
        if not reference.path.is_dir():
            if not alone:
                raise InputError(
                    f"{reference.path}: one mask cannot serve several meshes; give a folder of masks named after them"
                )
            out.append(reference)
            continue
        candidate = reference.path / name
        named = _find_masks(candidate.parent, candidate.name, exact=True)
        numbered = _numbered_masks(candidate) or (_numbered_masks(reference.path) if alone else [])
        if len(named) > 1:
            raise InputError(f"{named[0]} and {named[1]}: which is the mask of {name}?")
        if not named and not numbered:
            expected = f"{name}.png or {'' if alone else name + '/'}mask_000.png"
            raise InputError(f"{reference.path}: no mask of {name}; expected {expected} there")
        out += [Reference(reference.view, named[0])] if named else numbered
    return out


def _find_masks(folder: Path, start: str, *, exact: bool) -> list[Path]:
    """Return the mask files of a folder whose stem equals `start`, or begins with it."""
    if not folder.is_dir():
        return []
    files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in _MASK_SUFFIXES and p.is_file()]
    return [p for p in files if (p.stem == start if exact else p.stem.startswith(start))]


def _numbered_masks(folder: Path) -> list[Reference]:
    """Return the masks ``mask_NNN.*`` of a folder with NNN as view number."""
    masks = _find_masks(folder, "mask_", exact=False)
    return [Reference(int(p.stem[5:]), p) for p in masks if p.stem[5:].isdecimal()]


def run_batch(
    jobs: Sequence[Job],
    work: Callable[[Job], str],
    made_of: Callable[[Job], dict[str, Any]] | None = None,
    notify: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Run all jobs. A failing job does not stop the others.

    Parameters
    ----------
    jobs : sequence of Job
    work : callable
        Runs a job and returns its summary.
    made_of : callable, optional
        Returns the provenance of a job. If given, finished results with equal provenance are kept.
    notify : callable, optional
        Called with every outcome.

    Returns
    -------
    list of Outcome
        In the order of `jobs`.

    Raises
    ------
    ConfigError, UnknownPlugin
        A setting is invalid for every mesh.
    """
    outcomes = []
    for job in jobs:
        outcome = _run_job(job, work, made_of)
        outcomes.append(outcome)
        if notify:
            notify(outcome)
    return outcomes


def _run_job(job: Job, work: Callable[[Job], str], made_of: Callable[[Job], dict[str, Any]] | None) -> Outcome:
    """Run a job unless finished results with equal provenance exist, and turn errors into an outcome."""
    try:
        reason = results_stale_reason(job.out, made_of(job)) if made_of else ""
        if made_of and not reason:
            return Outcome(job.name, "kept", "finished before, nothing changed")
        summary = work(job)
        return Outcome(job.name, "done", f"{summary}; made again: {reason}" if reason not in {"", NEW} else summary)
    except (ConfigError, UnknownPlugin):
        raise
    except SlimeError as error:
        return Outcome(job.name, "failed", " ".join(str(error).split()))
    except MemoryError:
        return Outcome(job.name, "failed", "out of memory; decimate the mesh or free memory", bad_input=False)
    except Exception as error:  # noqa: BLE001 # the remaining meshes must still run
        text = f"unexpected {type(error).__name__}: {' '.join(str(error).split())} (--debug shows where)"
        return Outcome(job.name, "failed", text, bad_input=False, trace=traceback.format_exc())


def write_summary(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write ``batch.json`` with the outcome of every mesh."""
    counts = {s: sum(o.status == s for o in outcomes) for s in ("done", "kept", "failed")}
    meshes = [{"name": o.name, "status": o.status, "message": o.message} for o in outcomes]
    write_json(path, {**counts, "meshes": meshes})
