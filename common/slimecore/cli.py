"""Command line ``slime``: learn parts from annotated images, segment images, evaluate masks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slimecore.cli_support import Parser, add_common, add_settings, configured, make_parser, require_files, run_guarded

__all__ = ["main"]

_LEARN = """Learn parts from annotated pictures.

Give IMAGE MASK pairs, or one folder of pictures and one of masks with the same names. A mask is an indexed PNG, grey or
RGB colours, 0/255, anti-aliased, or .npy; a value means the same part in every mask."""

_SEGMENT = """Segment pictures with learned parts.

Written to DIR: masks/*.png (indexed, DAVIS palette, the picture's own size and the part values that were learned),
overlays/*.png, scores.csv, config.yaml, report.json; with --soft also soft/*.npy (parts, h, w) and confidence/*.png."""

_EVAL = """Compare masks with the truth, files paired by name.

IoU of every part in two protocols: per image (SLiMe's: the mean over images whose truth has the part) and dataset (sum
of intersections over sum of unions)."""


def _parser() -> Parser:
    parser, commands = make_parser("slime", "Learn parts from annotated images; segment images with them.")
    _add_learn(commands)
    _add_segment(commands)
    _add_eval(commands)
    show = _command(commands, "show", "say what a part-embedding file holds")
    show.add_argument("parts", type=Path, metavar="PARTS", help="parts.safetensors")
    add_common(show)
    export = _command(commands, "export", "write learned vectors as textual-inversion files")
    export.add_argument("parts", type=Path, metavar="PARTS", help="parts.safetensors")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="one NAME.safetensors a part")
    add_common(export)
    return parser


def _command(commands: Any, name: str, summary: str, description: str = "") -> Any:
    return commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_quiet(parser: Any) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")


def _add_learn(commands: Any) -> None:
    learn = _command(commands, "learn", "learn parts from annotated pictures", _LEARN)
    learn.add_argument("pairs", type=Path, nargs="+", metavar="IMAGE MASK", help="pictures and their masks")
    learn.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write parts.safetensors")
    learn.add_argument("--names", type=Path, metavar="JSON", help='part names, {"1": "head", ...}')
    learn.add_argument("--mode", metavar="MODE", help="probe (default) or faithful, SLiMe's optimisation")
    learn.add_argument("--model", metavar="MODEL", help="slime-tiny (default), a Stable Diffusion folder, or a Hub id")
    learn.add_argument("--size", type=int, metavar="PIXELS", help="short side the network sees")
    add_settings(learn)
    _add_quiet(learn)
    add_common(learn)


def _add_segment(commands: Any) -> None:
    segment = _command(commands, "segment", "segment pictures with learned parts", _SEGMENT)
    segment.add_argument("parts", type=Path, metavar="PARTS", help="parts.safetensors")
    segment.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="pictures, or folders of them")
    segment.add_argument("--out", type=Path, required=True, metavar="DIR", help="result folder")
    segment.add_argument("--model", metavar="MODEL", help="another place of the model the parts were learned with")
    segment.add_argument("--size", type=int, metavar="PIXELS", help="short side the network sees (default: as learned)")
    segment.add_argument("--soft", action="store_true", help="write soft maps and confidence too")
    add_settings(segment)
    _add_quiet(segment)
    add_common(segment)


def _add_eval(commands: Any) -> None:
    evaluate = _command(commands, "eval", "measure masks against the truth", _EVAL)
    evaluate.add_argument("pred", type=Path, metavar="PRED", help="folder of predicted masks")
    evaluate.add_argument("truth", type=Path, metavar="GT", help="folder of true masks")
    evaluate.add_argument("--names", type=Path, metavar="JSON", help='part names, {"1": "head", ...}')
    evaluate.add_argument("--size", type=int, metavar="PIXELS", help="squash all to a square first (paper: 512)")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    add_common(evaluate)


def _learn(arguments: argparse.Namespace) -> int:
    from slimecore.pipelines.config import ImageConfig

    direct = {
        "mode": arguments.mode,
        "network_size": arguments.size,
        "model": {"name": arguments.model} if arguments.model else None,
    }
    config = configured(ImageConfig(), arguments, direct)
    require_files([*arguments.pairs, *([arguments.names] if arguments.names else [])])
    # Only now torch is imported: a wrong setting or path is reported at once.
    from slimecore.pipelines.learn import LearnRequest, run_learn
    from slimecore.runtime.progress import bar

    request = LearnRequest(arguments.pairs, arguments.out, arguments.names, config)
    if arguments.quiet:
        run_learn(request)
        return 0
    with bar({"learn": "learning parts"}, "steps/s") as notify:
        report = run_learn(request, notify)
    for note in report["notes"]:
        sys.stderr.write(f"note: {note}\n")
    print(
        f"{arguments.out}: {len(report['parts']) - 1} parts from {report['images']} "
        f"{'picture' if report['images'] == 1 else 'pictures'}, {report['mode']} mode, "
        f"{report['timings_s']['learn']:.1f} s, peak {report['peak_memory_mb'] or 0:.0f} MB"
    )
    return 0


def _segment(arguments: argparse.Namespace) -> int:
    from slimecore.pipelines.config import ImageConfig

    direct = {"segment": {"network_size": arguments.size} if arguments.size else None}
    config = configured(ImageConfig(), arguments, direct)
    require_files([arguments.parts, *arguments.images])
    from slimecore.pipelines.segment import SegmentRequest, run_segment
    from slimecore.runtime.progress import bar

    request = SegmentRequest(arguments.parts, arguments.images, arguments.out, arguments.model, arguments.soft, config)
    if arguments.quiet:
        run_segment(request)
        return 0
    with bar({"segment": "segmenting"}, "pictures/s") as notify:
        report = run_segment(request, notify)
    for note in report["notes"]:
        sys.stderr.write(f"note: {note}\n")
    print(
        f"{arguments.out}: {report['images']} {'picture' if report['images'] == 1 else 'pictures'}, "
        f"{len(report['parts']) - 1} parts, {report['seconds_per_image']:.2f} s each, "
        f"peak {report['peak_memory_mb'] or 0:.0f} MB"
    )
    return 0


def _eval(arguments: argparse.Namespace) -> int:
    from slimecore.io.atomic_files import write_json
    from slimecore.io.masks import read_names
    from slimecore.metrics.part_iou import evaluate_folders

    names = read_names(arguments.names) if arguments.names else None
    report = evaluate_folders(arguments.pred, arguments.truth, names, arguments.size)
    if arguments.json:
        write_json(arguments.json, report.to_dict())
    print(report.table())
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from slimecore.io.embeddings import load_embeddings

    embeddings = load_embeddings(arguments.parts)
    _, tokens, dim = embeddings.vectors.shape
    print(f"model     {embeddings.model} ({embeddings.revision})")
    print(f"mode      {embeddings.mode}")
    print(f"tokens    {tokens} a part, {dim} wide")
    for value, name, (r, g, b) in zip(
        embeddings.parts.values, embeddings.parts.names, embeddings.parts.colors, strict=True
    ):
        print(f"{value:>4}  #{r:02x}{g:02x}{b:02x}  {name}")
    for key, setting in sorted(embeddings.settings.items()):
        print(f"      {key} = {setting}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from slimecore.io.embeddings import load_embeddings
    from slimecore.io.textual_inversion import export_tokens

    for path in export_tokens(load_embeddings(arguments.parts), arguments.out):
        print(path)
    return 0


_COMMANDS = {"learn": _learn, "segment": _segment, "eval": _eval, "show": _show, "export": _export}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``slime`` and return its exit status."""
    arguments = _parser().parse_args(argv)
    return run_guarded("slime", arguments.debug, lambda: _COMMANDS[arguments.command](arguments))
