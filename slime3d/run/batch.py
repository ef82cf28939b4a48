"""Many meshes in one go: which files they are, which masks are whose, what is done already, and who failed."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slime3d.io.mesh import MESH_SUFFIXES
from slime3d.labelling.annotated_views import Reference
from slime3d.run.provenance import NEW, stale_reason
from slimecore.errors import ConfigError, InputError, SlimeError, UnknownPlugin
from slimecore.io.atomic_files import write_json
from slimecore.io.images import IMAGE_SUFFIXES, natural_key

__all__ = ["Job", "Outcome", "gather", "masks_of", "run_batch", "write_summary"]

_MASKS = (*IMAGE_SUFFIXES, ".npy")


@dataclass(frozen=True, slots=True)
class Job:
    """A mesh, what it is called, and the folder its results go to."""

    name: str
    path: Path
    out: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended.

    Parameters
    ----------
    name : str
    status : str
        ``done``, ``kept`` (finished before, nothing changed since) or ``failed``.
    message : str
        What was done, why it was made again, or what was wrong.
    bad_input : bool
        It failed for a reason the user can mend; False: an error of this program, or not enough memory.
    trace : str
        Traceback of an error of this program.
    """

    name: str
    status: str
    message: str
    bad_input: bool = True
    trace: str = ""


def gather(given: Sequence[Path], out: Path) -> list[Job]:
    """Jobs of mesh files and folders of them.

    Folders are searched to their bottom, in natural order; what lies in `out` and what a run wrote is left out. A
    mesh of a folder is named by its path inside it, another by its file's name, both without suffix.

    Raises
    ------
    InputError
        A folder without meshes, or two meshes of one name. Files that do not exist are left to fail on their own.
    """
    found: dict[str, Path] = {}
    for path in given:
        for name, file in _meshes(path, out) if path.is_dir() else [(path.stem, path)]:
            if name in found:
                raise InputError(f"{found[name]} and {file} would both write into {out / name}; run them apart")
            found[name] = file
    return [Job(name, file, out / name) for name, file in found.items()]


def _meshes(folder: Path, out: Path) -> list[tuple[str, Path]]:
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
    """Masks of the mesh called `name`.

    Parameters
    ----------
    given : sequence of Reference
        Files, or folders: ``NAME.png`` in one is a mask of the reference's view, ``NAME/mask_005.png`` (for a mesh
        alone ``mask_005.png``) one of view 5. Any kind of mask file.
    alone : bool
        There is one mesh; a file is its mask then.

    Raises
    ------
    InputError
        A file although there are several meshes, or a folder without masks of this one.
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
        own = reference.path / name
        direct = _masks_like(own.parent, own.name, exact=True)
        numbered = _numbered(own) or (_numbered(reference.path) if alone else [])
        if len(direct) > 1:
            raise InputError(f"{direct[0]} and {direct[1]}: which is the mask of {name}?")
        if not direct and not numbered:
            places = f"{name}.png or {'' if alone else name + '/'}mask_000.png"
            raise InputError(f"{reference.path}: no mask of {name}; expected {places} there")
        out += [Reference(reference.view, direct[0])] if direct else numbered
    return out


def _masks_like(folder: Path, start: str, *, exact: bool) -> list[Path]:
    if not folder.is_dir():
        return []
    files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in _MASKS and p.is_file()]
    return [p for p in files if (p.stem == start if exact else p.stem.startswith(start))]


def _numbered(folder: Path) -> list[Reference]:
    masks = _masks_like(folder, "mask_", exact=False)
    return [Reference(int(p.stem[5:]), p) for p in masks if p.stem[5:].isdecimal()]


def run_batch(
    jobs: Sequence[Job],
    work: Callable[[Job], str],
    made_of: Callable[[Job], dict[str, Any]] | None = None,
    notify: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Work through jobs; one that fails does not keep the others from running.

    Parameters
    ----------
    jobs : sequence of Job
    work : callable
        Does a job and returns what to say about it.
    made_of : callable, optional
        What a job is made of; given, jobs whose folder holds finished results of the same are kept as they are.
    notify : callable, optional
        Told every outcome.

    Raises
    ------
    ConfigError, UnknownPlugin
        A setting no mesh could do with.
    """
    outcomes = []
    for job in jobs:
        outcome = _attempt(job, work, made_of)
        outcomes.append(outcome)
        if notify:
            notify(outcome)
    return outcomes


def _attempt(job: Job, work: Callable[[Job], str], made_of: Callable[[Job], dict[str, Any]] | None) -> Outcome:
    try:
        reason = stale_reason(job.out, made_of(job)) if made_of else ""
        if made_of and not reason:
            return Outcome(job.name, "kept", "finished before, nothing changed")
        said = work(job)
        return Outcome(job.name, "done", f"{said}; made again: {reason}" if reason not in {"", NEW} else said)
    except (ConfigError, UnknownPlugin):
        raise
    except SlimeError as error:
        return Outcome(job.name, "failed", " ".join(str(error).split()))
    except MemoryError:
        return Outcome(job.name, "failed", "out of memory; decimate the mesh or free memory", bad_input=False)
    except Exception as error:  # noqa: BLE001 # whatever one mesh does to us, the others are worked on
        text = f"unexpected {type(error).__name__}: {' '.join(str(error).split())} (--debug shows where)"
        return Outcome(job.name, "failed", text, bad_input=False, trace=traceback.format_exc())


def write_summary(path: Path, outcomes: Sequence[Outcome]) -> None:
    """``batch.json``: how every mesh ended."""
    counts = {s: sum(o.status == s for o in outcomes) for s in ("done", "kept", "failed")}
    meshes = [{"name": o.name, "status": o.status, "message": o.message} for o in outcomes]
    write_json(path, {**counts, "meshes": meshes})
