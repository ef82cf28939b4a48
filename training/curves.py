"""Training curves: one CSV row per log interval, and a PNG of it."""

import csv
from pathlib import Path

__all__ = ["append_row", "plot", "trim"]


def append_row(path: Path, row: dict[str, float]) -> None:
    """Add a row; the first one writes the header, later ones must have the same keys."""
    fresh = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(row))
        if fresh:
            writer.writeheader()
        writer.writerow({key: f"{value:.6g}" for key, value in row.items()})


def trim(path: Path, step: int) -> None:
    """Drop rows after ``step``: a run that was stopped between two checkpoints does them again."""
    if not path.exists():
        return
    header, *rows = path.read_text().splitlines()
    kept = [row for row in rows if float(row.split(",", 1)[0]) <= step]
    path.write_text("\n".join([header, *kept]) + "\n")


def plot(table: Path, picture: Path) -> None:
    """Draw every column of the CSV over its column ``step``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    names = [n for n in rows[0] if n not in {"step", "seconds"}]
    steps = [float(row["step"]) for row in rows]
    figure, axes = pyplot.subplots((len(names) + 2) // 3, 3, figsize=(12, 2.6 * ((len(names) + 2) // 3)), squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        axis.plot(steps, [float(row[name]) for row in rows])
        axis.set_title(name)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(picture, dpi=80)
    pyplot.close(figure)
