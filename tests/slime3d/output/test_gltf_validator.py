"""GLBs that ``slime3d run`` writes, read by Khronos' glTF validator (``npm ci`` in tests/validators installs it)."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

import slime3d.run.pipeline  # noqa: F401 # a fixture patches this module by its dotted name, so it must be there
from slime3d.cli import main
from slime3d.io.mesh import Mesh
from slime3d.output.glb import Piece, glb_bytes
from slimecore.io.masks import write_mask

pytestmark = pytest.mark.npm

VALIDATORS = Path(__file__).resolve().parents[2] / "validators"
ERROR, WARNING = 0, 1  # severities of the validator; 2 is information, 3 a hint
ACCEPTED_WARNINGS: dict[str, str] = {}  # code of the validator: why our files may have it


def validate(*paths: Path) -> list[dict]:
    """Return the validator's report on each file."""
    if shutil.which("node") is None:
        pytest.fail("node is not installed; tests marked npm need Node.js 18 or newer")
    if not (VALIDATORS / "node_modules" / "gltf-validator").is_dir():
        pytest.fail("the glTF validator is not installed; run: npm ci --prefix tests/validators")
    command = ["node", str(VALIDATORS / "gltf_validator.mjs"), *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def complaints(report: dict) -> list[str]:
    """Return errors and warnings of a report, without accepted warnings."""
    return [
        f"{m['code']} at {m.get('pointer', m.get('offset'))}: {m['message']}"
        for m in report["issues"]["messages"]
        if m["severity"] <= WARNING and not (m["severity"] == WARNING and m["code"] in ACCEPTED_WARNINGS)
    ]


def grid(n=4):
    """Return corners and faces of a flat grid of 2 n n triangles."""
    y, x = np.mgrid[: n + 1, : n + 1]
    quads = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()[:, None]
    faces = np.concatenate([quads + np.array([0, 1, n + 2]), quads + np.array([0, n + 2, n + 1])])
    return np.stack([x.ravel() / n, y.ravel() / n, 0 * x.ravel()], 1), faces


def save_mesh(path: Path, look: str) -> None:
    shape = trimesh.Trimesh(*grid(), process=False)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 4)).astype(np.uint8)
    pixels[..., 3] = {"cut-outs": 255 * (np.arange(6) % 2), "glass": 120}.get(look, 255)
    if look == "vertex colours":
        shape.visual = trimesh.visual.ColorVisuals(shape, vertex_colors=np.resize(pixels, (len(shape.vertices), 4)))
    elif look != "clay":
        image = Image.fromarray(pixels if look in {"cut-outs", "glass"} else pixels[..., :3])
        shape.visual = trimesh.visual.TextureVisuals(uv=shape.vertices[:, :2] * 1.5, image=image)
    shape.export(path)


@pytest.mark.parametrize("look", ["clay", "vertex colours", "texture", "cut-outs", "glass"])
def test_exported_meshes_are_valid_gltf(look: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slime3d.output.results._SHEET_VIEWS", 1)
    monkeypatch.setattr("slime3d.output.results._SHEET_SIZE_PIXELS", 16)
    mesh, mask, views = tmp_path / "mesh.glb", tmp_path / "mask.png", ["--views", "2", "--size", "64"]
    save_mesh(mesh, look)
    assert main(["render", str(mesh), "--out", str(tmp_path / "views"), *views]) == 0
    ids = np.load(tmp_path / "views" / "view_000.faces.npy")
    write_mask(mask, np.where(ids >= 0, ids % 3, 0))
    command = ["run", str(mesh), "--ref", str(mask), *views, "--quiet", "--part-files", "glb"]
    for setting in ("turntable_frames=0", "viewer_faces=0", "appearance.weight=0"):
        command += ["--set", setting]
    for out, options in {"plain": [], "kept": ["--keep-texture"]}.items():
        assert main([*command, "--out", str(tmp_path / out), *options]) == 0
    files = [path for out in ("plain", "kept") for path in sorted((tmp_path / out).rglob("*.glb"))]
    assert len(files) == 2 * (1 + 3)  # all parts in one file, and a file each of background and two parts
    reports = validate(*files)
    assert {Path(report["path"]): complaints(report) for report in reports} == {path: [] for path in files}
    whole = [report["info"] for report in reports if Path(report["path"]).name == "segmented.glb"]
    assert [info["totalTriangleCount"] for info in whole] == [32, 32]
    assert [info["hasTextures"] for info in whole] == [False, look not in {"clay", "vertex colours"}]


def test_the_validator_reports_broken_files(tmp_path: Path) -> None:
    """A report without complaints says something: an index beyond the last vertex is an error."""
    vertices, faces = grid()
    mesh = Mesh(vertices, faces, np.zeros(len(faces), np.int32), ("grid",))
    data = bytearray(glb_bytes(mesh, [Piece("all", 1, (200, 0, 0), np.arange(32))]))
    data[-4:] = (10**6).to_bytes(4, "little")
    path = tmp_path / "broken.glb"
    path.write_bytes(data)
    (report,) = validate(path)
    assert any("ACCESSOR_INDEX_OOB" in text for text in complaints(report))
