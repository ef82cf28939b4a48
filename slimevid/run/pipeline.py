"""``slimevid run``: from a clip and masks to a folder of results."""

from __future__ import annotations

from typing import Any

from slimecore.config import dump_yaml
from slimecore.errors import SlimeError
from slimecore.io.atomic_files import write_text
from slimecore.io.embeddings import load_embeddings, save_embeddings
from slimecore.io.result_folder import lock_folder
from slimecore.runtime.stage_timer import StageTimer
from slimecore.types import PartEmbeddings
from slimevid.refinement.network import RefinementNet, read_completion, write_completion
from slimevid.run.context import RunContext, prepare_run
from slimevid.run.frame_loop import FrameLoop, LoopSummary
from slimevid.run.manifest import file_digest
from slimevid.run.postprocess import note_start, note_stop, read_report, write_exports, write_report
from slimevid.run.request import Notify, RunRequest

__all__ = ["RunRequest", "run_clip"]


def run_clip(request: RunRequest, notify: Notify | None = None) -> dict[str, Any]:
    """Segment a clip and write all results.

    Parameters
    ----------
    request : RunRequest
    notify : callable(stage, done, total), optional
        Called after every step of ``learn``, every frame of ``segment`` and every frame of ``export``.

    Returns
    -------
    dict
        The content of the report.

    Raises
    ------
    SlimeError
        Bad input, model or result folder, or another process writes into the folder. Everything is checked before the
        first file is written. If a later frame turns out to be corrupt, the masks already written stay valid, and
        ``resume`` continues after them.
    """
    with lock_folder(request.out):
        return _run_clip(request, notify or _ignore)


def _run_clip(request: RunRequest, notify: Notify) -> dict[str, Any]:
    timer = StageTimer()
    with timer.stage("load"):
        context = prepare_run(request, notify, timer)
    if context.manifest.finished:  # only further exports can be missing
        content = read_report(context.folder.report)
        write_exports(context, overlay_written=True)
        return {**content, "labelled": {**content["labelled"], "by_this_run": 0}}
    with timer.stage("learn"):
        _prepare_folder(context)
    try:
        summary = _label_frames(context)
        with timer.stage("export"):
            write_exports(context, overlay_written=summary.overlay_written)
    except SlimeError as error:
        note_stop(context, error)
        raise
    content = write_report(context, summary)
    context.checkpoint.remove()
    context.manifest.finished = True
    context.manifest.save()
    return content


def _ignore(_stage: str, _done: int, _total: int) -> None:
    """Report no progress."""


def _prepare_folder(context: RunContext) -> None:
    """Create the result folder and delete stale files in it.

    The manifest is written before anything is deleted. From then on it says which masks are done, so a run that is
    killed at any later moment can be resumed. Masks and cut-outs are deleted only in a folder that has a manifest.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    folder, manifest = context.folder, context.manifest
    folder.create()
    has_manifest = folder.manifest.is_file()  # else the files in the folder are the user's
    is_begun = not context.is_fresh and context.checkpoint.load(manifest.key) is not None
    if not is_begun:  # a snapshot of other references would be resumed once these references are withdrawn
        context.checkpoint.remove()
    manifest.save()
    folder.create_label_folders(soft=context.request.soft)
    stems = context.clip.stems()
    if context.is_fresh:
        folder.remove_clip_files()
    pending = [i for interval in context.intervals if not manifest.is_done(interval) for i in interval.frames()]
    if has_manifest and not manifest.done and not is_begun:
        folder.remove_frame_files(stems)
    elif pending:
        folder.remove_exports([stems[i] for i in pending] if has_manifest else [])
    folder.remove_partial_files()
    write_text(folder.settings, dump_yaml(context.request.config))
    note_start(context)


def _label_frames(context: RunContext) -> LoopSummary:
    """Learn the parts and label the frames that are not done."""
    manifest = context.manifest
    if all(manifest.is_done(interval) for interval in context.intervals if interval.passes):
        return LoopSummary()
    with context.timer.stage("learn"):
        _learn(context)
    with context.timer.stage("segment"):
        return FrameLoop(context).run()


def _learn(context: RunContext) -> None:
    """Give the session its references, and save the learned parts and the adapted network.

    Files of an earlier run are loaded instead of learned again if the manifest holds their digest.
    """
    folder, manifest, session = context.folder, context.manifest, context.session
    embeddings: PartEmbeddings | None = None
    if manifest.embeddings_digest is not None and manifest.embeddings_digest == file_digest(folder.embeddings):
        embeddings = load_embeddings(folder.embeddings)
    network: RefinementNet | None = None
    if manifest.network_digest is not None and manifest.network_digest == file_digest(folder.adapted_network):
        network = read_completion(folder.adapted_network)

    def progress(step: int, steps: int, _loss: float) -> None:
        context.notify("learn", step, steps)

    session.set_references(context.references.items, progress, embeddings, network)
    for frame, values in context.request.drops:
        for value in values:
            session.drop(value, frame)
    if session.embeddings is not None:
        save_embeddings(folder.embeddings, session.embeddings)
    manifest.embeddings_digest, manifest.network_digest = file_digest(folder.embeddings), None
    if session.adapted is not None:
        write_completion(folder.adapted_network, session.adapted)
        manifest.network_digest = file_digest(folder.adapted_network)
    manifest.save()
