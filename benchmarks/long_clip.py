"""Memory and speed of ``slimevid run`` against the length of a clip and the number of parts.

    python benchmarks/long_clip.py [--lengths 500 5000] [--parts 1 2 4 8] [--one-thing] [--preset fast]
        [--set KEY=VALUE ...]

Ten seconds of 854x480 are drawn (discs that wander over a textured ground that drifts, and are back at the end), coded
as H.264 into a temporary folder, repeated to the length, and segmented by the command itself, a process of its own for
each run. Peak memory is the process's largest resident size, from report.json, as is processor time per frame; wall
time per frame, whole and of the first and last 100 frames, comes from the times the masks were written. Nothing is
extrapolated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from slimecore.io.masks import write_mask
from slimevid.io.writers import OverlayWriter

SIZE = (480, 854)
WINDOW, LOOP = 100, 240


class Scene:
    """Discs on a ground.

    Parameters
    ----------
    parts : int
        Discs, each a part.
    one_thing : bool
        One disc instead, whose sectors are the parts.
    """

    def __init__(self, parts: int, *, one_thing: bool = False) -> None:
        rng = np.random.default_rng(0)
        self._count, self._one = parts, one_thing
        coarse = rng.integers(40, 200, (31, 55, 3))
        self._ground = np.kron(coarse, np.ones((16, 16, 1)))[: SIZE[0], : SIZE[1]].astype(np.uint8)
        self._colors = rng.integers(60, 255, (parts, 3))
        self._phase = rng.random((parts, 2)) * 2 * np.pi
        self._y, self._x = np.mgrid[: SIZE[0], : SIZE[1]]
        self._radius = 90 if one_thing or parts == 1 else 50

    def draw(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Picture (h, w, 3) uint8 and mask (h, w) uint8 of a frame."""
        rgb = np.roll(self._ground, index * SIZE[1] // LOOP, 1)
        mask = np.zeros(SIZE, np.uint8)
        for part in range(self._count):
            angle = 2 * np.pi * index / LOOP + self._phase[0 if self._one else part]
            cy = SIZE[0] * (0.5 + 0.3 * np.sin(angle[0] + part))
            cx = SIZE[1] * ((part + 0.5) / self._count + 0.03 * np.sin(angle[1]))
            if self._one:
                cy, cx = SIZE[0] * (0.5 + 0.3 * np.sin(angle[0])), SIZE[1] * (0.5 + 0.03 * np.sin(angle[1]))
            inside = (self._y - cy) ** 2 + (self._x - cx) ** 2 < self._radius**2
            if self._one:
                turn = np.arctan2(self._y - cy, self._x - cx) / (2 * np.pi) % 1
                inside &= (turn * self._count).astype(int) == part
            stripes = 20 * np.sin((self._x[inside] - cx + self._y[inside] - cy) / 6)
            rgb[inside] = (self._colors[part] + stripes[:, None]).clip(0, 255)
            mask[inside] = part + 1
        return rgb, mask


def clip_of(folder: Path, scene: Scene, count: int) -> tuple[Path, Path]:
    """Write clip and reference mask."""
    loop, video, mask = folder / "loop.mp4", folder / f"clip_{count}.mp4", folder / "ref.png"
    with OverlayWriter(loop, SIZE, Fraction(24)) as writer:
        for i in range(LOOP):
            rgb, labels = scene.draw(i)
            writer.write(rgb)
            if i == 0:
                write_mask(mask, labels)
    with av.open(str(loop)) as source:
        packets = [p for p in source.demux(video=0) if p.size]
        stamps = [(p.pts, p.dts, p.duration) for p in packets]
        with av.open(str(video), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for i in range(count):  # in decoding order, which is that of the frames but for a few at the end
                round_, place = divmod(i, LOOP)
                packet, (pts, dts, duration) = packets[place], stamps[place]
                packet.pts, packet.dts = pts + round_ * LOOP * duration, dts + round_ * LOOP * duration
                packet.stream = stream
                target.mux(packet)
    return video, mask


def measure(folder: Path, scene: Scene, parts: int, count: int, options: list[str]) -> dict[str, float]:
    """Segment a drawn clip with the command; what it cost."""
    video, mask = clip_of(folder, scene, count)
    out = folder / f"out_{count}_{parts}"
    code = "import sys; from slimevid.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "run", str(video), "--ref", str(mask), "--out", str(out), "--quiet"]
    subprocess.run([*command, *options], check=True)
    report = json.loads((out / "report.json").read_text())
    times = np.array([p.stat().st_mtime for p in sorted((out / "masks").glob("*.png"))])
    steps = np.diff(times)
    video.unlink()
    return {
        "frames": count,
        "parts": parts,
        "peak_mb": report["peak_memory_mb"],
        "remembered_mb": report["memory_bytes"] / 1e6,
        "ms": 1000 * float(steps.mean()),
        "cpu_ms": report["processor_ms_a_frame"],
        "first_ms": 1000 * float(np.median(steps[:WINDOW])),
        "last_ms": 1000 * float(np.median(steps[-WINDOW:])),
    }


def main() -> None:
    """Parse, run, print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="*", default=[500, 5000])
    parser.add_argument("--parts", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--part-frames", type=int, default=120, help="frames of the runs that count parts")
    parser.add_argument("--one-thing", action="store_true", help="the parts are sectors of one disc")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    options = ["--preset", arguments.preset, *(text for pair in arguments.set for text in ("--set", pair))]
    runs = [(1, count) for count in arguments.lengths] + [(parts, arguments.part_frames) for parts in arguments.parts]
    for parts, count in runs:
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(parts, one_thing=arguments.one_thing)
            found = measure(Path(folder), scene, parts, count, options)
        print(
            f"{count:5d} frames {parts:2d} parts  peak {found['peak_mb']:6.0f} MB  remembered "
            f"{found['remembered_mb']:5.2f} MB  processor {found['cpu_ms']:6.1f} ms a frame, wall {found['ms']:6.1f} "
            f"(median of the first {WINDOW}: {found['first_ms']:6.1f}, of the last: {found['last_ms']:6.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
