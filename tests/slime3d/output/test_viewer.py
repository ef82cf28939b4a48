"""The viewer page holds the mesh and its labels, and its script (run by node) shows them."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import trimesh

from slime3d.io.materials import Appearance
from slime3d.io.mesh import Mesh
from slime3d.labelling.random_walk import FaceLabels
from slime3d.output.viewer import simplified, viewer_page
from slimecore.types import Parts
from tests.slime3d.shapes import from_trimesh

COLORS = np.array([[200, 200, 200], [10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
KINDS = {
    "position": "<u2",
    "normal": "i1",
    "row": "<u2",
    "confidence": "u1",
    "source": "u1",
    "own": "u1",
    "face": "<u4",
}


def labelled(mesh, names=("background", "leg", "arm", "none")):
    parts = Parts((0, 4, 7, 9), tuple(names), ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)))
    count = len(mesh.faces)
    rng = np.random.default_rng(1)
    labels = FaceLabels(
        np.arange(count) % 3, rng.uniform(0.3, 1, count).astype(np.float32), (np.arange(count) % 2).astype(np.uint8)
    )
    return labels, parts


def contents(page):
    blocks = dict(re.findall(r'<script type="[^"]+" id="(\w+)">(.*?)</script>', page, re.S))
    head = json.loads(blocks.pop("head"))
    return head, {k: np.frombuffer(base64.b64decode(v), KINDS[k]) for k, v in blocks.items()}


@pytest.fixture
def ball():
    return from_trimesh(trimesh.creation.icosphere(subdivisions=2))


def test_page_holds_mesh_and_labels(ball):
    """The page holds the mesh and its labels."""
    labels, parts = labelled(ball)
    head, data = contents(viewer_page(ball, "ball.ply", labels, parts, COLORS))
    assert head["mesh"] == "ball.ply"
    assert head["faces"] == head["shown"] == len(ball.faces)
    assert "face" not in data
    np.testing.assert_array_equal(data["row"], labels.rows)
    np.testing.assert_array_equal(data["source"], labels.source)
    np.testing.assert_allclose(data["confidence"] / 255, labels.confidence, atol=0.5 / 255)
    corners = np.array(head["low"]) + np.array(head["size"]) * data["position"].reshape(-1, 3, 3) / 65535
    np.testing.assert_allclose(corners, ball.vertices[ball.faces], atol=1e-4)
    np.testing.assert_allclose(data["normal"].reshape(-1, 3, 3) / 127, corners, atol=0.1)
    shares = [ball.areas()[labels.rows == row].sum() / ball.areas().sum() for row in range(4)]
    np.testing.assert_allclose([p["area"] for p in head["parts"]], shares, atol=1e-5)
    assert [p["faces"] for p in head["parts"]] == np.bincount(labels.rows, minlength=4).tolist()
    assert [p["shown"] for p in head["parts"]] == COLORS.tolist()
    assert head["parts"][2]["confidence"] == pytest.approx(labels.confidence[labels.rows == 2].mean(), abs=1e-3)


def test_page_up_axis_follows_setting(ball):
    """Up is up, whatever axis the file uses."""
    tall = Mesh(ball.vertices * [1, 1, 3], ball.faces, ball.node, ball.node_names)
    labels, parts = labelled(tall)
    head, _ = contents(viewer_page(tall, "x", labels, parts, COLORS, up="z"))
    assert np.argmax(head["size"]) == 1


def test_page_holds_file_colours(ball):
    """Colours of the file are in the page."""
    tones = np.random.default_rng(2).integers(0, 256, (len(ball.faces), 3)).astype(np.uint8)
    look = Appearance(np.repeat(tones[:, None], 3, 1), None, np.full(len(tones), -1, np.int32), ())
    mesh = Mesh(ball.vertices, ball.faces, ball.node, ball.node_names, look)
    labels, parts = labelled(mesh)
    _, data = contents(viewer_page(mesh, "x", labels, parts, COLORS))
    np.testing.assert_allclose(data["own"].reshape(-1, 3), tones, atol=1)


def test_page_loads_no_external_resources(ball):
    """The page loads nothing from elsewhere."""
    page = viewer_page(ball, "x", *labelled(ball), COLORS)
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|//cdn|@import|\bimport\b|fetch\(|XMLHttp|\ssrc=", page)
    assert re.findall(r'href="([^"]*)"', page) == ["data:,"]


def test_names_are_escaped(ball):
    """Names cannot break out of the page."""
    evil = '</script><script>alert("x")</script>'
    labels, parts = labelled(ball, ("background", evil, "<b>", "none"))
    page = viewer_page(ball, evil, labels, parts, COLORS)
    assert evil not in page
    head, _ = contents(page)
    assert head["mesh"] == head["parts"][1]["name"] == evil
    assert page.count("<script") == len(KINDS) - 2 + 1 + 1  # arrays without own and face, the head, the script


@pytest.mark.parametrize("limit", [1000, 3000])
def test_large_mesh_simplified(limit):
    """Large meshes are shown simplified."""
    mesh = from_trimesh(trimesh.creation.icosphere(subdivisions=5))
    rows = (mesh.middles()[:, 0] > 0).astype(np.int64)
    shown = simplified(mesh, rows, limit)
    assert limit / 4 < len(shown.face) <= limit
    assert (np.diff(shown.face) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(shown.corners, axis=-1), 1, atol=0.1)
    away = np.linalg.norm(shown.corners.mean(1) - mesh.middles()[shown.face], axis=1)
    assert away.max() < 0.25  # a face stands for its own place
    area = np.linalg.norm(np.cross(*np.diff(shown.corners, axis=1).transpose(1, 0, 2)), axis=1).sum() / 2
    assert area == pytest.approx(4 * np.pi, rel=0.15)
    labels, parts = labelled(mesh)
    head, data = contents(viewer_page(mesh, "x", labels, parts, COLORS, limit=limit))
    assert head["faces"] == len(mesh.faces)
    assert head["shown"] == len(data["face"]) <= limit
    np.testing.assert_array_equal(data["row"], labels.rows[data["face"]])


def test_page_size_bounded(ball):
    """The size of the page is bounded."""
    mesh = from_trimesh(trimesh.creation.icosphere(subdivisions=5))
    page = viewer_page(mesh, "x", *labelled(mesh), COLORS)
    assert len(page) < 20_000 + 4 / 3 * 31 * len(mesh.faces)


@pytest.fixture
def run_page(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to run the page's script")

    def run(page):
        path = tmp_path / "viewer.html"
        path.write_text(page, encoding="utf-8")
        stub = Path(__file__).with_name("viewer_stub.js")
        result = subprocess.run([node, str(stub), str(path)], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


def test_script_draws_and_hides_parts(ball, run_page):
    """The script draws every part and hides parts that are switched off."""
    labels, parts = labelled(ball)
    seen = run_page(viewer_page(ball, "ball.ply", labels, parts, COLORS))
    counts = np.bincount(labels.rows, minlength=4)
    starts = np.cumsum([0, *counts[:-1]])
    ranges = [[3 * int(s), 3 * int(c)] for s, c in zip(starts, counts, strict=True) if c]
    assert seen["first"] == seen["all"] == ranges
    assert seen["hidden"] == ranges[1:]
    assert seen["none"] == []
    assert seen["title"] == "ball.ply"
    assert [line[2] for line in seen["lines"]] == ["0 background", "4 leg", "7 arm"]  # none has no face
    order = np.argsort(labels.rows, kind="stable")
    assert seen["order"] == order.tolist()
    assert seen["picked"] == order[2]
    positions = np.array(seen["positions"]).reshape(-1, 3, 3) / 65535 * 2 - 1
    np.testing.assert_allclose(positions, ball.vertices[ball.faces[order]], atol=1e-3)
    colors = np.array(seen["colors"]).reshape(-1, 3, 4)
    np.testing.assert_array_equal(colors[:, 0, :3], COLORS[labels.rows[order]])
    np.testing.assert_array_equal(colors[:, 2, :3], colors[:, 0, :3])
    doubt = np.array(seen["confidence"]).reshape(-1, 3, 4)[:, 0, 2].astype(float)
    assert np.corrcoef(doubt, labels.confidence[order])[0, 1] > 0.999
    assert seen["modes"] == ["parts", "confidence", "source"]


def test_script_camera_matches_view_0(ball, run_page):
    """The script's camera looks from the side of view 0."""
    camera = run_page(viewer_page(ball, "x", *labelled(ball), COLORS))["camera"]
    eye = np.array(camera["eye"]) / np.linalg.norm(camera["eye"])
    expected = [np.sin(np.pi / 6) * np.cos(np.pi / 9), np.sin(np.pi / 9), np.cos(np.pi / 6) * np.cos(np.pi / 9)]
    np.testing.assert_allclose(eye, expected, atol=1e-9)
    matrix = np.array(camera["matrix"]).reshape(4, 4).T
    np.testing.assert_allclose((matrix @ [0, 0, 0, 1])[:2], 0, atol=1e-9)
    top = matrix @ [0, 1, 0, 1]
    assert top[1] / top[3] > 0.5  # up is up
    near, far = (matrix @ [*(sign * eye), 1] for sign in (1, -1))
    assert -1 < near[2] / near[3] < far[2] / far[3] < 1
    right = matrix @ [np.cos(np.pi / 6), 0, -np.sin(np.pi / 6), 1]
    assert right[0] / right[3] > 0.5
