"""``slimevid run``: from a clip and masks to a folder of results."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from slimecore.config import to_dict
from slimecore.errors import InputError, SlimeError
from slimecore.io.embeddings import load_embeddings, require_model, require_parts, save_embeddings
from slimecore.provenance.code_hash import code_hash
from slimecore.provenance.report import versions
from slimecore.types import PartEmbeddings
from slimevid.exports import Results
from slimevid.io import Clip, open_clip
from slimevid.references.mask_files import References, read_references
from slimevid.refinement.network import RefinementNet, read_completion, write_completion
from slimevid.run.checkpoint import CheckpointFile
from slimevid.run.frame_checksums import check_frames
from slimevid.run.frame_loop import FrameLoop
from slimevid.run.manifest import RunManifest, file_digest
from slimevid.run.output_folder import missing_results, prepare_output_folder
from slimevid.run.postprocess import note_stop, read_report, write_exports, write_report
from slimevid.run.request import Notify, RunRequest, check_output_folder, clip_entry, frame_range
from slimevid.session.passes import ReferenceInterval, plan
from slimevid.session.segmenter import Segmenter

__all__ = ["RunRequest", "run_clip"]


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """Everything checked, nothing written."""

    clip: Clip
    frames: range
    references: References
    session: Segmenter
    gaps: list[ReferenceInterval]
    ledger: RunManifest
    fresh: bool
    changed: bool


def run_clip(request: RunRequest, notify: Notify | None = None) -> dict[str, Any]:
    """Segment a clip and write everything.

    Parameters
    ----------
    request : RunRequest
    notify : callable(stage, done, total), optional
        Told after every step of ``learn``, every frame of ``segment`` and of ``export``.

    Returns
    -------
    dict
        What the run did, as written in ``report.json``.

    Raises
    ------
    SlimeError
        Bad input, model or output place. Everything is checked before the first file is written; masks already written
        stay valid when a later frame turns out to be corrupt, and ``resume`` goes on there.
    """
    clock = [time.perf_counter()]
    tell = notify or (lambda _stage, _done, _total: None)
    snapshots = CheckpointFile(request.out)
    job = _prepare(request, snapshots)
    results = Results(request.out, job.clip, job.frames, job.references.parts, lambda i, n: tell("export", i, n))
    if job.ledger.finished:  # nothing but further exports can be asked
        content = read_report(request.out)
        write_exports(request, results, job.ledger, drawn=True)
        return {**content, "labelled": {**content["labelled"], "by_this_run": 0}}
    clock.append(time.perf_counter())
    prepare_output_folder(request, job.clip, job.gaps, job.ledger, snapshots, fresh=job.fresh)
    try:
        drawn, computed, processor_s = _segment(request, job, snapshots, tell, clock)
        write_exports(request, results, job.ledger, drawn=drawn)
    except SlimeError as error:
        note_stop(request.out, job.clip, error)
        raise
    clock.append(time.perf_counter())
    content = write_report(
        request, results, job.references, job.session, job.ledger, job.gaps, clock, (computed, processor_s)
    )
    snapshots.remove()
    job.ledger.finished = True
    job.ledger.save()
    return content


def _segment(
    request: RunRequest, job: _Prepared, snapshots: CheckpointFile, tell: Notify, clock: list[float]
) -> tuple[bool, int, float]:
    """Learn, and label what is not done; whether the overlay is drawn, frames labelled, their processor seconds."""
    if not any(gap.passes and job.ledger.interval_key(gap) not in job.ledger.done for gap in job.gaps):
        clock += [time.perf_counter()] * 2
        return False, 0, 0.0
    _load_or_learn(request, job, tell)
    clock.append(time.perf_counter())

    def told(done: int, total: int) -> None:
        tell("segment", done, total)

    work = (job.clip, job.frames, job.gaps, job.ledger, job.session)
    execution = FrameLoop(request.out, *work, request.soft, job.changed, told)
    drawn = execution.run(snapshots)
    clock.append(time.perf_counter())
    return drawn, execution.computed, execution.processor_s


def _prepare(request: RunRequest, snapshots: CheckpointFile) -> _Prepared:
    clip = open_clip(request.clip, leave_out=tuple(ref.path for ref in request.refs))
    frames = frame_range(request, clip)
    given = load_embeddings(request.parts) if request.parts else None
    references = read_references(request.refs, clip, request.names, given)
    check_output_folder(request, clip)
    session = Segmenter(request.config, embeddings=given)
    if given is not None:
        require_parts(given, references.parts, str(request.parts))
        if session.backbone is not None:
            require_model(given, session.backbone.name, session.backbone.revision, str(request.parts))
    for frame, values in request.drops:
        for value in values:
            _check_drop(frame, value, references)
    gaps = plan([item.frame.index for item in references.items], frames)
    identity = _identity(request, clip, frames, session)
    names = dict(zip(references.parts.values, references.parts.names, strict=True))
    ledger = RunManifest(request.out, identity, references.digests(), clip.fingerprint(), names)
    before = ledger.resume(gaps) if request.resume else None
    if before is not None:
        ledger.discard(missing_results(request, clip, gaps, ledger))
        ledger.finished = ledger.finished and (request.out / "overlay.mp4").is_file()
    changed = before is not None and before.fingerprint != ledger.fingerprint
    if changed:
        check_frames(request.out, clip, _done_frames(gaps, ledger, snapshots))
    return _Prepared(clip, frames, references, session, gaps, ledger, fresh=before is None, changed=changed)


def _check_drop(frame: int, value: int, references: References) -> None:
    values = references.parts.values[1:]
    if value not in values:
        raise InputError(
            f"--drop {frame}={value}: there is no part {value}, the masks have {', '.join(map(str, values))}"
        )


def _identity(request: RunRequest, clip: Clip, frames: range, session: Segmenter) -> dict[str, Any]:
    """All that decides the masks, but for the references and the clip's pictures."""
    backbone = session.backbone
    return {
        "settings": to_dict(request.config),
        "model": None if backbone is None else {"revision": backbone.revision, "device": str(backbone.device)},
        "parts_file": None if request.parts is None else file_digest(request.parts),
        "clip": clip_entry(clip),
        "start": frames.start,
        "end": frames.stop,
        "stride": frames.step,
        "soft": request.soft,
        "drops": sorted([frame, value] for frame, values in request.drops for value in values),
        "program": code_hash("slimecore", "slimevid")[:12],
        "versions": versions("av"),
    }


def _done_frames(gaps: list[ReferenceInterval], ledger: RunManifest, snapshots: CheckpointFile) -> list[int]:
    frames = [i for gap in gaps if ledger.interval_key(gap) in ledger.done for i in gap.frames()]
    found = snapshots.load(ledger.key)
    if found is not None and found[0].gap < len(gaps):
        frames += found[0].frames(gaps[found[0].gap])
    return frames


def _load_or_learn(request: RunRequest, job: _Prepared, tell: Notify) -> None:
    """Give the session its references and learned parts; those learned before a stop are taken up again."""
    path = request.out / "parts.safetensors"
    known: PartEmbeddings | None = None
    if job.ledger.embeddings is not None and job.ledger.embeddings == file_digest(path):
        known = load_embeddings(path)
    network = request.out / "completion.safetensors"
    adapted: RefinementNet | None = None
    if job.ledger.adapted is not None and job.ledger.adapted == file_digest(network):
        adapted = read_completion(network)

    def told(step: int, steps: int, _loss: float) -> None:
        tell("learn", step, steps)

    job.session.set_references(job.references.items, told, known, adapted)
    for frame, values in request.drops:
        for value in values:
            job.session.drop(value, frame)
    if job.session.embeddings is not None:
        save_embeddings(path, job.session.embeddings)
    job.ledger.embeddings, job.ledger.adapted = file_digest(path), None
    if job.session.adapted is not None:
        write_completion(network, job.session.adapted)
        job.ledger.adapted = file_digest(network)
    job.ledger.save()
