"""``slimevid eval-tracks``: joints and the parts that hold them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from slimecore.errors import InputError
from slimevid.cli import main
from slimevid.evaluation.joint_tracks import measure_tracks, read_joints


def run(*arguments):
    return main(["eval-tracks", *map(str, arguments)])


@pytest.fixture
def scene(tmp_path, write):
    """Two parts side by side move right, 4 px a frame, over six frames; joints sit inside them."""
    masks = np.zeros((6, 40, 80), np.uint8)
    for t in range(6):
        masks[t, 10:30, 10 + 4 * t : 20 + 4 * t] = 1
        masks[t, 10:30, 20 + 4 * t : 30 + 4 * t] = 2
    joints = [
        {"frame": f"{t:05d}", "joints": [[5, 15.5 + 4 * t, 20.0], [9, 25.2 + 4 * t, 12.9], [11, 2.0, 2.0]]}
        for t in (1, 2, 4, 5)
    ]
    (tmp_path / "dog_480p.json").write_text(json.dumps(joints))
    return write(tmp_path / "r" / "dog", masks), tmp_path / "dog_480p.json", masks


def test_perfect_masks_hold_every_joint(scene, tmp_path):
    """Perfect masks hold every joint, and the baselines have their known values."""
    folder, joints, _ = scene
    (score,) = measure_tracks(folder.parent, joints)
    assert (score.sequence, score.reference, score.parts, score.samples) == ("dog", "00001", 2, 6)
    assert score.mean("held") == score.mean("near") == score.mean("on_object") == 1.0
    assert score.mean("chance") == 0.5
    # unmoved, the reference mask spans x 14..23 and 24..33; joint 5 is at 23.5, 31.5, 35.5, joint 9 at 33.2, 41.2, 45.2
    by_joint = {j.joint: j.unmoved for j in score.joints}
    assert by_joint == {5: pytest.approx(1 / 3), 9: pytest.approx(1 / 3)}
    assert "joints 11 lie on no part" in score.notes[0]


def test_swapped_parts_hold_object_only(scene, write, tmp_path):
    """If two parts are swapped, joints lie on the object but not on their parts."""
    folder, joints, masks = scene
    swapped = masks.copy()
    swapped[2:] = np.array([0, 2, 1], np.uint8)[masks[2:]]
    write(folder, swapped)
    (score,) = measure_tracks(folder.parent, joints, tolerance=0.0)
    assert score.mean("held") == 0.0
    assert score.mean("on_object") == 1.0
    (wide,) = measure_tracks(folder.parent, joints, tolerance=0.3)  # 0.3 * sqrt(400) = 6 px reach the other part
    assert wide.tolerance_px == pytest.approx(6.0)
    assert wide.mean("near") == 1.0


def test_nearness_measured_from_pixel_centres(scene, write):
    """Nearness is measured from pixel centres."""
    folder, joints, masks = scene
    moved = masks.copy()
    moved[5] = 0
    moved[5, 10:30, 40:42] = 1  # joint 5 is at x 35.5: centres from 40.5 on are 5 px away
    moved[5, 0, 0] = 2
    write(folder, moved)
    for tolerance, near in ((0.24, 2 / 3), (0.2525, 1.0)):  # of sqrt(400) = 20 px: 4.8 and 5.05 px
        (score,) = measure_tracks(folder.parent, joints, tolerance=tolerance)
        assert {j.joint: j.near for j in score.joints}[5] == pytest.approx(near)


def test_eval_tracks_prints_and_writes_json(scene, tmp_path, capsys):
    """``slimevid eval-tracks`` prints a table and writes JSON."""
    folder, joints, _ = scene
    out = tmp_path / "t.json"
    assert run(folder.parent, "--joints", joints, "--json", out) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split() == ["dog", "100.0", "100.0", "100.0", "33.3", "50.0", "2", "2", "6"]
    content = json.loads(out.read_text())
    assert content["held"] == 1.0
    assert [j["joint"] for j in content["sequences"]["dog"]["joints"]] == [5, 9]
    assert run(folder, "--joints", joints, "--ref-frame", "00004", "--quiet") == 0  # one sequence's masks themselves


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing mask", "1 of 4 frames with joints have no mask: 00004"),
        ("no masks", "no masks; RESULTS holds"),
        ("not joints", "expected [{"),
        ("no file", "no such file"),
        ("reference", "no frame '00003' with joints"),
        ("size", "the reference frame 80x40"),
        ("tolerance", "--tolerance is a share"),
        ("sequence", "no joints of 'cat'"),
        ("empty", "no joint lies on a part"),
    ],
)
def test_eval_tracks_bad_input_single_line(change, message, scene, write, tmp_path, capsys):
    """Bad input gives a single line."""
    folder, joints, masks = scene
    if change == "missing mask":
        (folder / "00004.png").unlink()
    elif change == "no masks":
        folder.rename(tmp_path / "elsewhere")
    elif change == "not joints":
        joints.write_text('{"a": 1}')
    elif change == "no file":
        joints = tmp_path / "none.json"
    elif change == "size":
        write(folder, [masks[2][:20]], first=2)
    elif change == "empty":
        write(folder, masks * 0)
    options = {
        "reference": ["--ref-frame", "00003"],
        "tolerance": ["--tolerance", 3],
        "sequence": ["--sequences", "cat"],
    }
    assert run(folder.parent, "--joints", joints, *options.get(change, [])) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.data
def test_badja_joints_lie_on_animals(data):
    """BADJA's joints lie on the animals annotated in DAVIS.

    The object masks of DAVIS are taken as a single part: joints on the animal stay on it, however it moves.
    """
    scores = measure_tracks(data / "DAVIS" / "Annotations" / "480p", data / "badja")
    assert [s.sequence for s in scores] == ["camel", "dog", "horsejump-high"]
    for score in scores:
        assert score.parts == 1
        assert score.mean("held") > 0.8
        assert score.mean("unmoved") < score.mean("held")
        assert score.mean("chance") == 1.0


def test_published_joint_format_read(scene, tmp_path):
    """Joints are also read in the format in which they were published."""
    _, joints, _ = scene
    (plain,) = joints.glob("*.json") if joints.is_dir() else [joints]
    entries = [
        {
            "image_path": f"DAVIS/JPEGImages/Full-Resolution/dog/{entry['frame']}.jpg",
            "joints": [next(([y, x] for i, x, y in entry["joints"] if i == j), [0, 0]) for j in range(12)],
            "visibility": [any(i == j for i, _, _ in entry["joints"]) for j in range(12)],
        }
        for entry in json.loads(plain.read_text())
    ]
    (tmp_path / "published.json").write_text(json.dumps(entries))
    assert read_joints(tmp_path / "published.json") == read_joints(plain)
    del entries[0]["visibility"]
    (tmp_path / "published.json").write_text(json.dumps(entries))
    with pytest.raises(InputError, match=r"published\.json: expected .* or a file of BADJA: KeyError\('visibility'\)"):
        read_joints(tmp_path / "published.json")


@pytest.mark.parametrize("x", ["NaN", "Infinity", "1e30"])
def test_absurd_joints_refused(x, tmp_path):
    """Joints at places that are no numbers, or outside any picture, are refused."""
    path = tmp_path / "joints.json"
    path.write_text(f'[{{"frame": "0", "joints": [[1, {x}, 2]]}}, {{"frame": "1", "joints": [[1, 2, 2]]}}]')
    with pytest.raises(InputError, match="joint 1 of frame 0"):
        read_joints(path)
