"""The commands from end to end on meshes made by hand, and invalid input that leaves no output."""

from __future__ import annotations

import json

import numpy as np
import pytest
import trimesh
from PIL import Image

import slime3d.io.file_headers as headers
from slime3d.cli import main
from slime3d.config import RunConfig
from slime3d.io.label_files import read_label_file
from slime3d.rendering.cameras import read_cameras
from slime3d.transfer.run import TransferRunConfig
from slimecore.config import apply, parse_assignments
from slimecore.errors import ConfigError
from slimecore.io.masks import write_mask
from tests.slime3d.commands import refused


@pytest.fixture
def bar(dumbbell, save, tmp_path):
    """A rendered dumbbell: mesh file, folder of views, true part values 4, 7, 9 of its faces."""
    path = save(dumbbell, tmp_path / "bar.ply")
    out = tmp_path / "views"
    assert main(["render", str(path), "--out", str(out), "--views", "6", "--size", "96"]) == 0
    x = dumbbell.middles()[:, 0]
    return path, out, np.where(np.abs(x) < 0.54, 7, np.where(x < 0, 4, 9))


def draw(views, truth, view, name=None):
    ids = np.load(views / f"view_{view:03d}.faces.npy")
    path = views / (name or f"mask_{view}.png")
    write_mask(path, np.where(ids >= 0, truth[ids], 0))
    return path


def run(path, out, *more):
    return main(
        ["run", str(path), "--out", str(out), "--views", "6", "--size", "96", "--set", "turntable_frames=4", *more]
    )


def test_render_writes_all_outputs(bar, dumbbell):
    """``slime3d render`` writes views, face ids, cameras and a contact sheet."""
    _, out, _ = bar
    names = {p.name for p in out.iterdir()}
    expected = {f"view_{i:03d}{s}" for i in range(6) for s in (".png", ".faces.npy")}
    assert names == expected | {"cameras.json", "contact_sheet.png"}
    ids = np.load(out / "view_003.faces.npy")
    assert ids.dtype == np.int32
    assert ids.shape == (96, 96)
    assert -1 == ids.min() < ids.max() < len(dumbbell.faces)
    picture = np.asarray(Image.open(out / "view_003.png"))
    assert picture.shape == (96, 96, 3)
    assert (picture[ids < 0] == 255).all()
    assert (picture[ids >= 0] < 255).any(-1).all()
    assert json.loads((out / "cameras.json").read_text())["n_faces"] == len(dumbbell.faces)


def test_run_labels_faces_and_writes_outputs(bar, dumbbell, tmp_path, capsys):
    """``slime3d run`` labels every face and writes every output."""
    path, views, truth = bar
    names = tmp_path / "names.json"
    names.write_text('{"4": "left", "7": "grip", "9": "right"}')
    out = tmp_path / "out"
    assert run(path, out, "--ref", str(draw(views, truth, 0)), "--names", str(names)) == 0
    assert "annotated" in capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == {
        "cameras.json", "config.yaml", "face_labels.npy", "labels.json", "labels.png", "report.json", "segmented.glb",
        "turntable.mp4", "viewer.html"
    }  # fmt: skip
    labels = np.load(out / "face_labels.npy")
    assert labels.dtype == np.int32
    assert (labels == truth).mean() > 0.97
    seen = np.unique(np.load(views / "view_000.faces.npy"))[1:]
    np.testing.assert_array_equal(labels[seen], truth[seen])
    entry = json.loads((out / "labels.json").read_text())
    np.testing.assert_array_equal(entry["labels"], labels)
    assert np.flatnonzero(entry["seen"]).tolist() == seen.tolist()
    assert (np.array(entry["source"])[seen] == 0).all()
    assert [p["name"] for p in entry["parts"]] == ["background", "left", "grip", "right"]
    assert sum(p["faces"] for p in entry["parts"]) == len(truth)
    report = json.loads((out / "report.json").read_text())
    assert report["faces"]["annotated"] == len(seen)
    assert sum(report["area_share"].values()) == pytest.approx(1, abs=1e-3)
    scene = trimesh.load_scene(out / "segmented.glb", process=False)
    for name, value in (("left", 4), ("grip", 7), ("right", 9)):
        piece = scene.geometry[scene.graph[name][1]]
        assert piece.visual.material.name == name
        corners = dumbbell.vertices[dumbbell.faces[labels == value]]
        np.testing.assert_allclose(piece.vertices[piece.faces], corners, atol=1e-6)
    assert set(scene.graph.nodes_geometry) == {"left", "grip", "right"}
    assert main(["eval", str(out), str(out), "--quiet"]) == 0


def test_run_is_deterministic(bar, tmp_path):
    """The same command gives the same labels."""
    path, views, truth = bar
    mask = draw(views, truth, 2)
    for name in "ab":
        assert run(path, tmp_path / name, "--ref", str(mask), "--view", "2", "--quiet") == 0
    for file in ("face_labels.npy", "labels.json", "labels.png"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_written_config_repeats_run(bar, tmp_path):
    """The written configuration repeats the run."""
    path, views, truth = bar
    mask = draw(views, truth, 0)
    assert run(path, tmp_path / "a", "--ref", str(mask), "--set", "walk.concave_scale=0.5") == 0
    again = ["run", str(path), "--ref", str(mask), "--config", str(tmp_path / "a" / "config.yaml")]
    assert main([*again, "--out", str(tmp_path / "b"), "--quiet"]) == 0
    assert "concave_scale: 0.5" in (tmp_path / "b" / "config.yaml").read_text()
    assert (tmp_path / "a" / "labels.json").read_bytes() == (tmp_path / "b" / "labels.json").read_bytes()


def test_votes_of_several_views_summed(bar, tmp_path):
    """More views help, and their votes are summed."""
    path, views, truth = bar
    refs = [f"--ref={v}={draw(views, truth, v)}" for v in range(6)]
    assert run(path, tmp_path / "o", *refs) == 0
    labels = np.load(tmp_path / "o" / "face_labels.npy")
    assert (labels == truth).mean() > 0.99
    assert json.loads((tmp_path / "o" / "report.json").read_text())["area_share"]["annotated"] > 0.8


def test_masks_of_other_size_fitted(bar, tmp_path):
    """Masks of another size are fitted."""
    path, views, truth = bar
    mask = draw(views, truth, 0)
    small = Image.open(mask)
    small.resize((192, 192), Image.Resampling.NEAREST).save(views / "large.png")
    assert run(path, tmp_path / "o", "--ref", str(views / "large.png")) == 0
    assert (np.load(tmp_path / "o" / "face_labels.npy") == truth).mean() > 0.97


def test_colours_consistent_across_masks(bar, tmp_path):
    """Colours mean the same in all masks."""
    path, views, truth = bar
    tones = {4: (250, 120, 20), 7: (20, 200, 240), 9: (200, 20, 250)}
    for view in (0, 3):
        ids = np.load(views / f"view_{view:03d}.faces.npy")
        values = np.where(ids >= 0, truth[ids], 0)
        rgb = np.zeros((96, 96, 3), np.uint8)
        for value, tone in tones.items():
            if (view, value) != (3, 7):  # one colour is missing in the second mask
                rgb[values == value] = tone
        Image.fromarray(rgb).save(views / f"rgb_{view}.png")
    assert run(path, tmp_path / "o", f"--ref=0={views / 'rgb_0.png'}", f"--ref=3={views / 'rgb_3.png'}",
               "--set", "unlabelled_faces=ignore") == 0  # fmt: skip
    entry = json.loads((tmp_path / "o" / "labels.json").read_text())
    color = {p["value"]: tuple(p["color"]) for p in entry["parts"]}
    labels = np.array(entry["labels"])
    right = [color[int(v)] == tones[int(t)] for v, t in zip(labels, truth, strict=True)]
    assert np.mean(right) > 0.95


@pytest.mark.parametrize(("missing", "share"), [("outline", 0.0), ("bulb", 0.2)])
def test_zero_on_object_ignored_or_background(bar, tmp_path, missing, share):
    """Zero on the object is the rest of the object or, for a few pixels, a careless outline."""
    path, views, truth = bar
    mask = draw(views, truth, 0)
    values = np.array(Image.open(mask))
    if missing == "bulb":
        values[values == 9] = 0
    else:
        inside = np.argwhere(values > 0)[:3]
        values[tuple(inside.T)] = 0
    write_mask(mask, values)
    assert run(path, tmp_path / "o", "--ref", str(mask)) == 0
    labels = np.load(tmp_path / "o" / "face_labels.npy")
    assert (labels == 0).mean() >= share
    assert ((labels == 0).any()) == (missing == "bulb")
    notes = json.loads((tmp_path / "o" / "report.json").read_text())["notes"]
    assert any("taken as unknown" in n for n in notes) == (missing == "outline")


@pytest.mark.parametrize("axis", [["--up", "-z"], ["--up=-z"]])
def test_negative_up_axis_accepted(bar, tmp_path, axis):
    """An axis that points down is not taken for an option.

    Both spellings, though argparse takes the word that follows for an option of that name.
    """
    path, *_ = bar
    assert main(["render", str(path), "--out", str(tmp_path / "views"), "--views", "2", "--size", "32", *axis]) == 0
    pose = read_cameras(tmp_path / "views" / "cameras.json").pose
    assert (pose[:, 1, 2] < 0).all()  # the picture's upward axis in the world


def test_invalid_masks_leave_no_output(bar, tmp_path, capsys):
    """Invalid masks and views are refused in a single line and leave no output."""
    path, views, truth = bar
    good = draw(views, truth, 0)
    out = tmp_path / "never"
    base = ["run", path, "--out", out, "--views", 6, "--size", 96]
    beside = views / "beside.png"
    write_mask(beside, np.where(np.load(views / "view_000.faces.npy") < 0, 5, 0))
    write_mask(views / "wide.png", np.ones((48, 96), int))
    write_mask(views / "empty.png", np.zeros((96, 96), int))
    refused(capsys, [*base, "--ref", beside], "the mask marks no face of view 0", out)
    refused(capsys, [*base, "--ref", views / "wide.png"], "another aspect ratio", out)
    refused(capsys, [*base, "--ref", views / "empty.png"], "the mask is empty", out)
    refused(capsys, [*base, "--ref", views / "gone.png"], "no such file", out)
    refused(capsys, [*base, "--ref", f"6={good}"], "there is no view 6, views are 0 .. 5", out)
    refused(capsys, [*base, "--ref", good, "--view", "-1"], "--view must be 0 or more", out)
    refused(capsys, [*base, "--ref", good, "--ref", f"0={good}"], "view 0 has two masks", out)
    refused(capsys, [*base, "--ref", good, "--method", "magic"], "method must be one of", out)
    refused(capsys, [*base, "--ref", good, "--up", "w"], "--up must be one of", out)
    refused(capsys, [*base, "--ref", good, "--set", "walk.concav=1"], "concave", out)
    refused(capsys, [*base, "--ref", good, "--renderer", "opengl"], "unknown renderer", out)
    taken = tmp_path / "file"
    taken.touch()
    refused(capsys, ["run", path, "--out", taken, "--views", 6, "--size", 96, "--ref", good], "cannot write into")
    refused(capsys, ["render", path, "--out", out, "--views", 0], "--views", out)
    refused(capsys, ["render", path, "--out", out, "--shading", "textured"], "no such colours", out)


def test_mesh_beyond_memory_refused_early(bar, tmp_path, capsys, monkeypatch):
    """A mesh beyond memory is refused before it is processed."""
    path, _, _ = bar
    monkeypatch.setattr(headers, "free_memory", lambda: 1000)
    refused(capsys, ["render", path, "--out", tmp_path / "o"], "faces need about", tmp_path / "o")
    monkeypatch.setattr(headers, "free_memory", lambda: None)
    assert main(["info", str(path)]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", "no face has any area"),
        ("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "no faces"),
        ("OFF\n0 0 0\n", ""),
    ],
)
def test_empty_mesh_error_single_line(tmp_path, capsys, text, message):
    """Meshes that show nothing are refused in a single line."""
    path = tmp_path / "m.off"
    path.write_text(text)
    refused(capsys, ["render", path, "--out", tmp_path / "o"], message, tmp_path / "o")
    refused(capsys, ["info", tmp_path], "it is a folder", tmp_path / "o")


def test_degenerate_faces_and_stray_vertices_handled(cube, save, tmp_path):
    """Faces without area and stray vertices are no obstacle."""
    from tests.slime3d.shapes import make_mesh

    odd = make_mesh(
        np.concatenate([cube.vertices, [[50, 50, 50], [np.nan, np.inf, 0]]]),
        np.concatenate([cube.faces, [[0, 0, 1], [2, 2, 2]]]),
    )
    path = save(odd, tmp_path / "odd.off")
    assert main(["render", str(path), "--out", str(tmp_path / "v"), "--views", "4", "--size", "64"]) == 0
    ids = np.load(tmp_path / "v" / "view_000.faces.npy")
    assert np.ptp(np.argwhere(ids >= 0), axis=0).max() > 40  # framed on the faces, not on the stray vertex
    write_mask(tmp_path / "m.png", np.where(ids >= 0, 3, 0))
    arguments = [
        "run",
        str(path),
        "--ref",
        str(tmp_path / "m.png"),
        "--views",
        "4",
        "--size",
        "64",
        "--set",
        "turntable_frames=0",
    ]
    assert main([*arguments, "--out", str(tmp_path / "o")]) == 0
    assert np.load(tmp_path / "o" / "face_labels.npy").tolist() == [3] * 14
    assert not (tmp_path / "o" / "turntable.mp4").exists()


@pytest.mark.data
def test_accuracy_baseline_on_real_meshes(mesh_data, tmp_path):
    """The accuracy baseline holds on real meshes.

    One view of a textured character and of an untextured body. The view is simply the first.
    """
    for name, folder, least in (("kaykit-mage.glb", "cc0_characters", 0.9), ("psb-teddy-161.off", "psb", 0.85)):
        path = mesh_data / folder / name
        views, out = tmp_path / name, tmp_path / f"{name}-out"
        assert main(["render", str(path), "--out", str(views), "--views", "1", "--size", "256"]) == 0
        truth = path.with_suffix(".labels.json")
        mask = draw(views, read_label_file(truth).values, 0)
        arguments = [
            "run",
            str(path),
            "--ref",
            str(mask),
            "--views",
            "1",
            "--size",
            "256",
            "--set",
            "turntable_frames=0",
        ]
        assert main([*arguments, "--out", str(out), "--quiet"]) == 0
        scores = tmp_path / "s.json"
        assert main(["eval", str(out), str(truth), "--json", str(scores), "--quiet"]) == 0
        assert json.loads(scores.read_text())["mean"]["rand_area"] > least


def test_mask_of_other_views_refused(bar, tmp_path, capsys):
    """A mask drawn on views rendered with other settings is refused.

    Drawn with the mesh one way up, read with it another: it would mark other faces without a sign of it.
    """
    path, views, truth = bar
    mask = draw(views, truth, 2)
    arguments = ("--ref", f"2={mask}", "--quiet")
    assert run(path, tmp_path / "o", *arguments, "--up", "z") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "says that view 2 was rendered from another side; give the same --views and --up" in error
    assert not (tmp_path / "o").exists()
    assert run(path, tmp_path / "o", *arguments, "--up", "z", "--cameras", str(views / "cameras.json")) == 0
    (views / "cameras.json").write_text("{}")
    assert run(path, tmp_path / "p", *arguments, "--up", "z") == 0


@pytest.mark.parametrize(
    "key",
    [
        *("walk.convex", "walk.convex_scale", "walk.bridge", "symmetry.share", "symmetry.min_matched_share"),
        *("appearance.views", "appearance.size", "appearance.seed"),
    ],
)
def test_removed_setting_says_so(key):
    with pytest.raises(ConfigError, match=f"'{key}' is no longer a setting"):
        apply(RunConfig(), parse_assignments([f"{key}=1"]), where="--set")


@pytest.mark.parametrize("key", ["transfer.functions", "transfer.prefer", "transfer.walk.bridge"])
def test_removed_transfer_setting_says_so(key):
    with pytest.raises(ConfigError, match=f"'{key}' is no longer a setting"):
        apply(TransferRunConfig(), parse_assignments([f"{key}=1"]), where="--set")
