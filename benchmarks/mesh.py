"""Meshes: how much one annotated view gives, and how fast views are rendered.

``python benchmarks/mesh.py ROOT`` with ROOT a folder of categories of ``NAME.labels.json`` beside meshes
(``../shared/data/mesh``). The annotated view is the one, of ten, that shows most parts with at least 1 % of their area,
on ties the most area; the second is chosen likewise to add to it. Masks are the true labels of the pixels. Scored:
parts with at least 1 % of their area visible in the annotated views, IoU by area over all faces. ``--ceiling``: all ten
views annotated, what lifting perfect masks gives. ``--timing MESH ...``:
how fast the installed renderers are.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slime3d.config import RunConfig
from slime3d.evaluation import score_labels
from slime3d.io.label_files import read_label_file
from slime3d.io.mesh import Mesh, load_mesh
from slime3d.rendering.cameras import Cameras, orbit_cameras
from slime3d.rendering.renderers import build_renderer
from slime3d.run.pipeline import label_mesh
from slimecore.config import apply, parse_assignments
from slimecore.errors import ConfigError
from slimecore.io.masks import MaskFile, make_parts

VISIBLE = 0.01


@dataclass
class Case:
    """A mesh with its truth and what ten views show of it."""

    name: str
    category: str
    mesh: Mesh
    truth: np.ndarray
    face_id: np.ndarray
    cameras: Cameras

    def shares(self, views: list[int]) -> np.ndarray:
        """Share of every part's area that some of the views show."""
        areas = self.mesh.areas()
        seen = np.zeros(len(areas), bool)
        ids = self.face_id[views]
        seen[ids[ids >= 0]] = True
        known = self.truth > 0
        whole = np.bincount(self.truth[known], areas[known])
        part = np.bincount(self.truth[known], (areas * seen)[known], minlength=len(whole))
        return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)

    def best(self, chosen: list[int]) -> int:
        """View to annotate next."""

        def worth(view: int) -> tuple[int, float]:
            share = self.shares([*chosen, view])
            return int((share >= VISIBLE).sum()), float(share.sum())

        return max((v for v in range(len(self.face_id)) if v not in chosen), key=worth)


def load_case(labels: Path, size: int) -> Case:
    """Mesh, truth and views."""
    file = read_label_file(labels)
    mesh = load_mesh(file.mesh)
    cameras = orbit_cameras(mesh.used(), 10, size)
    ids = build_renderer().rasterize(mesh.vertices, mesh.faces, cameras).face_id
    return Case(labels.name.removesuffix(".labels.json"), labels.parent.name, mesh, file.values, ids, cameras)


def measure(case: Case, count: int, config: RunConfig) -> tuple[float, float]:
    """Mean IoU by area of one mesh with `count` annotated views, and seconds."""
    views: list[int] = []
    for _ in range(min(count, len(case.face_id))):
        views.append(case.best(views))
    ids = case.face_id[views]
    labels = np.where(ids >= 0, case.truth[ids], -1)
    parts = make_parts(MaskFile(labels.reshape(-1, 1), {}))
    started = time.perf_counter()
    found = label_mesh(case.mesh, ids, parts.index(labels), parts, config, case.cameras.at(views))
    seconds = time.perf_counter() - started
    visible = np.flatnonzero(case.shares(views) >= VISIBLE)
    predicted = np.asarray(parts.values)[found.rows]
    iou, _ = score_labels(predicted, case.truth, case.mesh.areas(), visible.tolist())
    return float(np.mean(list(iou.values()))), seconds


def floor(root: Path, size: int, config: RunConfig, detail: bool) -> None:
    """Print the table of the floor."""
    cases = [load_case(path, size) for path in sorted(root.rglob("*.labels.json"))]
    scores: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for case in cases:
        (one, spent), (two, _) = measure(case, 1, config), measure(case, 2, config)
        scores[case.category].append((one, two, spent))
        if detail:
            print(
                f"  {case.name:<28} {len(case.mesh.faces):>7} faces  {100 * one:6.1f} {100 * two:6.1f}  {spent:.2f} s"
            )
    print(f"{'category':<18} meshes  one view  two views  worst, one  worst, two  seconds a mesh")
    scores["all"] = [row for rows in list(scores.values()) for row in rows]
    for category, rows in scores.items():
        table = np.array(rows)
        (one, two, spent), low = table.mean(0), table.min(0)
        print(
            f"{category:<18} {len(rows):>6}  {100 * one:>8.2f}  {100 * two:>9.2f}  {100 * low[0]:>10.1f}  "
            f"{100 * low[1]:>10.1f}  {spent:>14.2f}"
        )


def ceiling(root: Path, size: int, config: RunConfig, detail: bool) -> None:
    """Print what perfect masks in all views give."""
    scores: dict[str, list[float]] = defaultdict(list)
    for path in sorted(root.rglob("*.labels.json")):
        case = load_case(path, size)
        scores[case.category].append(measure(case, len(case.face_id), config)[0])
        if detail:
            print(f"  {case.name:<28} {100 * scores[case.category][-1]:6.2f}")
    scores["all"] = [one for some in list(scores.values()) for one in some]
    for category, some in scores.items():
        print(f"{category:<18} {len(some):>6}  ten views {100 * np.mean(some):>7.2f}  worst {100 * np.min(some):>6.1f}")


def timing(paths: list[Path], size: int, views: int) -> None:
    """Print how long `views` views take with each renderer that is installed; best of three."""
    from slime3d.rendering.renderers.zbuffer import ZBuffer

    print(f"{views} views at {size} px, seconds (CPU seconds)")
    for path in paths:
        mesh = load_mesh(path)
        cameras = orbit_cameras(mesh.used(), views, size)
        tools = {"numpy": ZBuffer(compiled=False), "numba": ZBuffer()}
        if tools["numba"]._draw is tools["numpy"]._draw:
            del tools["numba"]
        for name in ("embree", "pytorch3d"):
            try:
                tools[name] = build_renderer(name)
            except ConfigError:
                continue
        for name, tool in tools.items():
            tool.rasterize(mesh.vertices, mesh.faces, cameras[:1])
            best = (np.inf, np.inf)
            for _ in range(3):
                wall, cpu = time.perf_counter(), time.process_time()
                tool.rasterize(mesh.vertices, mesh.faces, cameras)
                best = min(best, (time.perf_counter() - wall, time.process_time() - cpu))
            print(f"{path.name:<28} {len(mesh.faces):>8} faces  {name:<10} {best[0]:7.2f} ({best[1]:.2f})")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, nargs="?")
    parser.add_argument("--timing", type=Path, nargs="+", default=[])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--views", type=int, default=12, help="for --timing")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--ceiling", action="store_true", help="annotate all ten views instead of one and two")
    parser.add_argument("--detail", action="store_true", help="a line a mesh")
    arguments = parser.parse_args()
    if arguments.root:
        config = apply(RunConfig(), parse_assignments(arguments.set), where="--set")
        table = ceiling if arguments.ceiling else floor
        table(arguments.root, arguments.size, config, arguments.detail)
    if arguments.timing:
        timing(arguments.timing, arguments.size, arguments.views)


if __name__ == "__main__":
    main()
