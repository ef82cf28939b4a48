"""Several runs in a single table, with bootstrap intervals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from slimevid.evaluation.comparison import compare
from slimevid.evaluation.protocol import Evaluation, ObjectScore, Protocol, SequenceScore
from tests.slimevid.evaluation.commands import evaluation, run


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
