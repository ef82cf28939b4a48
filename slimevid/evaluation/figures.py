"""Draw J and F over time for every sequence, and a summary. Only this module imports matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimecore.errors import ConfigError
from slimecore.io.atomic_files import atomic_path, make_folder
from slimevid.evaluation.protocol import Evaluation, ObjectScore, SequenceScore, summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_figures", "require_matplotlib"]

# Okabe and Ito's colours, which colour-blind readers can distinguish.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MAX_LEGEND_ENTRIES = 12


def require_matplotlib() -> None:
    """Check that figures can be drawn.

    Raises
    ------
    ConfigError
        matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ConfigError("--figures needs matplotlib; install it with: pip install 'slime-toolkit[plot]'")


def draw_figures(folder: Path, evaluations: Sequence[Evaluation]) -> list[Path]:
    """Draw ``<sequence>.png/.svg``, with a curve per object and result folder, and ``summary.png/.svg``.

    Parameters
    ----------
    folder : Path
    evaluations : sequence of Evaluation
        Result folders to draw together, scored on the same ground truth.

    Returns
    -------
    list of Path
        The written files.

    Raises
    ------
    ConfigError
        matplotlib is not installed.
    OutputError
        The folder cannot be written.
    """
    require_matplotlib()
    make_folder(folder)
    written: list[Path] = []
    for i, sequence in enumerate(evaluations[0].sequences):
        sides = [(e.label, e.sequences[i]) for e in evaluations]
        written += _save(_sequence(sides), folder / sequence.name)
    return written + _save(_summary(evaluations), folder / "summary")


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=rows > 1, sharey=columns > 1, squeeze=False)
    for axis in axes.flat:
        axis.grid(True, color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, stem: Path) -> list[Path]:
    import matplotlib as mpl

    # Equal scores give equal bytes: no date, and element names from a fixed salt instead of random numbers.
    with mpl.rc_context({"svg.hashsalt": "slime", "svg.fonttype": "none"}):
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            with atomic_path(stem.with_name(f"{stem.name}.{kind}")) as part:
                figure.savefig(part, format=kind, dpi=130, metadata=metadata)
    return [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]


def _short(label: str) -> str:
    """Return the last characters of a long label: a full path would leave no room for the curves."""
    return label if len(label) <= 28 else f"...{label[-25:]}"


def _label(folder: str, score: ObjectScore, folders: int, objects: int) -> str:
    names = [*([_short(folder)] if folders > 1 else []), *([f"object {score.object}"] if objects > 1 else [])]
    return ", ".join([*names, "mean"])


def _sequence(sides: Sequence[tuple[str, SequenceScore]]) -> Figure:
    figure, axes = _figure(8, 4.8, rows=2)
    name, first = sides[0][1].name, sides[0][1].objects
    frames = sorted({f for o in first for f in o.frames}, key=[f for o in first for f in o.frames].index)
    position = {frame: i for i, frame in enumerate(_natural_order(frames))}
    curves = [(label, o) for label, side in sides for o in side.objects]
    for axis, measure, title in ((axes[0, 0], "j", "J (region)"), (axes[1, 0], "f", "F (boundary)")):
        for i, (label, o) in enumerate(curves):
            values = 100 * getattr(o, measure)
            text = f"{_label(label, o, len(sides), len(first))} {values.mean():.1f}"
            style = ("-", "--", ":", "-.")[i // len(COLORS) % 4]
            mark = "." if len(values) < 40 else None
            x = [position[f] for f in o.frames]
            axis.plot(x, values, style, color=COLORS[i % len(COLORS)], label=text, linewidth=1.4, marker=mark)
        axis.set_ylabel(f"{title}, per cent")
        axis.set_ylim(-3, 103)
        if len(curves) <= _MAX_LEGEND_ENTRIES:
            axis.legend(loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False, fontsize=8)
    ordered = list(position)
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, len(ordered)) if len(ordered) <= 10 * s)
    ticks = range(0, len(ordered), step)
    axes[1, 0].set_xticks(ticks, [ordered[t] for t in ticks])
    axes[1, 0].set_xlabel("frame")
    figure.suptitle(name, fontsize=11)
    return figure


def _natural_order(frames: Sequence[str]) -> list[str]:
    from slimecore.io.images import natural_key

    return sorted(frames, key=lambda name: (natural_key(name), name))


def _summary(evaluations: Sequence[Evaluation]) -> Figure:
    names = [s.name for s in evaluations[0].sequences]
    scores = [[summarize(s.objects) for s in e.sequences] for e in evaluations]
    order = np.argsort([s.jf for s in scores[0]], kind="stable")
    rows, count = np.arange(len(names)), len(evaluations)
    figure, axes = _figure(9, 1.6 + 0.2 * count + len(names) * (0.16 + 0.16 * count), columns=2)
    bar = 0.8 / count
    for column, (title, pick) in enumerate((("J (region)", "j"), ("F (boundary)", "f"))):
        axis = axes[0, column]
        for i, evaluation in enumerate(evaluations):
            values = [100 * getattr(scores[i][s], pick).mean for s in order]
            mean = 100 * getattr(evaluation.summary, pick).mean
            color = COLORS[i % len(COLORS)]
            # The first folder is on top, as in the legend, because barh counts upwards.
            bars = axis.barh(rows + 0.4 - bar * (i + 0.5), values, bar * 0.9, color=color)
            axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=7, color="#333333")
            label = f"{_short(evaluation.label)}, mean {mean:.1f}" if count > 1 else f"mean {mean:.1f}"
            axis.axvline(mean, color=color, linestyle="--", linewidth=1.2, label=label)
        axis.set_xlim(0, 109)
        axis.set_xticks(range(0, 101, 20))
        axis.set_xlabel(f"{title}, per cent")
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8)
    axes[0, 0].set_yticks(rows, [names[s] for s in order])
    return figure
