"""J&F of ``slimevid`` on DAVIS-2016 sequences, every propagator in the same run.

    python benchmarks/davis.py DAVIS_ROOT --sequences camel dog --propagators fused per_frame flow_warp copy

Frames/s and processor time include decoding, not scoring.

Protocol: mask of frame 0 given, frames 1..N-2 scored (the official semi-supervised protocol), mean over sequences.
``--reference last`` gives the last frame's mask instead, and ``middle`` that of the middle: the same clips, other work.
Figures are written as JSON on request. The data is research-only and never enters this repository.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from slimecore.backbones import load_model
from slimecore.config import apply, parse_assignments
from slimecore.io.masks import fit_mask, make_parts, read_mask
from slimecore.metrics.davis import boundary_f, region_j
from slimecore.types import Annotation
from slimevid.config import RunConfig, preset
from slimevid.io import open_clip
from slimevid.session.segmenter import Segmenter

REFERENCES = {"first": 0.0, "middle": 0.5, "last": 1.0}


def score(
    root: Path, sequence: str, config: RunConfig, backbone: Any, limit: int | None, reference: str = "first"
) -> dict[str, float]:
    """Run one sequence in memory and score it."""
    clip = open_clip(root / "JPEGImages" / "480p" / sequence)
    truths = sorted((root / "Annotations" / "480p" / sequence).glob("*.png"))
    given = round(REFERENCES[reference] * (len(clip) - 1))
    mask = fit_mask(read_mask(truths[given]), clip.size, sequence)
    first, *_ = clip.read(given, given + 1)
    parts = make_parts(mask)
    segmenter = Segmenter(config, backbone)
    started = time.perf_counter()
    segmenter.add_reference(first, Annotation(first.rgb, parts.index(mask.labels), parts))
    learned = time.perf_counter()
    stop = len(clip) - 1 if limit is None else min(limit, len(clip) - 1)
    start, start_busy = time.perf_counter(), time.process_time()
    results = segmenter.propagate(clip, 1, stop)
    found = [(result.frame.index, result.labels > 0) for result in results if result.frame.index != given]
    seconds, busy = time.perf_counter() - start, time.process_time() - start_busy
    regions, boundaries = [], []
    for index, mask in found:
        truth = read_mask(truths[index]).labels > 0
        regions.append(region_j(mask, truth))
        boundaries.append(boundary_f(mask, truth))
    j, f = float(np.mean(regions)), float(np.mean(boundaries))
    return {
        "J": 100 * j,
        "F": 100 * f,
        "J&F": 50 * (j + f),
        "fps": len(regions) / seconds,
        "cpu_ms": 1000 * busy / len(regions),
        "learn_s": learned - started,
        "memory_mb": segmenter.memory_bytes / 1e6,
    }


def main() -> None:
    """Parse, run, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--sequences", nargs="*")
    parser.add_argument("--propagators", nargs="*", default=["fused"])
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--model")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--limit", type=int, help="score only the first frames (development)")
    parser.add_argument("--reference", choices=REFERENCES, default="first", help="frame whose mask is given")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.limit is not None and arguments.reference != "first":
        parser.error("--limit counts from the first frame: it goes with --reference first only")
    names = arguments.sequences or (arguments.root / "ImageSets/2016/val.txt").read_text().split()
    config = apply(preset(arguments.preset), parse_assignments(arguments.set), where="--set")
    if arguments.model:
        config = replace(config, model=replace(config.model, name=arguments.model))
    backbone = load_model(config.model, config.device, config.seed)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for propagator in arguments.propagators:
        rows = {}
        for name in names:
            chosen = replace(config, propagator=propagator)
            rows[name] = score(arguments.root, name, chosen, backbone, arguments.limit, arguments.reference)
            print(
                f"{propagator:10s} {name:16s} " + "  ".join(f"{k} {v:6.2f}" for k, v in rows[name].items()),
                flush=True,
            )
        mean = {k: float(np.mean([row[k] for row in rows.values()])) for k in next(iter(rows.values()))}
        print(
            f"{propagator:10s} {'mean':16s} " + "  ".join(f"{k} {v:6.2f}" for k, v in mean.items()),
            flush=True,
        )
        results[propagator] = {**rows, "mean": mean}
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
