"""``slimevid eval`` against the official procedure written plainly, on the same masks in the same run.

    python benchmarks/evaluation.py [--davis ROOT --results RESULTS] [--repeats 5]

The plain procedure keeps every sequence as full-size float64 one-hot volumes and measures one frame at a time: XOR
boundaries and disk dilation of the whole picture. Masks: DAVIS-2016 results if given (one object), and drawn clips with
three objects, 854x480. Everything is timed from files to figures, the ways interleaved; medians. One thread a process.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from slimecore.io.masks import write_mask
from slimevid.evaluation.dataset import Dataset, open_davis, open_pairs
from slimevid.evaluation.protocol import Evaluation, Protocol
from slimevid.evaluation.scoring import evaluate

SIZE = (480, 854)


def boundary(mask: np.ndarray) -> np.ndarray:
    """Full-size XOR boundary; the last row and column see only one neighbour."""
    right, down, diagonal = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    right[:, :-1], down[:-1], diagonal[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    edge = (mask ^ right) | (mask ^ down) | (mask ^ diagonal)
    edge[-1] = mask[-1] ^ right[-1]
    edge[:, -1] = mask[:, -1] ^ down[:, -1]
    edge[-1, -1] = False
    return edge


def plain_f(a: np.ndarray, b: np.ndarray) -> float:
    """Boundary F of two full-size masks."""
    radius = math.ceil(0.008 * np.linalg.norm(a.shape))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.uint8)
    void = np.zeros(a.shape, bool)  # the procedure takes void pixels off even where the task has none
    edge_a, edge_b = boundary(a & ~void), boundary(b & ~void)
    near_a = cv2.dilate(edge_a.astype(np.uint8), disk)
    near_b = cv2.dilate(edge_b.astype(np.uint8), disk)
    count_a, count_b = edge_a.sum(), edge_b.sum()
    if count_a == 0 or count_b == 0:
        return float(count_a == count_b)
    precision, recall = (edge_a * near_b).sum() / count_a, (edge_b * near_a).sum() / count_b
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


def plain(dataset: Dataset, results: Path) -> dict[str, np.ndarray]:
    """J and F (2, frames) of every object, the plain way."""
    cv2.setNumThreads(1)
    scores = {}
    for name, files in dataset.truths:
        truth = np.stack([np.array(Image.open(f)) for f in files]).astype(np.float64)
        truth[truth == 255] = 1 if truth.max() == 255 and set(np.unique(truth)) <= {0, 255} else 0
        count = int(truth[0].max())
        stems = [f.stem for f in files[1:-1]]
        found = np.stack([np.array(Image.open(results / name / f"{stem}.png")) for stem in stems]).astype(np.float64)
        ids = np.arange(1, count + 1)[:, None, None, None]
        volumes = [(np.ones((count, *m.shape)) * ids) == m[None] for m in (found, truth[1:-1])]
        for k in range(count):
            a, b = volumes[0][k], volumes[1][k]
            void = np.zeros_like(a)
            common = np.sum((a & b) & ~void, axis=(-2, -1))
            union = np.sum((a | b) & ~void, axis=(-2, -1))
            j = np.where(union == 0, 1.0, common / np.maximum(union, 1))
            scores[f"{name}_{k + 1}"] = np.array([j, [plain_f(*pair) for pair in zip(a, b, strict=True)]])
    return scores


def difference(scores: dict[str, np.ndarray], ours: Evaluation) -> float:
    """Largest difference on any frame of any object."""
    assert [o.name for o in ours.objects] == list(scores)
    return max(float(np.abs(scores[o.name] - [o.j, o.f]).max()) for o in ours.objects)


def draw(folder: Path, sequences: int, frames: int, seed: int = 0) -> tuple[Path, Path]:
    """Truth and result: three ellipses that drift and wobble; the result lags behind."""
    rng = np.random.default_rng(seed)
    for s in range(sequences):
        for side in ("truth", "result"):
            (folder / side / f"s{s:02d}").mkdir(parents=True)
        centre, speed = rng.uniform((150, 150), (700, 330), (3, 2)), rng.uniform(-3, 3, (3, 2))
        axes = rng.uniform(40, 110, (3, 2))
        for t in range(frames):
            for side, lag in (("truth", 0), ("result", 4)):
                mask = np.zeros(SIZE, np.uint8)
                for k in range(3):
                    place = centre[k] + speed[k] * 20 * np.sin((t - lag) / 20) + lag
                    size = axes[k] * (1 + 0.1 * np.sin((t - lag) / 7 + k))
                    cv2.ellipse(mask, (tuple(map(float, place)), tuple(map(float, 2 * size)), 10.0 * k + t), k + 1, -1)
                write_mask(folder / side / f"s{s:02d}" / f"{t:05d}.png", mask)
    return folder / "truth", folder / "result"


def race(title: str, dataset: Dataset, results: Path, protocol: Protocol, repeats: int) -> None:
    """Time the ways in turn; print medians and the largest difference."""
    ways = {"plain": lambda: plain(dataset, results), "ours": lambda: evaluate(dataset, results, protocol)}
    spent, processor, output = in_turn(ways, repeats)
    ours = output["ours"]
    frames = sum(len(o.frames) for o in ours.objects)
    print(f"{title}: {len(ours.sequences)} sequences, {ours.summary.frames} scored frames, {len(ours.objects)} objects")
    for name in ways:
        wall, cpu = statistics.median(spent[name]), statistics.median(processor[name])
        print(
            f"  {name:6s} {wall:6.2f} s wall  {cpu:6.2f} s processor  {1e3 * cpu / frames:6.2f} ms a frame and object  "
            f"{statistics.median(spent['plain']) / wall:5.1f} x wall  "
            f"{statistics.median(processor['plain']) / cpu:5.1f} x processor"
        )
    print(f"  largest difference on any frame {difference(output['plain'], ours):.1e}", flush=True)


def in_turn(ways: dict[str, Callable[[], Any]], repeats: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Wall and processor seconds (children counted) of every way, called in turn, and what each gave last."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    output = {}
    for _ in range(repeats):
        for name, way in ways.items():
            start, before = time.perf_counter(), os.times()
            output[name] = way()
            spent[name].append(time.perf_counter() - start)
            processor[name].append(sum(os.times()[:4]) - sum(before[:4]))
    return spent, processor, output


def scaling(dataset: Dataset, results: Path, repeats: int) -> None:
    """One process against two, start-up included."""
    ways = {f"--jobs {n}": lambda n=n: evaluate(dataset, results, Protocol(), jobs=n) for n in (1, 2)}
    spent, processor, output = in_turn(ways, repeats)
    one, two = output.values()
    for a, b in zip(one.objects, two.objects, strict=True):
        assert np.array_equal(a.j, b.j)
        assert np.array_equal(a.f, b.f)
    print(f"{len(dataset.truths)} drawn sequences, {one.summary.frames} frames, {len(one.objects)} objects")
    for name in ways:
        wall, cpu = statistics.median(spent[name]), statistics.median(processor[name])
        print(f"  {name}  {wall:6.2f} s wall (best {min(spent[name]):.2f})  {cpu:6.2f} s processor", flush=True)


def child_peak(truth: Path, result: Path) -> float:
    """Peak resident MB of a fresh process that scores one drawn sequence."""
    code = f"import benchmarks.evaluation as b; b.one({str(truth)!r}, {str(result)!r})"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def one(truth: str, result: str) -> None:
    """Score and print the peak memory of this process (Linux; getrusage would count the parent's before exec)."""
    evaluate(open_pairs(Path(truth)), Path(result), Protocol())
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--davis", type=Path)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sequences", type=int, default=10, help="of drawn clips")
    a = parser.parse_args()
    if a.davis and a.results:
        dataset = open_davis(a.davis, 2016)
        race("DAVIS-2016, one object", dataset, a.results, Protocol(coding="binary"), a.repeats)
    with tempfile.TemporaryDirectory() as folder:
        truth, result = draw(Path(folder) / "several", a.sequences, 70)
        race("drawn, three objects", open_pairs(truth), result, Protocol(), a.repeats)
        truth, result = draw(Path(folder) / "many", 3 * a.sequences, 70)
        scaling(open_pairs(truth), result, a.repeats)
        for frames in (100, 1000):
            pair = draw(Path(folder) / str(frames), 1, frames)
            print(f"peak memory, {frames:4d} frames: {child_peak(*pair):.0f} MB", flush=True)


if __name__ == "__main__":
    main()
