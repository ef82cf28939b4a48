"""``slimevid run`` as a user types it, on DAVIS sequences: from the JPEG folder, and from an mp4 made of it.

    python benchmarks/run_davis_clip.py DAVIS_ROOT --sequences camel dog [--preset balanced]

A process of its own for each run; J&F of frames 1..N-2 from the masks on disk, frames a second and peak memory from
report.json, wall time of the whole command. The mp4 is H.264 at crf 18.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from slimecore.io.masks import read_mask
from slimecore.metrics.davis import boundary_f, region_j
from slimevid.io import open_clip
from slimevid.io.writers import OverlayWriter


def main() -> None:
    """Parse, run, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--sequences", nargs="*", default=["camel", "dog"])
    parser.add_argument("--preset", default="balanced")
    arguments = parser.parse_args()
    for sequence in arguments.sequences:
        frames = arguments.root / "JPEGImages" / "480p" / sequence
        truths = sorted((arguments.root / "Annotations" / "480p" / sequence).glob("*.png"))
        with tempfile.TemporaryDirectory() as folder:
            clip, video = open_clip(frames), Path(folder) / f"{sequence}.mp4"
            with OverlayWriter(video, clip.size, Fraction(24), crf=18) as writer:
                for frame in clip.read(0, len(clip)):
                    writer.write(frame.rgb)
            for source in (frames, video):
                out = Path(folder) / f"out_{source.suffix}"
                code = "import sys; from slimevid.cli import main; sys.exit(main())"
                command = [sys.executable, "-c", code, "run", str(source), "--ref", str(truths[0]), "--out", str(out)]
                start = time.perf_counter()
                subprocess.run([*command, "--preset", arguments.preset, "--quiet"], check=True)
                wall = time.perf_counter() - start
                report = json.loads((out / "report.json").read_text())
                pairs = [
                    (read_mask(mask).labels > 0, read_mask(truth).labels > 0)
                    for mask, truth in zip(sorted((out / "masks").iterdir()), truths, strict=True)
                ][1:-1]
                j = 100 * float(np.mean([region_j(a, b) for a, b in pairs]))
                f = 100 * float(np.mean([boundary_f(a, b) for a, b in pairs]))
                kind = source.suffix or "JPEG folder"
                print(
                    f"{sequence:8s} {kind:12s} J {j:5.1f}  F {f:5.1f}  J&F {(j + f) / 2:5.1f}  "
                    f"{report['fps']:5.2f} frames/s  peak {report['peak_memory_mb']:6.0f} MB  wall {wall:5.1f} s "
                    f"for {report['clip']['frames']} frames",
                    flush=True,
                )


if __name__ == "__main__":
    main()
