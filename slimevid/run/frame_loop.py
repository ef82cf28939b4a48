"""Label the frames of a run and write them, with a snapshot every few frames."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any

from slimecore.errors import InputError, OutputError
from slimecore.imaging.overlay import overlay
from slimecore.io.masks import write_mask
from slimecore.types import Parts
from slimevid.frame.labels import FrameResult
from slimevid.io.writers import OverlayWriter, ScoreWriter, open_overlay, write_soft
from slimevid.run.checkpoint import RunPosition, Snapshot
from slimevid.run.context import RunContext
from slimevid.run.frame_checksums import FrameLog

__all__ = ["FrameLoop", "LoopSummary", "score_rows"]


@dataclass(frozen=True, slots=True)
class LoopSummary:
    """Outcome of a frame loop.

    Parameters
    ----------
    frames : int
        Frames labelled by this process.
    processor_seconds : float
        Processor time spent on them.
    overlay_written : bool
        The overlay was drawn on the way, and the scores are in the clip's order.
    """

    frames: int = 0
    processor_seconds: float = 0.0
    overlay_written: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _OpenFiles:
    """Files of a run that grow with every frame."""

    scores: ScoreWriter
    checksums: FrameLog
    overlay: OverlayWriter | None


class FrameLoop:
    """Label the frames of a run that are not done yet.

    Parameters
    ----------
    context : RunContext
        The session has its references, and the folder of masks exists.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._frames_labelled = self._frames_done = 0

    def run(self) -> LoopSummary:
        """Label and write the frames.

        Raises
        ------
        InputError, OutputError
            A frame cannot be read, or a file not written. The message names the frame. Everything written is kept.
        """
        started = time.process_time()
        context, manifest = self._context, self._context.manifest
        pending = [i for i, interval in enumerate(context.intervals) if not manifest.is_done(interval)]
        self._frames_done = sum(len(interval.frames()) for interval in context.intervals if manifest.is_done(interval))
        snapshot = self._load_snapshot(pending)
        draws_overlay = snapshot is None and not self._frames_done and self._is_one_pass_in_order()
        kept = manifest.score_bytes if snapshot is None else snapshot[0].score_bytes
        with ExitStack() as stack:
            files = self._open_files(stack, 0 if draws_overlay else kept, draws_overlay=draws_overlay)
            for index in pending:
                interval = context.intervals[index]
                position = self._first_position(snapshot, index)
                for step in range(position.step, len(interval.passes)):
                    self._run_pass(position, files)
                    position = RunPosition(position.key, index, step + 1, 0, 0, 0)
                manifest.done.add(manifest.interval_key(interval))
                manifest.score_bytes, manifest.score_checksum = files.scores.size, files.scores.checksum
                manifest.save()
        return LoopSummary(self._frames_labelled, time.process_time() - started, draws_overlay)

    def _load_snapshot(self, pending: list[int]) -> Snapshot | None:
        """Return the newest snapshot if it lies in a pending interval and its masks exist."""
        context = self._context
        snapshot = context.checkpoint.load(context.manifest.key)
        if snapshot is None or snapshot[0].interval not in pending:
            return None
        stems = context.clip.stems()
        written = snapshot[0].frames(context.intervals[snapshot[0].interval])
        return snapshot if all(context.folder.mask(stems[i]).is_file() for i in written) else None

    def _is_one_pass_in_order(self) -> bool:
        passes = [single_pass for interval in self._context.intervals for single_pass in interval.passes]
        return len(passes) == 1 and passes[0].frames == self._context.frames

    def _open_files(self, stack: ExitStack, kept_score_bytes: int, *, draws_overlay: bool) -> _OpenFiles:
        context = self._context
        scores = stack.enter_context(ScoreWriter(context.folder.scores, kept_score_bytes))
        checksums = stack.enter_context(FrameLog(context.folder.frame_checksums))
        video = None
        if draws_overlay:
            video = stack.enter_context(open_overlay(context.folder.overlay, context.clip, context.frames.step))
        return _OpenFiles(scores, checksums, video)

    def _first_position(self, snapshot: Snapshot | None, index: int) -> RunPosition:
        """Return the position to start interval `index` from, and bring the session to it."""
        context = self._context
        if snapshot is None or snapshot[0].interval != index:
            return RunPosition(context.manifest.key, index, 0, 0, 0, 0)
        position, state = snapshot
        passes = context.intervals[index].passes
        if context.clip_changed and position.done:
            done = passes[position.step].last_complete_span(position.done, context.session.span)
            position = replace(position, done=done)
        context.session.restore(state)
        self._frames_done += sum(len(completed.frames) for completed in passes[: position.step]) + position.done
        return position

    def _run_pass(self, position: RunPosition, files: _OpenFiles) -> None:
        context = self._context
        current_pass = context.intervals[position.interval].passes[position.step]
        frames, done = current_pass.frames, position.done
        is_consistent = True  # the files hold exactly the frames that the session has labelled
        try:
            for result in context.session.run_pass(context.clip, current_pass, position.done):
                is_consistent = False
                self._write(result, files)
                done, is_consistent = done + 1, True
                self._frames_labelled += 1
                self._frames_done += 1
                context.notify("segment", self._frames_done, len(context.frames))
                if done < len(frames) and context.checkpoint.due():
                    self._save_snapshot(position, done, files)
        except (InputError, OutputError) as error:
            if is_consistent and done:
                with suppress(OutputError, OSError):  # the disk may be full
                    self._save_snapshot(position, done, files)
            raise self._located(error, frames[min(done, len(frames) - 1)]) from error

    def _save_snapshot(self, position: RunPosition, done: int, files: _OpenFiles) -> None:
        scores = files.scores
        reached = replace(position, done=done, score_bytes=scores.size, score_checksum=scores.checksum)
        self._context.checkpoint.save(reached, self._context.session.snapshot())

    def _located(self, error: InputError | OutputError, frame: int) -> InputError | OutputError:
        """Return the error with the frame's number and the number of frames kept."""
        where = "" if re.search(r"(^|: )frame \d+\b", str(error)) else f"frame {frame}: "
        total = len(self._context.frames)
        kept = f"{self._frames_done} of {total} frames are done and kept; mend it and run again with --resume"
        return type(error)(f"{where}{error}; {kept}")

    def _write(self, result: FrameResult, files: _OpenFiles) -> None:
        context, stem = self._context, result.frame.name
        write_mask(context.folder.mask(stem), result.labels)
        if context.request.soft:
            write_soft(context.folder.soft_labels(stem), context.session.soft)
        files.scores.write(score_rows(result, context.session.parts))
        files.checksums.note(result.frame.index, result.frame.rgb)
        if files.overlay is not None:
            files.overlay.write(overlay(result.frame.rgb, result.labels))


def score_rows(result: FrameResult, parts: Parts) -> list[tuple[Any, ...]]:
    """Return the rows of a frame in the scores table, a row for every part."""
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
