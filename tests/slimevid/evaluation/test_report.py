"""Files, figures and comparison."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest
from PIL import Image

from slimevid.cli import main
from slimevid.evaluation.comparison import compare
from slimevid.evaluation.dataset import open_davis
from slimevid.evaluation.figures import draw_figures
from slimevid.evaluation.protocol import Evaluation, ObjectScore, Protocol, SequenceScore
from slimevid.evaluation.scoring import evaluate


def run(*arguments):
    return main(["eval", *map(str, arguments)])


@pytest.fixture
def scene(clip, davis, write, tmp_path):
    clips = {name: clip(7, 2, seed) for seed, name in enumerate(("one", "two", "three"))}
    root = davis(2017, {name: pair[0] for name, pair in clips.items()})
    for name, (truth, result) in clips.items():
        write(tmp_path / "r" / name, result)
        write(tmp_path / "copy" / name, [truth[0]] * 7)
    return root, tmp_path / "r", tmp_path / "copy"


def rows(path):
    return list(csv.reader(path.read_text().splitlines()))


def test_tables_have_official_names_and_columns(scene, tmp_path, capsys):
    """Tables have the official names and columns."""
    root, results, _ = scene
    report = tmp_path / "all.json"
    assert run(results, "--davis", root, "--year", 2017, "--json", report, "--strict", 1) == 0
    ours = evaluate(open_davis(root, 2017), results, Protocol(strict=1))
    head, figures = rows(results / "global_results-val.csv")
    assert ",".join(head) == "J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean,F-Recall,F-Decay"
    s = ours.summary
    assert figures == [f"{v:.3f}" for v in (s.jf, s.j.mean, s.j.recall, s.j.decay, s.f.mean, s.f.recall, s.f.decay)]
    head, *body = rows(results / "per-sequence_results-val.csv")
    assert head == ["Sequence", "J-Mean", "F-Mean"]
    assert body == [[o.name, f"{o.j.mean():.3f}", f"{o.f.mean():.3f}"] for o in ours.objects]
    assert [row[0] for row in body] == ["one_1", "one_2", "two_1", "two_2", "three_1", "three_2"]
    head, *body = rows(results / "per-frame_results-val.csv")
    assert head == ["Sequence", "Frame", "J", "F", "F-strict"]
    assert len(body) == 6 * 5
    assert body[0][:2] == ["one_1", "00001"]
    assert float(body[0][2]) == pytest.approx(ours.objects[0].j[0], abs=1e-11)
    content = json.loads(report.read_text())
    (result,) = content["results"]
    assert result["J&F"] == s.jf
    assert result["label"] == "r"
    assert result["sequences"]["two"]["objects"]["1"]["frames"]["J"] == ours.objects[2].j.tolist()
    assert content["comparison"] == []
    assert str(tmp_path) not in report.read_text()


def test_screen_table_names_protocol(scene, capsys):
    """The table on the screen says how much was measured, and how."""
    root, results, _ = scene
    assert run(results, "--davis", root, "--year", 2017) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["per", "cent", "frames", "J&F", "J", "recall", "decay", "F", "recall", "decay"]
    assert len(out) == 1 + 6 + 1 + 1
    assert out[-1].startswith("val, semi-supervised: 3 sequences, 6 objects, 15 frames")


def test_figures_drawn_deterministically(scene, tmp_path, capsys):
    """Figures are drawn, and are the same every time."""
    pytest.importorskip("matplotlib")
    root, results, copied = scene
    arguments = ["--davis", root, "--year", 2017, "--sequences", "one", "--quiet"]
    for name in ("f", "g"):
        assert run(results, copied, *arguments, "--figures", tmp_path / name) == 0
    drawn = sorted(p.name for p in (tmp_path / "f").iterdir())
    assert drawn == sorted(f"{n}.{k}" for n in ("one", "summary") for k in ("png", "svg"))
    for name in drawn:
        assert (tmp_path / "f" / name).read_bytes() == (tmp_path / "g" / name).read_bytes(), name
    with Image.open(tmp_path / "f" / "one.png") as picture:
        assert min(picture.size) > 400
    text = (tmp_path / "f" / "one.svg").read_text()
    for label in ("J (region), per cent", "F (boundary), per cent", "frame", "00001", "copy, object 2, mean"):
        assert label in text, label


def test_long_labels_leave_room(tmp_path):
    """Long labels leave room for the bars of a figure."""
    pytest.importorskip("matplotlib")
    several = [evaluation("a/long/path/" * 9 + str(i), [0.2]) for i in range(6)]
    assert len(draw_figures(tmp_path, several)) == 4  # a layout that does not fit is a warning, hence an error here


def test_missing_matplotlib_reported_first(scene, tmp_path, capsys, monkeypatch):
    """A missing matplotlib is reported in a single line before anything is measured."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("slimevid.evaluation.figures.find_spec", lambda _name: None)
    root, results, _ = scene
    assert run(results, "--davis", root, "--year", 2017, "--figures", tmp_path / "f") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "pip install 'slime-toolkit[plot]'" in err
    assert not list(results.glob("*.csv"))


def test_several_folders_compared(scene, tmp_path, capsys):
    """Several folders of results are compared in a single table."""
    root, results, copied = scene
    assert (
        run(results, copied, "--davis", root, "--year", 2017, "--out", tmp_path / "o", "--json", tmp_path / "c.json")
        == 0
    )
    out = capsys.readouterr().out.splitlines()
    assert out[0].split()[:3] == ["per", "cent", "J&F"]
    assert [line.split()[0] for line in out[1:3]] == ["r", "copy"]
    assert (tmp_path / "o" / "copy" / "global_results-val.csv").is_file()
    assert not list(results.glob("*.csv"))
    comparison = json.loads((tmp_path / "c.json").read_text())["comparison"]
    assert [row["label"] for row in comparison] == ["r", "copy"]
    assert comparison[0]["difference"] is None
    difference = comparison[1]["difference"]
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert difference["value"] == pytest.approx(comparison[1]["jf"]["value"] - comparison[0]["jf"]["value"])


def test_unwritable_json_reported_first(scene, tmp_path, capsys):
    """A JSON file that cannot be written is reported before anything is measured."""
    root, results, _ = scene
    assert run(results, "--davis", root, "--year", 2017, "--json", tmp_path / "no" / "x.json") == 2
    assert capsys.readouterr().out == ""


def evaluation(label, means):
    """One object and frame a sequence, J = F = the mean."""
    return Evaluation(
        label,
        Protocol(),
        tuple(
            SequenceScore(f"s{i}", (ObjectScore(f"s{i}", 1, ("0",), np.array([m]), np.array([m])),))
            for i, m in enumerate(means)
        ),
    )


def test_bootstrap_paired_and_calibrated():
    """The bootstrap draws sequences in pairs, and its intervals have about the right width."""
    rng = np.random.default_rng(3)
    base = rng.random(40)
    a, b, c = compare([evaluation("a", base), evaluation("b", base + 0.1), evaluation("c", rng.permutation(base))])
    assert a.difference is None
    # a constant gain has no spread when sequences are drawn in pairs
    assert (b.difference.low, b.difference.value, b.difference.high) == pytest.approx((0.1, 0.1, 0.1))
    assert c.difference.low < 0 < c.difference.high
    spread = base.std() / np.sqrt(40)
    assert a.jf.high - a.jf.low == pytest.approx(2 * 1.96 * spread, rel=0.1)
    again = compare([evaluation("a", base), evaluation("c", base)], seed=0)
    assert again[0] == compare([evaluation("a", base), evaluation("c", base)], seed=0)[0]


def test_single_sequence_has_no_interval():
    """A single sequence gives no interval."""
    (row,) = compare([evaluation("a", [0.5])])
    assert (row.jf.value, row.jf.low) == (0.5, None)


def test_objects_weigh_equally_across_sequences():
    """Objects weigh the same in whatever sequence they are.

    Two objects are in a sequence, another is alone: the mean is over three, as in the official tool.
    """

    def score(name, k, m):
        return ObjectScore(name, k, ("0",), np.array([m]), np.array([m]))

    two = Evaluation(
        "x",
        Protocol(),
        (SequenceScore("a", (score("a", 1, 1.0), score("a", 2, 1.0))), SequenceScore("b", (score("b", 1, 0.4),))),
    )
    assert compare([two])[0].jf.value == pytest.approx(0.8)
    assert two.summary.jf == pytest.approx(0.8)
    # and so in every draw: both from a, one of each, both from b
    assert (compare([two])[0].jf.low, compare([two])[0].jf.high) == pytest.approx((0.4, 1.0))
