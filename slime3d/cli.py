"""``slime3d``: meshes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slimecore.cli_base import Parser, add_common, add_settings, configured, guarded, make_parser

__all__ = ["main"]

_RENDER = """Render views of a mesh: the pictures to draw masks on.

Written into DIR: view_000.png ..., view_000.faces.npy ... (int32, the face each pixel shows, -1 none), cameras.json and
contact_sheet.png. Views lie all around the mesh, some above, some below; the same options give the same views."""

_RUN = """Label every face of a mesh from masks of one or more of its views.

Draw MASK on a view_NNN.png of slime3d render made with the same --views, --size and --up. Any mask style; part values
stay what they are. Written into DIR: face_labels.npy (int, the file's face order), labels.json (names, colours,
confidence, what each label rests on), segmented.glb (a named node and material per part), labels.png, turntable.mp4,
report.json, config.yaml."""

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


def _add_render(commands: Any) -> None:
    parser = _command(commands, "render", "render views to draw masks on", _RENDER, _render)
    parser.add_argument("mesh", type=Path, metavar="MESH", help="obj, glb, gltf, ply, off, stl ...")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the pictures")
    _add_views(parser)
    parser.add_argument(
        "--shading", default="auto", metavar="MODE", help="auto (default), textured, vertex, clay, normal or depth"
    )
    add_common(parser)


def _add_run(commands: Any) -> None:
    parser = _command(commands, "run", "label every face from annotated views", _RUN, _run)
    parser.add_argument("mesh", type=Path, metavar="MESH", help="obj, glb, gltf, ply, off, stl ...")
    parser.add_argument(
        "--ref",
        action="append",
        required=True,
        metavar="[N=]MASK",
        help="mask of view N, or of --view; may be repeated",
    )
    parser.add_argument("--view", type=int, default=0, metavar="N", help="view of a mask without a number (default 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default MESH's name + _slime)")
    parser.add_argument("--names", type=Path, metavar="FILE", help='part names as JSON: {"1": "head"}')
    parser.add_argument(
        "--method",
        metavar="NAME",
        help="geometry (default): the annotation and the shape alone; walk: its floor, without symmetry",
    )
    _add_views(parser)
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML settings")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, such as walk.concave=0.2"
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
    from slime3d.mesh import load_mesh

    mesh = load_mesh(arguments.mesh)
    _say(mesh.notes)
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
    from slime3d.config import RunConfig
    from slime3d.pipeline import render_mesh

    default = RunConfig()
    notes = render_mesh(
        arguments.mesh,
        arguments.out,
        views=default.views if arguments.views is None else arguments.views,
        size=default.size if arguments.size is None else arguments.size,
        up=arguments.up or default.up,
        shading=arguments.shading,
        renderer=arguments.renderer or default.renderer,
    )
    _say(notes)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from slime3d.config import RunConfig
    from slime3d.pipeline import run
    from slime3d.references import parse_reference
    from slimecore.masks import read_names

    arguments.device = arguments.seed = None  # nothing here is random or runs elsewhere yet
    keys = ("method", "views", "size", "up", "renderer")
    config = configured(RunConfig(), arguments, {key: getattr(arguments, key) for key in keys})
    references = [parse_reference(text, arguments.view) for text in arguments.ref]
    names = read_names(arguments.names) if arguments.names else None
    out = arguments.out or Path(f"{arguments.mesh.stem}_slime")
    result = run(arguments.mesh, references, out, config, names)
    if arguments.quiet:
        return 0
    _say(result.notes)
    share = result.report["area_share"]
    print(f"{len(result.labels.rows)} faces labelled: by area " + ", ".join(f"{v:.1%} {k}" for k, v in share.items()))
    print(f"look at {out / 'labels.png'}")
    return 0


def _transfer(arguments: argparse.Namespace) -> int:
    from slime3d.transfer_run import TransferRunConfig, run_transfer

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
        _say(report["notes"])
        rests = ", ".join(f"{key} {value:.2f}" for key, value in report.get("weights", {}).items() if value)
        rests = f" ({rests})" if rests else ""
        print(f"{arguments.out / name}: {report['mesh']['faces']} faces in {report['seconds']:.1f} s{rests}")
    return 0


def _eval(arguments: argparse.Namespace) -> int:
    from slime3d.evaluation import evaluate, pair_up, score_table, scores_entry
    from slimecore.files import write_json

    jobs = pair_up(arguments.predicted, arguments.truth, arguments.mesh)
    scores = [evaluate(predicted, truth, mesh, name) for name, predicted, truth, mesh in jobs]
    if arguments.json:
        write_json(arguments.json, scores_entry(scores))
    if not arguments.quiet:
        print(score_table(scores))
    return 0


def _say(notes: Sequence[str]) -> None:
    sys.stderr.writelines(f"note: {note}\n" for note in notes)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``slime3d``."""
    arguments = _parser().parse_args(argv)
    return guarded("slime3d", arguments.debug, lambda: arguments.action(arguments))
