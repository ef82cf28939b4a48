"""What is made once all masks are written: scores in order, the overlay, exports, the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from slimecore.config import to_dict
from slimecore.errors import OutputError, SlimeError
from slimecore.io.atomic_files import write_json
from slimecore.provenance.report import model_entry, parts_entry, peak_memory_mb, versions
from slimecore.runtime import plugins
from slimevid.exports import Results
from slimevid.exports import overlay as overlay_export
from slimevid.io import Clip
from slimevid.io.writers import sort_scores
from slimevid.references.mask_files import References
from slimevid.run.manifest import RunManifest
from slimevid.run.request import RunRequest, clip_entry
from slimevid.session.passes import ReferenceInterval
from slimevid.session.segmenter import Segmenter

__all__ = ["note_stop", "read_report", "write_exports", "write_report"]


def write_exports(request: RunRequest, results: Results, ledger: RunManifest, *, drawn: bool) -> None:
    """Make what rests on complete masks.

    Parameters
    ----------
    drawn : bool
        The overlay is there, and the scores came in order.
    """
    if not drawn:
        scores = request.out / "scores.csv"
        sort_scores(scores)
        ledger.scores = scores.stat().st_size
        ledger.save()
        overlay_export.write(results)
    for name in request.exports:
        plugins.load("slimevid.exports", name).write(results)


def write_report(
    request: RunRequest,
    results: Results,
    references: References,
    session: Segmenter,
    ledger: RunManifest,
    gaps: Sequence[ReferenceInterval],
    clock: Sequence[float],
    labelled: tuple[int, float],
) -> dict[str, Any]:
    """Write ``report.json`` and give its content; `labelled` are the frames of this run and their processor seconds."""
    computed, processor_s = labelled
    backbone = session.backbone
    started, loaded, learned, segmented, finished = clock
    again = [i for gap in gaps if ledger.interval_key(gap) not in ledger.unchanged for i in gap.frames()]
    content = {
        "status": "done",
        "clip": clip_entry(results.clip),
        "frames": {"start": results.frames.start, "end": results.frames.stop, "stride": results.frames.step},
        "references": [{"mask": ref.path.name, "frame": ref.frame} for ref in request.refs],
        "notes": [*results.clip.notes, *references.notes, *_outside_range_notes(references, results.frames)],
        "labelled": {"frames": len(results.frames), "by_this_run": computed, "since_the_last_change": len(again)},
        "parts_file": None if request.parts is None else request.parts.name,
        "parts": parts_entry(references.parts),
        "model": None if backbone is None else model_entry(backbone),
        "settings": to_dict(request.config),
        "seed": request.config.seed,
        "versions": versions("av"),
        "memory_bytes": session.memory_bytes,
        "peak_memory_mb": peak_memory_mb(),
        "timings_s": {
            "load": round(loaded - started, 3),
            "learn": round(learned - loaded, 3),
            "segment": round(segmented - learned, 3),
            "export": round(finished - segmented, 3),
            "total": round(finished - started, 3),
        },
        "processor_ms_a_frame": round(1000 * processor_s / computed, 1) if computed else None,
        "fps": round(computed / max(segmented - learned, 1e-9), 3) if computed else None,
    }
    write_json(request.out / "report.json", content)
    return content


def _outside_range_notes(references: References, frames: range) -> list[str]:
    """Notes on references beside the frames that were labelled."""
    found = [item.frame.index for item in references.items]
    return [
        f"reference frame {i} lies outside the frames to label; its neighbours among them were labelled from it at once"
        for i in found
        if not frames[0] <= i <= frames[-1]
    ]


def read_report(out: Path) -> dict[str, Any]:
    """The report of a run that is done.

    Raises
    ------
    OutputError
        It is gone or damaged.
    """
    path = out / "report.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise OutputError(f"{path}: gone or damaged; run without --resume to start over") from error


def note_stop(out: Path, clip: Clip, error: SlimeError) -> None:
    """Say in the report why the run stopped; the disk may be full, so it may go unsaid."""
    with suppress(OutputError):
        write_json(out / "report.json", {"status": "stopped", "clip": clip_entry(clip), "why": str(error)})
