"""``slime3d``: meshes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slimecore.cli_base import Parser, add_common, guarded, make_parser

__all__ = ["main"]


def _parser() -> Parser:
    parser, commands = make_parser("slime3d", "Label the faces of a mesh from one annotated view.")
    info = commands.add_parser(
        "info",
        help="check a mesh and say what it holds",
        description="Check a mesh and say what it holds: faces, vertices, nodes, size, degenerate faces.",
    )
    info.add_argument("mesh", type=Path, metavar="MESH", help="obj, glb, gltf, ply, off, stl ...")
    add_common(info)
    return parser


def _info(path: Path) -> int:
    from slime3d.mesh import load_mesh

    mesh = load_mesh(path)
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    positions = int(mesh.welded().max()) + 1
    print(f"faces     {len(mesh.faces)} ({int((mesh.areas() == 0).sum())} without area)")
    print(f"vertices  {len(mesh.vertices)} at {positions} positions")
    more = " ..." if len(mesh.node_names) > 8 else ""
    print(f"nodes     {len(mesh.node_names)}: {', '.join(mesh.node_names[:8])}{more}")
    print(f"size      {' x '.join(f'{side:.4g}' for side in high - low)}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``slime3d``."""
    arguments = _parser().parse_args(argv)
    return guarded("slime3d", arguments.debug, lambda: _info(arguments.mesh))
