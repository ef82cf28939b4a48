"""Command line ``slimevid``. The evaluation commands are in ``evaluation/cli.py``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimecore.cli_support import Parser, add_common, make_parser, run_guarded
from slimevid.evaluation.cli import add_evaluation
from slimevid.run.options import add_settings, read_settings

if TYPE_CHECKING:
    from slimevid.run.request import RunRequest

__all__ = ["main"]

_RUN_TEXT = """Segment every frame of a clip from one annotated frame, or several.

CLIP is a video file or a folder of frames. MASK is an indexed PNG, grey or RGB colours, 0/255, anti-aliased, or .npy;
its part values are kept in every output (a lone 255, or white, is 1). Written to DIR: masks/*.png (indexed, DAVIS
palette, the clip's own size), overlay.mp4, scores.csv, parts.safetensors, config.yaml, report.json, run.json.

Frames are labelled forward and backward from every reference, half way to the next. A run that was stopped, however,
goes on with --resume; with one more --ref, or a mended one, --resume re-runs only the frames between it and the
references beside it."""

_INFO_TEXT = """Say what a clip is: frames, size, display shape, rotation, rate, colours, streams.

Frames are counted by decoding them, as every other command does. A file with several films, or with a cover picture, is
read through the stream that players show."""

_FRAME_TEXT = """Save a frame to draw a mask on.

The picture is upright and has square pixels, as players show it. A mask drawn on it fits the clip. N counts from 0, as
in --ref N=MASK."""


def _make_parser() -> Parser:
    parser, commands = make_parser("slimevid", "Segment video from one annotated frame.")
    run = commands.add_parser(
        "run",
        help="segment a clip",
        description=_RUN_TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("clip", type=Path, metavar="CLIP", help="video file or folder of frames")
    run.add_argument(
        "--ref",
        action="append",
        required=True,
        metavar="[N=]MASK",
        help="mask of frame N (without N: of --ref-frame); may be repeated, later ones may hold other parts",
    )
    run.add_argument("--ref-frame", type=int, default=0, metavar="N", help="frame the mask was drawn on (default 0)")
    run.add_argument("--out", type=Path, metavar="DIR", help="result folder (default CLIP_slime)")
    run.add_argument("--resume", action="store_true", help="go on with what DIR holds; what is done stays as it is")
    run.add_argument("--start", type=int, default=0, metavar="N", help="first frame to label (default 0)")
    run.add_argument("--end", type=int, metavar="N", help="frame after the last to label (default: the clip's end)")
    run.add_argument("--stride", type=int, default=1, metavar="N", help="label every N-th frame (default 1)")
    run.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="N=VALUES",
        help="leave parts out from frame N on, until a later reference marks them again",
    )
    run.add_argument("--names", type=Path, metavar="JSON", help='part names, {"1": "head", ...}')
    run.add_argument("--parts", type=Path, metavar="FILE", help="parts.safetensors of an earlier run: skip learning")
    run.add_argument(
        "--export",
        action="append",
        default=[],
        metavar="KIND",
        help="rgba (rgba/*.png, the parts cut out) or coco-rle (coco_rle.json); may be repeated",
    )
    run.add_argument("--soft", action="store_true", help="write soft labels too: soft/*.npy, float16 (parts, h, w)")
    add_settings(run)
    run.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    add_common(run)
    run.set_defaults(action=_run)
    _add_info(commands)
    _add_frame(commands)
    add_evaluation(commands)
    return parser


def _add_info(commands: Any) -> None:
    info = commands.add_parser(
        "info", help="say what a clip is", description=_INFO_TEXT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    info.add_argument("clip", type=Path, metavar="CLIP", help="video file or folder of frames")
    info.add_argument("--json", type=Path, metavar="FILE", help="write it as JSON too")
    add_common(info)
    info.set_defaults(action=_info)


def _add_frame(commands: Any) -> None:
    frame = commands.add_parser(
        "frame",
        help="save a frame to draw on",
        description=_FRAME_TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    frame.add_argument("clip", type=Path, metavar="CLIP", help="video file or folder of frames")
    frame.add_argument("number", type=int, metavar="N", help="number of the frame, from 0")
    frame.add_argument("--out", type=Path, metavar="PNG", help="picture to write (default CLIP_N.png)")
    add_common(frame)
    frame.set_defaults(action=_frame)


def _info(arguments: argparse.Namespace) -> int:
    from slimecore.io.atomic_files import write_json
    from slimevid.io import open_clip
    from slimevid.io.description import clip_text, describe_clip

    content = describe_clip(open_clip(arguments.clip))
    if arguments.json:
        write_json(arguments.json, content)
    for note in content["notes"]:
        sys.stderr.write(f"note: {note}\n")
    print(clip_text(content))
    return 0


def _frame(arguments: argparse.Namespace) -> int:
    from slimecore.errors import InputError
    from slimecore.io.images import write_png
    from slimevid.io import open_clip
    from slimevid.io.description import shown_frame

    number, path = arguments.number, arguments.clip.resolve()
    out = arguments.out or Path(f"{path.name if path.is_dir() else path.stem}_{number:05d}.png")
    if out.suffix.lower() != ".png":
        raise InputError(f"--out {out}: frames are saved as PNG; give a name that ends in .png")
    if path in (out.resolve(), out.resolve().parent):
        raise InputError(f"--out {out}: this would change the clip; give another place")
    clip = open_clip(arguments.clip)
    rgb = shown_frame(clip, number)
    write_png(out, rgb)
    print(f"{out}: frame {number} of {len(clip)}, {rgb.shape[1]}x{rgb.shape[0]}; draw its mask, --ref {number}=MASK")
    return 0


def _build_request(arguments: argparse.Namespace) -> RunRequest:
    config = read_settings(arguments)  # before torch is imported, so that a mistyped setting fails at once
    from slimevid.references.mask_files import parse_drop, parse_reference
    from slimevid.run.request import RunRequest

    clip = arguments.clip.resolve()
    return RunRequest(
        clip=arguments.clip,
        refs=tuple(parse_reference(text, arguments.ref_frame) for text in arguments.ref),
        out=arguments.out or Path(f"{clip.name if clip.is_dir() else clip.stem}_slime"),
        names=arguments.names,
        parts=arguments.parts,
        start=arguments.start,
        end=arguments.end,
        stride=arguments.stride,
        drops=tuple(parse_drop(text) for text in arguments.drop),
        exports=tuple(dict.fromkeys(arguments.export)),
        soft=arguments.soft,
        resume=arguments.resume,
        config=config,
    )


def _run(arguments: argparse.Namespace) -> int:
    request = _build_request(arguments)
    request.require_inputs()  # a wrong path is reported before torch is imported
    from slimevid.run.output_folder import OutputFolder
    from slimevid.run.pipeline import run_clip

    if arguments.quiet:
        run_clip(request)
        return 0
    overwrites = not request.resume and OutputFolder(request.out).manifest.is_file()
    from slimecore.runtime.progress import bar

    with bar({"learn": "learning parts", "segment": "segmenting", "export": "writing"}, "fps") as notify:
        report = run_clip(request, notify)
    replaced = [f"{request.out} held the results of an earlier run, which these replace (--resume keeps them)"]
    for note in [*report["notes"], *(replaced if overwrites else [])]:
        sys.stderr.write(f"note: {note}\n")
    seconds, frames = report["timings_s"], report["labelled"]
    if not frames["by_this_run"]:
        print(f"{request.out}: all {frames['frames']} frames were labelled before, {len(report['parts']) - 1} parts")
        return 0
    speed = "" if report["fps"] is None else f", then {report['fps']:.1f} frames/s"
    print(
        f"{request.out}: {frames['frames']} frames ({frames['by_this_run']} by this run), "
        f"{len(report['parts']) - 1} parts, {seconds['total']:.1f} s (learning {seconds['learn']:.1f} s{speed}), "
        f"peak {report['peak_memory_mb'] or 0:.0f} MB"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``slimevid`` and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name. ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        0, or 2 for wrong input, reported in a line on standard error.
    """
    arguments = _make_parser().parse_args(argv)
    return run_guarded("slimevid", arguments.debug, lambda: arguments.action(arguments))
