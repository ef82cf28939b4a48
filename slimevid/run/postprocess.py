"""Work on complete masks: scores in the clip's order, overlay, exports, report."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from slimecore.config import to_dict
from slimecore.errors import OutputError, SlimeError
from slimecore.io.atomic_files import write_json
from slimecore.provenance.report import model_entry, parts_entry, peak_memory_mb, versions
from slimecore.runtime import plugins
from slimecore.user_files import read_json
from slimevid.exports import Results
from slimevid.exports import overlay as overlay_export
from slimevid.io.writers import file_checksum, sort_scores
from slimevid.references.mask_files import References
from slimevid.run.context import RunContext, clip_entry
from slimevid.run.frame_loop import LoopSummary

__all__ = ["note_start", "note_stop", "read_report", "write_exports", "write_report"]

_STAGES = ("load", "learn", "segment", "export")


def write_exports(context: RunContext, *, overlay_written: bool) -> None:
    """Sort the scores, draw the overlay, and write the exports of the request.

    Parameters
    ----------
    context : RunContext
        All masks are written.
    overlay_written : bool
        The overlay exists, and the scores are in the clip's order.
    """
    if not overlay_written:
        scores = context.folder.scores
        sort_scores(scores)
        size = scores.stat().st_size
        context.manifest.score_bytes, context.manifest.score_checksum = size, file_checksum(scores, size) or 0
        context.manifest.save()
        overlay_export.write(_results(context, context.folder.overlay))
    for kind in context.request.exports:
        plugins.load("slimevid.exports", kind, "write").write(_results(context, context.folder.export(kind)))


def _results(context: RunContext, target: Path) -> Results:
    def on_frame(done: int, total: int) -> None:
        context.notify("export", done, total)

    return Results(context.folder.masks, target, context.clip, context.frames, context.references.parts, on_frame)


def write_report(context: RunContext, summary: LoopSummary) -> dict[str, Any]:
    """Write the report of a run that is done, and return its content.

    Parameters
    ----------
    context : RunContext
    summary : LoopSummary
        Frames of this process and their processor time.
    """
    request, session, frames, parts = context.request, context.session, context.frames, context.references.parts
    relabelled = [
        i for interval in context.intervals if not context.manifest.is_unchanged(interval) for i in interval.frames()
    ]
    notes = [*context.clip.notes, *context.references.notes, *_outside_range_notes(context.references, frames)]
    count, seconds = summary.frames, context.timer.seconds
    content = {
        "status": "done",
        "clip": clip_entry(context.clip),
        "frames": {"start": frames.start, "end": frames.stop, "stride": frames.step},
        "references": [{"mask": ref.path.name, "frame": ref.frame} for ref in request.refs],
        "notes": notes,
        "labelled": {"frames": len(frames), "by_this_run": count, "since_the_last_change": len(relabelled)},
        "parts_file": None if request.parts is None else request.parts.name,
        "parts": parts_entry(parts),
        "model": None if session.backbone is None else model_entry(session.backbone),
        "settings": to_dict(request.config),
        "seed": request.config.seed,
        "versions": versions("av"),
        "memory_bytes": session.memory_bytes,
        "peak_memory_mb": peak_memory_mb(),
        "timings_s": {
            **{stage: round(seconds.get(stage, 0.0), 3) for stage in _STAGES},
            "total": round(sum(seconds.values()), 3),
        },
        "processor_ms_a_frame": round(1000 * summary.processor_seconds / count, 1) if count else None,
        "fps": round(count / max(seconds["segment"], 1e-9), 3) if count else None,
    }
    write_json(context.folder.report, content)
    return content


def _outside_range_notes(references: References, frames: range) -> list[str]:
    """Return a note for every reference outside the range of labelled frames."""
    return [
        f"reference frame {i} lies outside the frames to label; its neighbours among them were labelled from it at once"
        for i in (item.frame.index for item in references.items)
        if not frames[0] <= i <= frames[-1]
    ]


def read_report(path: Path) -> dict[str, Any]:
    """Return the report of a run that is done.

    Raises
    ------
    OutputError
        The file is missing or damaged.
    """
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise OutputError(f"{path}: gone or damaged; run without --resume to start over") from error


def note_start(context: RunContext) -> None:
    """Write a report that says that the run is in progress."""
    write_json(context.folder.report, {"status": "running", "clip": clip_entry(context.clip)})


def note_stop(context: RunContext, error: SlimeError) -> None:
    """Write a report that says why the run stopped, if the disk has room for it."""
    with suppress(OutputError):
        entry = clip_entry(context.clip)
        write_json(context.folder.report, {"status": "stopped", "clip": entry, "why": str(error)})
