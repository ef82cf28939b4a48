"""The values that the stages of a run share, and the checks that make them. Nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimecore.config import to_dict
from slimecore.errors import InputError
from slimecore.io.embeddings import load_embeddings, require_model, require_parts
from slimecore.provenance.code_hash import code_hash
from slimecore.provenance.report import versions
from slimecore.runtime.plugins import external_digest
from slimecore.runtime.stage_timer import StageTimer
from slimecore.types import PartEmbeddings, Parts
from slimevid.io import Clip, open_clip
from slimevid.io.writers import file_checksum
from slimevid.references.mask_files import References, read_references
from slimevid.run.checkpoint import CheckpointFile
from slimevid.run.frame_checksums import check_frames
from slimevid.run.manifest import RunManifest, file_digest
from slimevid.run.output_folder import OutputFolder
from slimevid.run.request import Notify, RunRequest
from slimevid.session.passes import ReferenceInterval, plan
from slimevid.session.segmenter import Segmenter

__all__ = ["RunContext", "clip_entry", "prepare_run"]


@dataclass(frozen=True, slots=True, eq=False)
class RunContext:
    """A run whose input is checked.

    Parameters
    ----------
    request : RunRequest
    notify : callable(stage, done, total)
        Called after every step of a stage.
    timer : StageTimer
    folder : OutputFolder
    clip : Clip
    frames : range
        Frames to label.
    references : References
    intervals : tuple of ReferenceInterval
        The clip between references, in order. Intervals that the manifest calls done stay as they are.
    session : Segmenter
        Without references yet.
    manifest : RunManifest
        Resumed from the folder if the request says so.
    checkpoint : CheckpointFile
    is_fresh : bool
        The run starts over or for the first time.
    clip_changed : bool
        The clip's files differ from those of the earlier run. A snapshot may rest on frames that were read ahead and
        have changed since.
    """

    request: RunRequest
    notify: Notify
    timer: StageTimer
    folder: OutputFolder
    clip: Clip
    frames: range
    references: References
    intervals: tuple[ReferenceInterval, ...]
    session: Segmenter
    manifest: RunManifest
    checkpoint: CheckpointFile
    is_fresh: bool
    clip_changed: bool


def prepare_run(request: RunRequest, notify: Notify, timer: StageTimer) -> RunContext:
    """Open the input and check all of it against the options and the result folder.

    Parameters
    ----------
    request : RunRequest
    notify : callable(stage, done, total)
    timer : StageTimer

    Raises
    ------
    SlimeError
        Bad input, model or result folder. Nothing was written.
    """
    folder = OutputFolder(request.out)
    checkpoint = CheckpointFile(folder.checkpoint, scores=folder.scores)
    clip = open_clip(request.clip, leave_out=tuple(ref.path for ref in request.refs))
    frames = request.frames(len(clip))
    embeddings = load_embeddings(request.parts) if request.parts else None
    references = read_references(request.refs, clip, request.names, embeddings)
    folder.check_inputs(request.clip, [ref.path for ref in request.refs])
    folder.check_clip(clip_entry(clip), clip.stems())
    session = _build_session(request, embeddings, references.parts)
    _check_drops(request.drops, references.parts)
    intervals = tuple(plan([item.frame.index for item in references.items], frames))
    identity = _identity(request, clip, frames, session)
    names = dict(zip(references.parts.values, references.parts.names, strict=True))
    manifest = RunManifest(folder.manifest, identity, references.digests(), clip.fingerprint(), names)
    before = None
    if request.resume:
        folder.check_resumable()
        before = manifest.resume(intervals)
    if before is not None:
        if not _scores_are_intact(folder.scores, manifest):  # they cannot be made from the masks
            manifest.discard(intervals)
            manifest.score_bytes = manifest.score_checksum = 0
        manifest.discard(_incomplete_intervals(folder, clip.stems(), intervals, manifest, soft=request.soft))
        manifest.finished = manifest.finished and folder.overlay.is_file()
    clip_changed = before is not None and before.fingerprint != manifest.fingerprint
    if clip_changed:
        check_frames(folder.frame_checksums, clip, _done_frames(intervals, manifest, checkpoint))
    return RunContext(
        request,
        notify,
        timer,
        folder,
        clip,
        frames,
        references,
        intervals,
        session,
        manifest,
        checkpoint,
        is_fresh=before is None,
        clip_changed=clip_changed,
    )


def clip_entry(clip: Clip) -> dict[str, Any]:
    """Return the clip's entry in reports."""
    return {
        "name": clip.name,
        "frames": len(clip),
        "height": clip.size[0],
        "width": clip.size[1],
        "fps": float(clip.fps),
    }


def _build_session(request: RunRequest, embeddings: PartEmbeddings | None, parts: Parts) -> Segmenter:
    session = Segmenter(request.config, embeddings=embeddings)
    if embeddings is not None:
        require_parts(embeddings, parts, str(request.parts))
        if session.backbone is not None:
            require_model(embeddings, session.backbone.name, session.backbone.revision, str(request.parts))
    return session


def _check_drops(drops: tuple[tuple[int, tuple[int, ...]], ...], parts: Parts) -> None:
    known = parts.values[1:]
    for frame, value in ((frame, value) for frame, values in drops for value in values):
        if value not in known:
            raise InputError(
                f"--drop {frame}={value}: there is no part {value}, the masks have {', '.join(map(str, known))}"
            )


def _identity(request: RunRequest, clip: Clip, frames: range, session: Segmenter) -> dict[str, Any]:
    """Return all that decides the masks, except the references and the pixels of the clip."""
    backbone, config = session.backbone, request.config
    return {
        "settings": to_dict(config),
        "model": None if backbone is None else {"revision": backbone.revision, "device": str(backbone.device)},
        "parts_file": None if request.parts is None else file_digest(request.parts),
        "clip": clip_entry(clip),
        "start": frames.start,
        "end": frames.stop,
        "stride": frames.step,
        "soft": request.soft,
        "drops": sorted([frame, value] for frame, values in request.drops for value in values),
        "program": code_hash("slimecore", "slimevid")[:12],
        "plugins": {
            name: digest
            for name in (config.propagator, config.flow, *config.cues)
            if (digest := external_digest(name)) is not None
        },
        "versions": versions("av"),
    }


def _scores_are_intact(path: Path, manifest: RunManifest) -> bool:
    """Say if the scores of the done intervals are as they were written. A killed run may have written more."""
    if not manifest.done:
        return True
    return file_checksum(path, manifest.score_bytes) == manifest.score_checksum and not (
        manifest.finished and path.stat().st_size != manifest.score_bytes
    )


def _incomplete_intervals(
    folder: OutputFolder,
    stems: list[str],
    intervals: tuple[ReferenceInterval, ...],
    manifest: RunManifest,
    *,
    soft: bool,
) -> list[ReferenceInterval]:
    """Return the done intervals that lack a file of a frame."""
    done = [interval for interval in intervals if manifest.is_done(interval)]
    return [interval for interval in done if not all(folder.has_labels(stems[i], soft=soft) for i in interval.frames())]


def _done_frames(
    intervals: tuple[ReferenceInterval, ...], manifest: RunManifest, checkpoint: CheckpointFile
) -> list[int]:
    frames = [i for interval in intervals if manifest.is_done(interval) for i in interval.frames()]
    snapshot = checkpoint.load(manifest.key)
    if snapshot is not None and snapshot[0].interval < len(intervals):
        frames += snapshot[0].frames(intervals[snapshot[0].interval])
    return frames
