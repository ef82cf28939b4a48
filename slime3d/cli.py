"""Command line of ``slime3d``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimecore.cli_support import Parser, add_common, add_settings, configured, make_parser, run_guarded
from slimecore.errors import InputError

if TYPE_CHECKING:
    from slime3d.run.batch import Job

__all__ = ["main"]

_RENDER = """Render views of a mesh: the pictures to draw masks on.

Written into DIR: view_000.png ..., view_000.faces.npy ... (int32, the face each pixel shows, -1 none), cameras.json and
contact_sheet.png; of several meshes or a folder of them, into DIR/NAME. Views lie all around the mesh, some above, some
below; the same options give the same views. --cameras FILE takes your own, written like such a cameras.json."""

_RUN = """Label every face of a mesh from masks of one or more of its views.

Draw MASK on a view_NNN.png of slime3d render made with the same --views, --size and --up, or --cameras. Any mask style;
part values stay what they are. Written into DIR: face_labels.npy (int, the file's face order), labels.json (names,
colours, confidence, what each label rests on), segmented.glb (a named node and material per part), viewer.html (turn
it, hide parts; no network), labels.png, turntable.mp4, cameras.json, report.json, config.yaml.

Several meshes, or folders of them, go into DIR/NAME each, and batch.json says how every one ended; one that fails does
not stop the others, and the exit status is 2. --ref is a folder then: NAME.png in it is drawn on --view (on view N:
--ref N=FOLDER), NAME/mask_005.png on view 5."""

_TRANSFER = """Apply parts to other meshes.

SOURCE is an --out folder of slime3d run (or any label file slime3d eval reads, with --source-mesh): its labels go to
meshes of the same kind, by place after alignment, along the surface of bodies however bent, by the form of pieces and
by colour, each as far as it holds. Or SOURCE is a parts.safetensors of slime learn: parts are read on rendered views
and lifted. MESH may be a folder. Written into DIR/NAME for every mesh: face_labels.npy, labels.json, segmented.glb,
labels.png, report.json (what the labels rest on), config.yaml."""

_EVAL = """Measure face labels: IoU of every part by area and by count, class-agnostic best match, Rand index.

PRED is an --out folder of slime3d run, a labels.json or a .npy. TRUTH is NAME.labels.json, Princeton .seg, .npy (with
-1 in it, 0 is a part: PartNet-E), or labels of vertices (.txt, .json). Two folders are matched by name. Parts are
matched by name where both sides have names, else by value, files that count from 0 being read as counting from 1."""


def _parser() -> Parser:
    parser, commands = make_parser("slime3d", "Label the faces of a mesh from one annotated view.")
    _add_info(commands)
    _add_render(commands)
    _add_run(commands)
    _add_transfer(commands)
    _add_eval(commands)
    return parser


def _command(commands: Any, name: str, brief: str, text: str, action: Any) -> Any:
    parser = commands.add_parser(
        name, help=brief, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(action=action)
    return parser


def _add_info(commands: Any) -> None:
    text = "Check a mesh and say what it holds: faces, vertices, nodes, size, degenerate faces."
    parser = _command(commands, "info", "check a mesh and say what it holds", text, _info)
    parser.add_argument("mesh", type=Path, metavar="MESH", help="obj, glb, gltf, ply, off, stl ...")
    add_common(parser)


def _add_views(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--views", type=int, metavar="N", help="views around the mesh (default 12)")
    parser.add_argument("--size", type=int, metavar="S", help="side of the square pictures, pixels (default 512)")
    parser.add_argument("--up", metavar="AXIS", help="axis that points up: x, y, z, -x, -y or -z (default y)")
    parser.add_argument("--renderer", metavar="NAME", help="zbuffer (default, nothing to install), embree or pytorch3d")


def _add_meshes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "mesh", nargs="+", type=Path, metavar="MESH", help="obj, glb, gltf, ply, off, stl ..., or folders"
    )
    parser.add_argument(
        "--resume", action="store_true", help="keep finished results whose mesh, masks and settings have not changed"
    )
    parser.add_argument("--cameras", type=Path, metavar="FILE", help="your own cameras: a cameras.json")


def _add_render(commands: Any) -> None:
    parser = _command(commands, "render", "render views to draw masks on", _RENDER, _render)
    _add_meshes(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the pictures")
    _add_views(parser)
    parser.add_argument(
        "--shading", default="auto", metavar="MODE", help="auto (default), textured, vertex, clay, normal or depth"
    )
    add_common(parser)


def _add_run(commands: Any) -> None:
    parser = _command(commands, "run", "label every face from annotated views", _RUN, _run)
    _add_meshes(parser)
    parser.add_argument(
        "--ref",
        action="append",
        required=True,
        metavar="[N=]MASK",
        help="mask of view N, or of --view; a folder of masks for several meshes; may be repeated",
    )
    parser.add_argument("--view", type=int, default=0, metavar="N", help="view of a mask without a number (default 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default MESH's name + _slime)")
    parser.add_argument("--names", type=Path, metavar="FILE", help='part names as JSON: {"1": "head"}')
    parser.add_argument(
        "--method",
        metavar="NAME",
        help="geometry (default): annotation, shape and, where these leave doubt, looks; walk: the floor, shape alone",
    )
    parser.add_argument(
        "--smooth", metavar="NAME", help="none (default), or expansion: shorter borders, needs PyMaxflow"
    )
    parser.add_argument(
        "--keep-texture", action="store_true", default=None, help="GLBs look as the mesh does, not coloured by part"
    )
    parser.add_argument("--part-files", metavar="KIND", help="also a file a part in DIR/parts: glb, obj, ply or stl")
    _add_views(parser)
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML settings")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, such as walk.concave_scale=0.2"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    add_common(parser)


def _add_transfer(commands: Any) -> None:
    parser = _command(commands, "transfer", "apply parts to other meshes", _TRANSFER, _transfer)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of slime3d run, or parts.safetensors")
    parser.add_argument("meshes", type=Path, nargs="+", metavar="MESH", help="meshes, or folders of them")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--source-mesh", type=Path, metavar="MESH", help="mesh of SOURCE, if it has moved")
    parser.add_argument(
        "--method", metavar="NAME", help="auto (default); nearest: the nearest place after alignment, the floor"
    )
    parser.add_argument(
        "--search", action="store_true", help="meshes may stand any way up: try all 24 orientations (slower)"
    )
    _add_views(parser)
    add_settings(parser)
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    add_common(parser)


def _add_eval(commands: Any) -> None:
    parser = _command(commands, "eval", "measure face labels", _EVAL, _eval)
    parser.add_argument("predicted", type=Path, metavar="PRED", help="labels to measure: file or folder")
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="true labels: file or folder")
    parser.add_argument("--mesh", type=Path, metavar="PATH", help="the mesh (or a folder of them), for areas")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--quiet", action="store_true", help="print no table")
    add_common(parser)


def _info(arguments: argparse.Namespace) -> int:
    from slime3d.io.mesh import load_mesh

    mesh = load_mesh(arguments.mesh)
    _print_notes(mesh.notes)
    used = mesh.used()
    low, high = used.min(0), used.max(0)
    positions = int(mesh.welded().max()) + 1
    print(f"faces     {len(mesh.faces)} ({int((mesh.areas() == 0).sum())} without area)")
    print(f"vertices  {len(mesh.vertices)} at {positions} positions")
    more = " ..." if len(mesh.node_names) > 8 else ""
    print(f"nodes     {len(mesh.node_names)}: {', '.join(mesh.node_names[:8])}{more}")
    print(f"size      {' x '.join(f'{side:.4g}' for side in high - low)}")
    print(f"colours   {mesh.appearance.kind}")
    return 0


def _render(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from slime3d.config import RunConfig
    from slime3d.run.pipeline import render_mesh, render_settings
    from slime3d.run.provenance import provenance

    given = {key: getattr(arguments, key) for key in ("views", "size", "up", "renderer")}
    config = replace(RunConfig(), **{key: value for key, value in given.items() if value is not None})
    shading, cameras = arguments.shading, arguments.cameras

    def work(job: Job) -> str:
        _print_notes(render_mesh(job.path, job.out, config, shading=shading, cameras=cameras))
        return "rendered"

    def made(job: Job) -> dict[str, str]:
        return provenance(job.path, render_settings(config, shading), cameras=cameras)

    return _run_jobs(arguments, arguments.out, work, made, quiet=True)


def _run(arguments: argparse.Namespace) -> int:
    from slime3d.config import RunConfig
    from slime3d.labelling.annotated_views import parse_reference
    from slime3d.run.batch import gather, masks_of
    from slime3d.run.pipeline import run_mesh
    from slime3d.run.provenance import provenance
    from slimecore.io.masks import read_names

    arguments.device = arguments.seed = None  # no such options: the device is the setting appearance.device
    keys = ("method", "views", "size", "up", "renderer", "smooth", "keep_texture", "part_files")
    config = configured(RunConfig(), arguments, {key: getattr(arguments, key) for key in keys})
    given = [parse_reference(text, arguments.view) for text in arguments.ref]
    names = read_names(arguments.names) if arguments.names else None
    many = _is_batch(arguments.mesh)
    out = arguments.out
    if out is None and many:
        raise InputError("several meshes need --out DIR; results go into DIR/NAME")
    out = out or Path(f"{arguments.mesh[0].stem}_slime")
    alone = not many or len(gather(arguments.mesh, out)) == 1

    def work(job: Job) -> str:
        masks = masks_of(given, job.name, alone=alone)
        result = run_mesh(job.path, masks, job.out, config, names, arguments.cameras)
        if not arguments.quiet:
            _print_notes(result.notes)
        share = ", ".join(f"{v:.1%} {k}" for k, v in result.report["area_share"].items())
        return f"{len(result.labels.rows)} faces labelled: by area {share}"

    def made(job: Job) -> dict[str, str]:
        return provenance(job.path, config, masks_of(given, job.name, alone=alone), names, arguments.cameras)

    status = _run_jobs(arguments, out, work, made, quiet=arguments.quiet)
    if not (many or arguments.quiet or status):
        print(f"look at {out / ('viewer.html' if config.viewer_faces else 'labels.png')}")
    return status


def _is_batch(meshes: Sequence[Path]) -> bool:
    return len(meshes) > 1 or meshes[0].is_dir()


def _run_jobs(
    arguments: argparse.Namespace,
    out: Path,
    work: Callable[[Job], str],
    made: Callable[[Job], dict[str, str]],
    *,
    quiet: bool,
) -> int:
    """Run a single mesh into `out`, or a batch into folders below `out` with a ``batch.json``.

    Parameters
    ----------
    arguments : argparse.Namespace
    out : Path
        Result folder.
    work : callable
        Runs a job and returns its summary.
    made : callable
        Returns the provenance of a job.
    quiet : bool
        Print no summary.

    Returns
    -------
    int
        Exit status: 0 done, 1 an unexpected error, 2 bad input.
    """
    from slimecore.io.result_folder import lock_folder

    with lock_folder(out):
        return _run_locked(arguments, out, work, made, quiet=quiet)


def _run_locked(
    arguments: argparse.Namespace,
    out: Path,
    work: Callable[[Job], str],
    made: Callable[[Job], dict[str, str]],
    *,
    quiet: bool,
) -> int:
    from slime3d.run.batch import Job, Outcome, gather, run_batch, write_summary
    from slime3d.run.provenance import results_stale_reason
    from slimecore.io.atomic_files import make_folder

    if not _is_batch(arguments.mesh):
        job = Job(arguments.mesh[0].stem, arguments.mesh[0], out)
        if arguments.resume and not results_stale_reason(job.out, made(job)):
            summary = "finished before, nothing changed"
        else:
            summary = work(job)
        if not quiet:
            print(summary)
        return 0

    def notify(outcome: Outcome) -> None:
        if outcome.status == "failed":
            sys.stderr.write(f"slime3d: {outcome.name}: {outcome.message}\n")
            if arguments.debug:
                sys.stderr.write(outcome.trace)
        elif not getattr(arguments, "quiet", False):
            print(f"{outcome.name}: {outcome.message}", flush=True)

    outcomes = run_batch(gather(arguments.mesh, out), work, made if arguments.resume else None, notify)
    write_summary(make_folder(out) / "batch.json", outcomes)
    failed = [o for o in outcomes if o.status == "failed"]
    if failed:
        sys.stderr.write(f"slime3d: {len(failed)} of {len(outcomes)} meshes failed; see {out / 'batch.json'}\n")
    return 0 if not failed else 2 if all(o.bad_input for o in failed) else 1


def _transfer(arguments: argparse.Namespace) -> int:
    from slime3d.transfer.run import TransferRunConfig, run_transfer

    direct = {key: getattr(arguments, key) for key in ("views", "size", "up", "renderer")}
    chosen = {"method": arguments.method, "search": arguments.search or None}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    config = configured(TransferRunConfig(), arguments, {**direct, "transfer": chosen or None})

    def notify(_stage: str, done: int, count: int) -> None:
        sys.stderr.write(f"{done}/{count}\n")

    reports = run_transfer(
        arguments.source,
        arguments.meshes,
        arguments.out,
        config,
        arguments.source_mesh,
        None if arguments.quiet or len(arguments.meshes) == 1 else notify,
    )
    if arguments.quiet:
        return 0
    for name, report in reports.items():
        _print_notes(report["notes"])
        rests = ", ".join(f"{key} {value:.2f}" for key, value in report.get("weights", {}).items() if value)
        rests = f" ({rests})" if rests else ""
        print(f"{arguments.out / name}: {report['mesh']['faces']} faces in {report['seconds']:.1f} s{rests}")
    return 0


def _eval(arguments: argparse.Namespace) -> int:
    from slime3d.evaluation import evaluate, match_files, score_table, scores_entry
    from slimecore.io.atomic_files import write_json

    jobs = match_files(arguments.predicted, arguments.truth, arguments.mesh)
    scores = [evaluate(predicted, truth, mesh, name) for name, predicted, truth, mesh in jobs]
    if arguments.json:
        write_json(arguments.json, scores_entry(scores))
    if not arguments.quiet:
        print(score_table(scores))
    return 0


def _print_notes(notes: Sequence[str]) -> None:
    sys.stderr.writelines(f"note: {note}\n" for note in notes)


def _join_negative_axes(words: Sequence[str]) -> list[str]:
    """Join ``--up -z`` to ``--up=-z``, as argparse would parse ``-z`` as an option."""
    joined: list[str] = []
    for word in words:
        if joined[-1:] == ["--up"] and word in ("-x", "-y", "-z"):
            word = f"{joined.pop()}={word}"
        joined.append(word)
    return joined


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``slime3d`` and return its exit status."""
    arguments = _parser().parse_args(_join_negative_axes(sys.argv[1:] if argv is None else argv))
    return run_guarded("slime3d", arguments.debug, lambda: arguments.action(arguments))
