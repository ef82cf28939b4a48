"""``slimevid``: segment a clip from one annotated frame; the evaluation's commands are in ``evaluation/cli.py``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from slimecore.cli_base import Parser, add_common, guarded, make_parser
from slimevid.evaluation.cli import add_evaluation
from slimevid.options import add_settings, read_settings

__all__ = ["main"]

_RUN = """Segment every frame of a clip from one annotated frame.

CLIP is a video file or a folder of frames. MASK is an indexed PNG, grey or RGB colours, 0/255, anti-aliased, or .npy;
its part values are kept in every output. Written to DIR: masks/*.png (indexed, DAVIS palette, the clip's own size),
overlay.mp4, scores.csv, parts.safetensors, config.yaml, report.json."""


def _parser() -> Parser:
    parser, commands = make_parser("slimevid", "Segment video from one annotated frame.")
    run = commands.add_parser(
        "run",
        help="segment a clip",
        description=_RUN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("clip", type=Path, metavar="CLIP", help="video file or folder of frames")
    run.add_argument("--ref", type=Path, required=True, metavar="MASK", help="mask of the reference frame")
    run.add_argument("--ref-frame", type=int, default=0, metavar="N", help="frame the mask was drawn on (default 0)")
    run.add_argument("--out", type=Path, metavar="DIR", help="result folder (default CLIP_slime)")
    run.add_argument("--names", type=Path, metavar="JSON", help='part names, {"1": "head", ...}')
    run.add_argument("--parts", type=Path, metavar="FILE", help="parts.safetensors of an earlier run: skip learning")
    add_settings(run)
    run.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    add_common(run)
    run.set_defaults(action=_run)
    add_evaluation(commands)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    config = read_settings(arguments)  # before torch is imported: a typing error answers at once
    from slimevid.pipeline import RunRequest, run

    clip = arguments.clip.resolve()
    out = arguments.out or Path(f"{clip.name if clip.is_dir() else clip.stem}_slime")
    request = RunRequest(
        arguments.clip,
        arguments.ref,
        out,
        arguments.ref_frame,
        arguments.names,
        arguments.parts,
        config,
    )
    if arguments.quiet:
        run(request)
        return 0
    from slimecore.progress import bar

    with bar({"learn": "learning parts", "segment": "segmenting"}, "fps") as notify:
        report = run(request, notify)
    for note in report["reference"]["notes"]:
        sys.stderr.write(f"note: {note}\n")
    seconds = report["timings_s"]
    print(
        f"{out}: {report['clip']['frames']} frames, {len(report['parts']) - 1} parts, {seconds['total']:.1f} s "
        f"(learning {seconds['learn']:.1f} s, then {report['fps']:.1f} frames/s), "
        f"peak {report['peak_memory_mb'] or 0:.0f} MB"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``slimevid``."""
    arguments = _parser().parse_args(argv)
    return guarded("slimevid", arguments.debug, lambda: arguments.action(arguments))
