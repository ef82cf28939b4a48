"""Report scores: the official CSV files, per-frame CSV, JSON, and tables for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slimecore.errors import ConfigError
from slimecore.io.atomic_files import make_folder, write_json, write_text
from slimevid.evaluation.comparison import Comparison, Interval
from slimevid.evaluation.protocol import Evaluation, ObjectScore, statistic, summarize

__all__ = [
    "as_json",
    "comparison_table",
    "require_folder",
    "scope",
    "score_table",
    "table",
    "unique_labels",
    "write_csv",
    "write_report",
]

GLOBAL = ("J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")


def unique_labels(folders: Sequence[Path]) -> list[str]:
    """Return the last component of each path, or the full path if last components repeat."""
    short = [folder.resolve().name for folder in folders]
    return [str(f) if short.count(s) > 1 else s for f, s in zip(folders, short, strict=True)]


def _global_values(evaluation: Evaluation) -> tuple[float, ...]:
    s = evaluation.summary
    return (s.jf, s.j.mean, s.j.recall, s.j.decay, s.f.mean, s.f.recall, s.f.decay)


def write_csv(folder: Path, label: str, evaluation: Evaluation) -> list[Path]:
    """Write the three CSV files of an evaluation.

    With the label ``val`` they are ``global_results-val.csv`` and ``per-sequence_results-val.csv``, with columns and
    decimals of the official tool, and ``per-frame_results-val.csv``.

    Parameters
    ----------
    folder : Path
    label : str
        Label of the data set, for instance its split.
    evaluation : Evaluation

    Returns
    -------
    list of Path
        The written files.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    make_folder(folder)
    objects = evaluation.objects
    strict = objects[0].strict is not None
    tables: dict[str, list[Sequence[Any]]] = {
        "global": [GLOBAL, [f"{v:.3f}" for v in _global_values(evaluation)]],
        "per-sequence": [
            ("Sequence", "J-Mean", "F-Mean"),
            *((o.name, f"{o.j.mean():.3f}", f"{o.f.mean():.3f}") for o in objects),
        ],
        "per-frame": [
            ("Sequence", "Frame", "J", "F", *(["F-strict"] if strict else [])),
            *(row for o in objects for row in _frame_rows(o)),
        ],
    }
    written = []
    for name, rows in tables.items():
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        path = folder / f"{name}_results-{label}.csv"
        write_text(path, text.getvalue())
        written.append(path)
    return written


def _frame_rows(score: ObjectScore) -> Iterable[Sequence[str]]:
    columns = [score.j, score.f, *([] if score.strict is None else [score.strict])]
    for i, frame in enumerate(score.frames):
        yield [score.name, frame, *(f"{column[i]:.12g}" for column in columns)]


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return all scores as plain values for JSON: 0..1, in full precision."""
    sequences = {}
    for sequence in evaluation.sequences:
        s = summarize(sequence.objects)
        sequences[sequence.name] = {
            "J&F": s.jf,
            "J": asdict(s.j),
            "F": asdict(s.f),
            "notes": list(sequence.notes),
            "objects": {str(o.object): _object(o) for o in sequence.objects},
        }
    s = evaluation.summary
    return {
        "label": evaluation.label,
        "protocol": asdict(evaluation.protocol),
        "objects": s.objects,
        "frames": s.frames,
        "J&F": s.jf,
        "J": asdict(s.j),
        "F": asdict(s.f),
        **({} if s.strict is None else {"F-strict": asdict(s.strict)}),
        "sequences": sequences,
    }


def _object(score: ObjectScore) -> dict[str, Any]:
    curves = {"J": score.j, "F": score.f, **({} if score.strict is None else {"F-strict": score.strict})}
    return {
        **{name: asdict(statistic(curve)) for name, curve in curves.items()},
        "frames": {
            "name": list(score.frames),
            **{name: [float(v) for v in curve] for name, curve in curves.items()},
        },
    }


def require_folder(path: Path) -> None:
    """Check before the work starts that a file can be written.

    Raises
    ------
    ConfigError
        The file's folder does not exist.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"--json {path}: no such folder {path.parent}; create it first")


def write_report(path: Path, evaluations: Sequence[Evaluation], rows: Sequence[Comparison]) -> None:
    """Write evaluations and their comparison as a JSON file.

    Parameters
    ----------
    path : Path
    evaluations : sequence of Evaluation
    rows : sequence of Comparison
        Written only if more than a single folder was evaluated.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    comparison = [asdict(row) for row in rows] if len(rows) > 1 else []
    write_json(path, {"schema": 1, "results": [as_json(e) for e in evaluations], "comparison": comparison})


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format rows as aligned text: the first column left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def score_table(evaluation: Evaluation) -> str:
    """Format scores in per cent, with a row per object and the mean over objects."""
    strict = evaluation.protocol.strict
    head = ["per cent", "frames", "J&F", "J", "recall", "decay", "F", "recall", "decay"]
    head += [] if strict is None else [f"F at {strict} px"]
    multiple_objects = any(len(s.objects) > 1 for s in evaluation.sequences)
    rows = []
    for name, objects in (
        *((o.name if multiple_objects else o.sequence, [o]) for o in evaluation.objects),
        ("mean", evaluation.objects),
    ):
        s = summarize(objects)
        values = [s.jf, s.j.mean, s.j.recall, s.j.decay, s.f.mean, s.f.recall, s.f.decay]
        values += [] if s.strict is None else [s.strict.mean]
        rows.append([name, str(s.frames), *(f"{100 * v:.1f}" for v in values)])
    return table(head, rows)


def scope(evaluation: Evaluation, label: str) -> str:
    """Describe the scored set in a line: split, task, and numbers of sequences, objects and frames."""
    p, s = evaluation.protocol, evaluation.summary
    rule = {
        "inner": "first and last frame not scored",
        "all": "all frames",
        "later": "frames after each object's first",
    }
    return (
        f"{label}, {p.task}: {len(evaluation.sequences)} sequences, {s.objects} objects, {s.frames} frames "
        f"({rule[p.frames]})"
    )


def comparison_table(rows: Sequence[Comparison], evaluations: Sequence[Evaluation]) -> str:
    """Format a comparison in per cent, with a row per result folder."""
    strict = evaluations[0].protocol.strict
    head = ["per cent", "J&F", "95 %", "J", "F", *([] if strict is None else [f"F at {strict} px"])]
    head += ["to the first", "95 %"]
    lines = []
    for row, evaluation in zip(rows, evaluations, strict=True):
        s, d = evaluation.summary, row.difference
        difference = ["", ""] if d is None else [f"{100 * d.value:+.1f}", _format_interval(d, "+.1f")]
        jf, j, f = (f"{100 * v:.1f}" for v in (row.jf.value, s.j.mean, s.f.mean))
        sharp = [] if s.strict is None else [f"{100 * s.strict.mean:.1f}"]
        lines.append([row.label, jf, _format_interval(row.jf, ".1f"), j, f, *sharp, *difference])
    return table(head, lines)


def _format_interval(interval: Interval, form: str) -> str:
    if interval.low is None or interval.high is None:
        return "one sequence"
    return f"{100 * interval.low:{form}} .. {100 * interval.high:{form}}"
