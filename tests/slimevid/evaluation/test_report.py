"""Tables, the report file and the table on the screen."""

from __future__ import annotations

import csv
import json

import pytest

from slimevid.evaluation.dataset import open_davis
from slimevid.evaluation.protocol import Protocol
from slimevid.evaluation.scoring import evaluate
from tests.slimevid.evaluation.commands import run


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


def test_unwritable_json_reported_first(scene, tmp_path, capsys):
    """A JSON file that cannot be written is reported before anything is measured."""
    root, results, _ = scene
    assert run(results, "--davis", root, "--year", 2017, "--json", tmp_path / "no" / "x.json") == 2
    assert capsys.readouterr().out == ""
