"""Runs whose masks are frozen. Each case takes an empty folder and returns its masks as one integer array.

Only the three commands are used, so that a case survives every change of the code behind them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import trimesh
from PIL import Image

from slime3d.cli import main as slime3d
from slimecore.cli import main as slime
from slimevid.cli import main as slimevid

__all__ = ["CASES"]

ROOT = Path(__file__).resolve().parents[2]
WALKER = ROOT / "examples" / "walker"
OLD_PARTS = ROOT / "tests" / "golden" / "parts_2ef315f.safetensors"
Masks = npt.NDArray[np.integer]


def _run(main: Callable[[list[str]], int], *arguments: object) -> None:
    assert main([str(a) for a in arguments]) == 0


def _read(folder: Path) -> Masks:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def _segment_clip(folder: Path, *options: object) -> Masks:
    out = folder / "out"
    reference = () if "--ref" in options else ("--ref", WALKER / "reference.png")
    _run(slimevid, "run", WALKER / "clip.mp4", *reference, "--device", "cpu", "--out", out, *options)
    return _read(out / "masks")


def _truth(frame: int) -> Path:
    return WALKER / "truth" / f"{frame:05d}.png"


def clip_fast(folder: Path) -> Masks:
    """The example clip, preset fast."""
    return _segment_clip(folder, "--preset", "fast")


def clip_balanced(folder: Path) -> Masks:
    """The example clip, preset balanced."""
    return _segment_clip(folder)


def clip_quality(folder: Path) -> Masks:
    """The example clip, preset quality."""
    return _segment_clip(folder, "--preset", "quality", "--end", "32")


def clip_one_part(folder: Path) -> Masks:
    """All parts of the example's reference as one part, which takes other paths than several do."""
    mask = np.asarray(Image.open(WALKER / "reference.png")) > 0
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "one.png")
    return _segment_clip(folder, "--ref", folder / "one.png", "--end", "24")


def clip_resumed(folder: Path) -> Masks:
    """Two references and one part dropped. Then a third reference is added with --resume."""
    references = ("--ref", f"8={_truth(8)}", "--ref", f"40={_truth(40)}")
    common = ("--preset", "fast", *references, "--drop", "30=2", "--end", "48")
    _segment_clip(folder, *common)
    return _segment_clip(folder, *common, "--ref", f"24={_truth(24)}", "--resume")


def _baseline(name: str) -> Callable[[Path], Masks]:
    def case(folder: Path) -> Masks:
        return _segment_clip(folder, "--propagator", name, "--end", "10")

    case.__doc__ = f"The example clip by the propagator {name}."
    return case


def _pictures(folder: Path) -> Path:
    """Save some frames of the example clip, without a decoder of ours."""
    reader, pictures = cv2.VideoCapture(str(WALKER / "clip.mp4")), folder / "pictures"
    pictures.mkdir()
    for number in range(41):
        _, frame = reader.read()
        if number % 20 == 0:
            cv2.imwrite(str(pictures / f"{number:05d}.png"), frame)
    return pictures


def pictures_learned(folder: Path) -> Masks:
    """Parts learned from one picture, found in three."""
    pictures, parts = _pictures(folder), folder / "parts.safetensors"
    _run(slime, "learn", pictures / "00000.png", WALKER / "reference.png", "--device", "cpu", "--out", parts)
    _run(slime, "segment", parts, pictures, "--device", "cpu", "--out", folder / "out")
    return _read(folder / "out" / "masks")


def pictures_old_parts(folder: Path) -> Masks:
    """A parts file that an earlier release wrote, found in three pictures."""
    _run(slime, "segment", OLD_PARTS, _pictures(folder), "--device", "cpu", "--out", folder / "out")
    return _read(folder / "out" / "masks")


def _box(size: tuple[float, float, float], middle: tuple[float, float, float]) -> trimesh.Trimesh:
    return trimesh.creation.box(size, transform=trimesh.transformations.translation_matrix(middle)).subdivide()


def _table() -> tuple[trimesh.Trimesh, npt.NDArray[np.int64]]:
    """A table: its top is part 2, its legs are part 5."""
    legs = [_box((0.12, 0.8, 0.12), (x, 0, z)) for x in (-0.6, 0.6) for z in (-0.4, 0.4)]
    pieces = [_box((1.5, 0.1, 1.1), (0, 0.45, 0)).subdivide(), *legs]
    values = np.repeat([2, 5, 5, 5, 5], [len(piece.faces) for piece in pieces])
    return trimesh.util.concatenate(pieces), values


def _snowman(widths: tuple[float, float, float] = (0.5, 0.36, 0.24)) -> tuple[trimesh.Trimesh, npt.NDArray[np.int64]]:
    """Three balls and a nose, parts 1 to 4, each with a colour of its own."""
    pieces, height = [], 0.0
    for radius in widths:
        ball = trimesh.creation.icosphere(3, radius)
        ball.apply_translation((0, height + radius, 0))
        pieces.append(ball)
        height += 1.7 * radius
    nose = trimesh.creation.cone(0.06, 0.3, sections=24)
    nose.apply_translation((0, height - 0.7 * widths[2], 0.8 * widths[2]))
    pieces.append(nose)
    colors = ((230, 230, 240), (200, 210, 230), (240, 240, 240), (240, 120, 20))
    for piece, color in zip(pieces, colors, strict=True):
        piece.visual.face_colors = (*color, 255)
    return trimesh.util.concatenate(pieces), np.repeat([1, 2, 3, 4], [len(piece.faces) for piece in pieces])


def _label(folder: Path, mesh: trimesh.Trimesh, values: npt.NDArray[np.int64], *options: object) -> Path:
    """Annotate view 0 of a mesh exactly, and label its faces."""
    path, views, out = folder / "mesh.ply", folder / "views", folder / "out"
    mesh.export(path)
    small = ("--views", "6", "--size", "256")
    _run(slime3d, "render", path, "--out", views, *small)
    ids = np.load(next(views.rglob("view_000.faces.npy")))
    mask = np.where(ids >= 0, values[ids], 0).astype(np.uint8)
    Image.fromarray(mask).save(folder / "mask.png")
    (folder / "names.json").write_text(json.dumps({int(v): f"part {v}" for v in np.unique(values)}))
    more = ("--names", folder / "names.json", "--set", "turntable_frames=0")
    _run(slime3d, "run", path, "--ref", folder / "mask.png", "--out", out, *small, *more, *options)
    return out


def mesh_table(folder: Path) -> Masks:
    """A table of five boxes."""
    return np.load(_label(folder, *_table()) / "face_labels.npy")


def mesh_snowman(folder: Path) -> Masks:
    """A coloured snowman of four bodies."""
    return np.load(_label(folder, *_snowman()) / "face_labels.npy")


def mesh_walk(folder: Path) -> Masks:
    """The snowman by the random walk alone."""
    return np.load(_label(folder, *_snowman(), "--method", "walk") / "face_labels.npy")


def mesh_transfer(folder: Path) -> Masks:
    """The snowman's parts on a slimmer one, which is turned and larger."""
    source = _label(folder, *_snowman())
    other, _ = _snowman((0.45, 0.4, 0.26))
    other.apply_scale(3.0)
    other.apply_transform(trimesh.transformations.rotation_matrix(0.4, (0, 1, 0)))
    other.export(folder / "other.ply")
    small = ("--views", "4", "--size", "128")
    _run(slime3d, "transfer", source, folder / "other.ply", "--device", "cpu", "--out", folder / "moved", *small)
    return np.load(next((folder / "moved").rglob("face_labels.npy")))


CASES: dict[str, Callable[[Path], Masks]] = {
    case.__name__: case
    for case in (
        clip_fast,
        clip_balanced,
        clip_quality,
        clip_one_part,
        clip_resumed,
        pictures_learned,
        pictures_old_parts,
        mesh_table,
        mesh_snowman,
        mesh_walk,
        mesh_transfer,
    )
} | {f"clip_{name}": _baseline(name) for name in ("copy", "flow_warp", "per_frame", "memory_only")}
