"""Given cameras: written, read, rendered through, annotated from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from slime3d.cli import main
from slime3d.rendering.cameras import Cameras, cameras_entry, orbit_cameras, read_cameras
from slimecore.errors import InputError
from slimecore.io.masks import write_mask

pytestmark = pytest.mark.usefixtures("small_sheets")


def own_cameras(mesh, size=(60, 100)):
    """Two cameras that no view has: a wide picture, turned about the axis they look along."""
    whole = orbit_cameras(mesh.used(), 3, 64)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]]
    centre = np.array([[55.0, 31.0], [50.0, 28.0]])
    return Cameras(turn @ whole.pose[[2, 0]], whole.focal * 0.8, centre, size)


@pytest.fixture
def scene(dumbbell, save, tmp_path):
    path = save(dumbbell, tmp_path / "bar.ply")
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(cameras_entry(own_cameras(dumbbell))))
    x = dumbbell.middles()[:, 0]
    return path, file, np.where(np.abs(x) < 0.54, 7, np.where(x < 0, 4, 9))


def test_given_cameras_render_and_label(scene, dumbbell, tmp_path):
    """Images are rendered and masks read through given cameras."""
    path, file, truth = scene
    out = tmp_path / "v"
    assert main(["render", str(path), "--out", str(out), "--cameras", str(file)]) == 0
    assert sorted(p.name for p in out.glob("*.png")) == ["contact_sheet.png", "view_000.png", "view_001.png"]
    assert np.asarray(Image.open(out / "view_000.png")).shape == (60, 100, 3)
    ids = np.load(out / "view_001.faces.npy")
    pixels, _ = own_cameras(dumbbell)[1:].project(dumbbell.middles())
    seen = np.unique(ids)[1:]
    assert len(seen) > 50
    y, x = np.argwhere(ids == seen[40]).mean(0) + 0.5
    assert np.hypot(*(pixels[0, seen[40]] - [x, y])) < 3
    mask = tmp_path / "m.png"
    write_mask(mask, np.where(ids >= 0, truth[ids], 0))
    command = ["run", str(path), "--cameras", str(file), "--set", "turntable_frames=0", "--quiet"]
    assert main([*command, "--ref", f"1={mask}", "--out", str(tmp_path / "o")]) == 0
    labels = np.load(tmp_path / "o" / "face_labels.npy")
    np.testing.assert_array_equal(labels[seen], truth[seen])
    assert (labels == truth).mean() > 0.9
    written = json.loads((tmp_path / "o" / "cameras.json").read_text())
    assert written["annotated"] == [1]
    back = read_cameras(tmp_path / "o" / "cameras.json")
    np.testing.assert_allclose(back.pose, own_cameras(dumbbell).pose)
    again = [
        "run",
        str(path),
        "--cameras",
        str(tmp_path / "o" / "cameras.json"),
        "--set",
        "turntable_frames=0",
        "--quiet",
    ]
    assert main([*again, "--ref", f"1={mask}", "--out", str(tmp_path / "p")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "p" / "face_labels.npy"), labels)


def test_cameras_of_render_reproduce_views(scene, tmp_path):
    """The cameras of a render stand for its views."""
    path, _, truth = scene
    views = tmp_path / "v"
    assert main(["render", str(path), "--out", str(views), "--views", "5", "--size", "64", "--up", "z"]) == 0
    ids = np.load(views / "view_003.faces.npy")
    write_mask(tmp_path / "m.png", np.where(ids >= 0, truth[ids], 0))
    base = ["run", str(path), "--ref", f"3={tmp_path / 'm.png'}", "--set", "turntable_frames=0", "--quiet"]
    assert main([*base, "--views", "5", "--size", "64", "--up", "z", "--out", str(tmp_path / "a")]) == 0
    assert main([*base, "--cameras", str(views / "cameras.json"), "--out", str(tmp_path / "b")]) == 0
    for name in ("face_labels.npy", "segmented.glb"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def changed(entry, **more):
    return json.dumps({**entry, **more})


def test_invalid_cameras_error_single_line(scene, dumbbell, tmp_path, capsys):
    """Invalid cameras are refused in a single line."""
    path, file, _ = scene
    entry = json.loads(file.read_text())
    behind, skewed = json.loads(file.read_text()), json.loads(file.read_text())
    for view in behind["views"]:
        view["pose"] = (np.diag([-1.0, 1, -1, 1]) @ np.array(view["pose"])).tolist()
    skewed["views"][1]["pose"][0][0] = 3.0
    mirrored = json.loads(file.read_text())
    mirrored["views"][0]["pose"] = (np.diag([-1.0, 1, 1, 1]) @ np.array(entry["views"][0]["pose"])).tolist()
    cases = {
        "behind every camera": json.dumps(behind),
        "view 1 is no rotation": json.dumps(skewed),
        "view 0 is no rotation": json.dumps(mirrored),
        "16 .. 8192": changed(entry, size=[4, 4]),
        "no cameras.json": changed(entry, focal="wide"),
        "poses that are no numbers": changed(entry, focal=0),
    }
    for message, text in cases.items():
        file.write_text(text)
        assert main(["render", str(path), "--out", str(tmp_path / "o"), "--cameras", str(file)]) == 2, message
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "o").exists()
    file.unlink()
    with pytest.raises(InputError, match="no such file"):
        read_cameras(file)


def test_missing_camera_view_named(scene, tmp_path, capsys):
    """A view that the cameras do not have is named."""
    path, file, _ = scene
    mask = tmp_path / "m.png"
    write_mask(mask, np.ones((60, 100), int))
    assert main(["run", str(path), "--cameras", str(file), "--ref", f"2={mask}", "--out", str(tmp_path / "o")]) == 2
    assert "there is no view 2, views are 0 .. 1" in capsys.readouterr().err
