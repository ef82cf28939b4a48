"""Command lines ``slimevid eval``, ``slimevid davis`` and ``slimevid eval-tracks``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimecore.cli_support import add_common
from slimevid.run.options import add_settings, read_settings

if TYPE_CHECKING:
    from slimevid.evaluation.dataset import Dataset
    from slimevid.evaluation.protocol import Protocol

__all__ = ["add_evaluation"]

_EVAL_TEXT = """Measure J and F of folders of masks by the official DAVIS definitions.

RESULTS holds one folder of masks a sequence, named as the annotations are. Everything is read and checked before any
figure is printed; what is wrong is listed, with exit status 2. Written into RESULTS (or --out), always anew:
global_results-SET.csv, per-sequence_results-SET.csv (the official columns) and per-frame_results-SET.csv.
With several RESULTS: one table, differences to the first, paired bootstrap intervals over sequences."""

_DAVIS_TEXT = """Run the DAVIS protocol: the first mask of every sequence is given, all frames are segmented, J and F
measured.

Written: RESULTS/<sequence>/<frame>.png, as a submission wants it, and davis_run.json. Run again, it goes on where it
stopped; what was made from other settings, frames or masks is refused (--redo makes it again)."""

_TRACKS_TEXT = """Measure parts over time: does the part that holds a joint in the reference frame still hold it later.

JOINTS is a BADJA file, [{"frame": "00000", "joints": [[id, x, y], ...]}, ...], or a folder of them; camel_480p.json
belongs to the masks in RESULTS/camel."""


def add_evaluation(commands: Any) -> None:
    """Add the three evaluation commands to a parser's subcommands."""
    _add_eval(commands)
    _add_davis(commands)
    _add_tracks(commands)


def _command(commands: Any, name: str, brief: str, text: str, action: Callable[[argparse.Namespace], int]) -> Any:
    parser = commands.add_parser(
        name, help=brief, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(action=action)
    return parser


def _add_split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--year", type=int, default=2016, metavar="YEAR", help="2016 (default, one object) or 2017")
    parser.add_argument("--set", dest="subset", default="val", metavar="SET", help="train, val (default) or test-dev")
    _add_sequences(parser)


def _add_sequences(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sequences", nargs="+", default=[], metavar="NAME", help="only these sequences")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strict", type=int, metavar="PIXELS", help="also F at this tolerance (official: 8 at 480p)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, full precision, as JSON")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw J and F over time and a summary, PNG and SVG")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="sequences at a time (default 1)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no table")
    add_common(parser)


def _add_eval(commands: Any) -> None:
    parser = _command(commands, "eval", "measure J and F of folders of masks", _EVAL_TEXT, _eval)
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULTS", help="folders of results")
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument("--davis", type=Path, metavar="ROOT", help="DAVIS folder")
    truth.add_argument("--ytvos", type=Path, metavar="ROOT", help="YouTube-VOS folder: sparse, objects appear later")
    truth.add_argument("--truth", type=Path, metavar="DIR", help="folder of masks, or of folders of masks")
    _add_split(parser)
    parser.add_argument("--resolution", default="480p", metavar="NAME", help="folder of Annotations (default 480p)")
    parser.add_argument(
        "--task", default="semi-supervised", metavar="TASK", help="semi-supervised (default), unsupervised"
    )
    parser.add_argument(
        "--frames",
        metavar="RULE",
        help="inner (default: not the first, not the last), all (unsupervised), or later (all after an object appears)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the CSV files (default RESULTS)")
    _add_output(parser)


def _add_davis(commands: Any) -> None:
    parser = _command(commands, "davis", "run and measure a DAVIS split", _DAVIS_TEXT, _davis)
    parser.add_argument("root", type=Path, metavar="ROOT", help="DAVIS folder")
    parser.add_argument("--out", type=Path, required=True, metavar="RESULTS", help="result folder")
    parser.add_argument("--year", type=int, default=2016, metavar="YEAR", help="2016 (default, one object) or 2017")
    parser.add_argument("--split", dest="subset", default="val", metavar="SET", help="train, val (default) or test-dev")
    _add_sequences(parser)
    parser.add_argument("--resolution", default="480p", metavar="NAME", help="folder of JPEGImages (default 480p)")
    parser.add_argument(
        "--baselines", action="store_true", help="also run the floors, into RESULTS-copy, RESULTS-flow_warp"
    )
    parser.add_argument("--redo", action="store_true", help="make again what other settings or inputs made")
    parser.add_argument("--zip", action="store_true", help="pack the masks into RESULTS.zip")
    add_settings(parser)
    _add_output(parser)


def _add_tracks(commands: Any) -> None:
    parser = _command(commands, "eval-tracks", "measure whether parts keep their joints", _TRACKS_TEXT, _tracks)
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder of results")
    parser.add_argument("--joints", type=Path, required=True, metavar="JOINTS", help="BADJA file, or a folder of them")
    _add_sequences(parser)
    parser.add_argument("--ref-frame", metavar="NAME", help="reference frame (default: the first with joints)")
    parser.add_argument(
        "--tolerance", type=float, default=0.05, metavar="SHARE", help="of the object's size for 'near' (default 0.05)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, joint by joint, as JSON")
    parser.add_argument("--quiet", action="store_true", help="no table")
    add_common(parser)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    if quiet:
        yield None
        return
    from slimecore.runtime.progress import bar

    with bar({"learn": "learning parts", "segment": "segmenting", "evaluate": "measuring"}, "/s") as notify:
        yield notify


def _eval(arguments: argparse.Namespace) -> int:
    from slimevid.evaluation.dataset import open_davis, open_pairs, open_youtube
    from slimevid.evaluation.protocol import Protocol

    task = arguments.task
    frames = arguments.frames or ("later" if arguments.ytvos else "all" if task == "unsupervised" else "inner")
    objects = "growing" if frames == "later" else "count" if arguments.davis else "present"
    coding = "auto" if not arguments.davis else "binary" if arguments.year == 2016 else "ids"
    protocol = Protocol(task, frames, objects, "ids" if arguments.ytvos else coding, arguments.strict)
    if arguments.davis:
        dataset = open_davis(
            arguments.davis, arguments.year, arguments.subset, task, arguments.resolution, arguments.sequences
        )
    else:
        dataset = (
            open_youtube(arguments.ytvos, arguments.sequences)
            if arguments.ytvos
            else open_pairs(arguments.truth, arguments.sequences)
        )
    _measure(arguments, dataset, arguments.results, protocol)
    return 0


def _measure(arguments: argparse.Namespace, dataset: Dataset, folders: Sequence[Path], protocol: Protocol) -> None:
    """Score result folders, then print and write: an error leaves no partial output."""
    from slimevid.evaluation.comparison import compare
    from slimevid.evaluation.figures import draw_figures, require_matplotlib
    from slimevid.evaluation.report import (
        comparison_table,
        require_folder,
        scope,
        score_table,
        unique_labels,
        write_csv,
        write_report,
    )
    from slimevid.evaluation.scoring import evaluate

    if arguments.figures:
        require_matplotlib()
    if arguments.json:
        require_folder(arguments.json)
    labels = unique_labels(folders)
    with _progress(arguments.quiet) as notify:
        evaluations = [
            replace(evaluate(dataset, folder, protocol, jobs=arguments.jobs, notify=notify), label=label)
            for folder, label in zip(folders, labels, strict=True)
        ]
    rows = compare(evaluations)
    for evaluation, folder in zip(evaluations, _csv_folders(arguments, folders, labels), strict=True):
        write_csv(folder, dataset.label, evaluation)
    if arguments.json:
        write_report(arguments.json, evaluations, rows)
    if arguments.figures:
        draw_figures(arguments.figures, evaluations)
    for note in dict.fromkeys(n for e in evaluations for s in e.sequences for n in s.notes):
        sys.stderr.write(f"note: {note}\n")
    if arguments.quiet:
        return
    if len(rows) == 1 or arguments.command == "davis":
        print(score_table(evaluations[0]))
    if len(rows) > 1:
        print(comparison_table(rows, evaluations))
    print(scope(evaluations[0], dataset.label))


def _csv_folders(arguments: argparse.Namespace, folders: Sequence[Path], labels: Sequence[str]) -> list[Path]:
    """Return the folder for each result's CSV files."""
    if arguments.command != "eval" or arguments.out is None:
        return list(folders)
    return [arguments.out] if len(folders) == 1 else [arguments.out / label.replace("/", "_") for label in labels]


def _davis(arguments: argparse.Namespace) -> int:
    config = read_settings(arguments)  # before torch is imported, so that a mistyped setting fails at once
    from slimevid.evaluation.davis_run import DavisRequest, dataset_of, floors, run_davis, zip_results
    from slimevid.evaluation.protocol import Protocol

    request = DavisRequest(
        arguments.root,
        arguments.out,
        arguments.year,
        arguments.subset,
        arguments.resolution,
        tuple(arguments.sequences),
        config,
        arguments.jobs,
        arguments.redo,
    )
    protocol = Protocol(coding="binary" if arguments.year == 2016 else "ids", strict=arguments.strict)
    dataset = dataset_of(request)
    requests = [request, *(floors(request) if arguments.baselines else [])]
    for each in requests:
        with _progress(arguments.quiet) as notify:
            summary = run_davis(each, notify)
        if not arguments.quiet:
            speed = f", {summary['frames'] / summary['seconds']:.1f} frames/s a process" if summary["seconds"] else ""
            sys.stderr.write(f"{each.out}: {len(summary['made'])} sequences made, {len(summary['kept'])} kept{speed}\n")
    if arguments.zip:
        archive = zip_results(request.out, [name for name, _ in dataset.truths])
        sys.stderr.write(f"packed into {archive}\n")
    if all(len(truths) == 1 for _, truths in dataset.truths):
        sys.stderr.write(f"{request.subset} has no annotation after the first frame: nothing can be measured here\n")
        return 0
    _measure(arguments, dataset, [each.out for each in requests], protocol)
    return 0


def _tracks(arguments: argparse.Namespace) -> int:
    from slimecore.io.atomic_files import write_json
    from slimevid.evaluation.joint_tracks import measure_tracks, track_table, tracks_json
    from slimevid.evaluation.report import require_folder

    if arguments.json:
        require_folder(arguments.json)
    scores = measure_tracks(
        arguments.results, arguments.joints, arguments.sequences, arguments.ref_frame, arguments.tolerance
    )
    if arguments.json:
        write_json(arguments.json, tracks_json(scores))
    for note in dict.fromkeys(n for s in scores for n in s.notes):
        sys.stderr.write(f"note: {note}\n")
    if not arguments.quiet:
        print(track_table(scores))
    return 0
