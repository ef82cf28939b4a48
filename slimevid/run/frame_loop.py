"""The frames of a run, one after the other: labelled, written, and every few of them a snapshot."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slimecore.errors import InputError, OutputError
from slimecore.imaging.overlay import overlay
from slimecore.io.masks import write_mask
from slimecore.types import Parts
from slimevid.frame.labels import FrameResult
from slimevid.io import Clip
from slimevid.io.writers import OverlayWriter, ScoreWriter, write_soft
from slimevid.run.checkpoint import CheckpointFile, RunPosition
from slimevid.run.frame_checksums import FrameLog
from slimevid.run.manifest import RunManifest
from slimevid.session.passes import ReferenceInterval
from slimevid.session.segmenter import Segmenter

__all__ = ["FrameLoop", "score_rows"]


@dataclass(slots=True, eq=False)
class FrameLoop:
    """One run of a clip through a session.

    Parameters
    ----------
    out : Path
        Result folder; its ``masks`` exists.
    clip : Clip
    frames : range
        Those to label.
    gaps : sequence of Gap
        All of the plan; those the ledger calls done are left alone.
    ledger : Ledger
    session : Segmenter
        Its references are set.
    soft : bool
        Write soft labels too.
    changed : bool
        The clip's files are others than when a snapshot was taken: frames that were read, and not yet labelled, may
        have decided those before them.
    told : callable(done, total)
        After every frame.
    """

    out: Path
    clip: Clip
    frames: range
    gaps: Sequence[ReferenceInterval]
    ledger: RunManifest
    session: Segmenter
    soft: bool
    changed: bool
    told: Callable[[int, int], None]
    computed: int = 0
    done: int = 0
    processor_s: float = 0.0

    def run(self, snapshots: CheckpointFile) -> bool:
        """Label what is not done.

        Returns
        -------
        bool
            Whether the overlay was drawn on the way: only where frames come in order and from the first.

        Raises
        ------
        InputError, OutputError
            A frame cannot be read, or a place not written; the message names the frame, what is written is kept.
        """
        started = time.process_time()
        open_gaps = [i for i, gap in enumerate(self.gaps) if self.ledger.interval_key(gap) not in self.ledger.done]
        self.done = sum(len(self.gaps[i].frames()) for i in range(len(self.gaps)) if i not in open_gaps)
        found = snapshots.load(self.ledger.key)
        if found is not None and (found[0].gap not in open_gaps or not self._all_there(found[0])):
            found = None
        whole = found is None and not self.done and self._in_order()
        keep = 0 if whole else self.ledger.scores if found is None else found[0].scores
        with ExitStack() as stack:
            scores = stack.enter_context(ScoreWriter(self.out / "scores.csv", keep))
            log = stack.enter_context(FrameLog(self.out))
            video = self._video(stack) if whole else None
            for number in open_gaps:
                at = self._resumed(found, number)
                for step in range(at.step, len(self.gaps[number].passes)):
                    self._pass(at, scores, log, snapshots, video)
                    at = RunPosition(at.key, number, step + 1, 0, 0)
                self.ledger.done.add(self.ledger.interval_key(self.gaps[number]))
                self.ledger.scores = scores.size
                self.ledger.save()
        self.processor_s = time.process_time() - started
        return whole

    def _all_there(self, place: RunPosition) -> bool:
        stems = self.clip.stems()
        return all((self.out / "masks" / f"{stems[i]}.png").is_file() for i in place.frames(self.gaps[place.gap]))

    def _in_order(self) -> bool:
        passes = [one for gap in self.gaps for one in gap.passes]
        return len(passes) == 1 and passes[0].frames == self.frames

    def _video(self, stack: ExitStack) -> OverlayWriter:
        rate = self.clip.fps / self.frames.step
        return stack.enter_context(OverlayWriter(self.out / "overlay.mp4", self.clip.size, rate))

    def _resumed(self, found: tuple[RunPosition, dict[str, Any]] | None, number: int) -> RunPosition:
        """Where to go on in a gap; the session is brought there."""
        if found is None or found[0].gap != number:
            return RunPosition(self.ledger.key, number, 0, 0, 0)
        place, state = found
        if self.changed and place.done:
            done = self.gaps[number].passes[place.step].last_complete_span(place.done, self.session.span)
            place = replace(place, done=done)
        self.session.restore(state)
        before = self.gaps[number].passes[: place.step]
        self.done += sum(len(one.frames) for one in before) + place.done
        return place

    def _pass(
        self,
        at: RunPosition,
        scores: ScoreWriter,
        log: FrameLog,
        snapshots: CheckpointFile,
        video: OverlayWriter | None,
    ) -> None:
        one = self.gaps[at.gap].passes[at.step]
        done, whole = at.done, True  # whole: what is written is what the session has seen
        try:
            for result in self.session.run_pass(self.clip, one, at.done):
                whole = False
                self._write(result, scores, log, video)
                done, whole = done + 1, True
                self.computed += 1
                self.done += 1
                self.told(self.done, len(self.frames))
                if done < len(one.frames) and snapshots.due():
                    snapshots.save(RunPosition(at.key, at.gap, at.step, done, scores.size), self.session.snapshot())
        except (InputError, OutputError) as error:
            if whole and done:
                with suppress(OutputError, OSError):  # the disk may be full
                    snapshots.save(RunPosition(at.key, at.gap, at.step, done, scores.size), self.session.snapshot())
            raise self._stopped(error, one.frames[min(done, len(one.frames) - 1)]) from error

    def _stopped(self, error: InputError | OutputError, frame: int) -> InputError | OutputError:
        where = "" if re.search(r"(^|: )frame \d+\b", str(error)) else f"frame {frame}: "
        kept = f"{self.done} of {len(self.frames)} frames are done and kept; mend it and run again with --resume"
        return type(error)(f"{where}{error}; {kept}")

    def _write(self, result: FrameResult, scores: ScoreWriter, log: FrameLog, video: OverlayWriter | None) -> None:
        name = result.frame.name
        write_mask(self.out / "masks" / f"{name}.png", result.labels)
        if self.soft:
            write_soft(self.out / "soft" / f"{name}.npy", self.session.soft)
        scores.write(score_rows(result, self.session.parts))
        log.note(result.frame.index, result.frame.rgb)
        if video is not None:
            video.write(overlay(result.frame.rgb, result.labels))


def score_rows(result: FrameResult, parts: Parts) -> list[tuple[Any, ...]]:
    """Rows of ``scores.csv``: one a part."""
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
