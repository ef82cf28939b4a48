"""Run ``slimevid eval`` in this process, and evaluations made by hand."""

from __future__ import annotations

import math

import numpy as np

from slimevid.cli import main
from slimevid.evaluation.protocol import Evaluation, ObjectScore, Protocol, SequenceScore


def run(*arguments):
    """Return the status of ``slimevid eval``."""
    return main(["eval", *map(str, arguments)])


def refused(capsys, *arguments):
    """Return the lines of an error. Nothing else may have been printed."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err.splitlines()


def mean_j(capsys, *arguments):
    """Return the printed mean J, in per cent."""
    assert run(*arguments) == 0
    return next(float(line.split()[3]) for line in capsys.readouterr().out.splitlines() if line.startswith("mean"))


def evaluation(label, means):
    """Return an evaluation with an object and a frame per sequence, and J = F."""
    return Evaluation(
        label,
        Protocol(),
        tuple(
            SequenceScore(f"s{i}", (ObjectScore(f"s{i}", 1, ("0",), np.array([m]), np.array([m])),))
            for i, m in enumerate(means)
        ),
    )


def naive_statistics(values):
    """Return mean, recall and decay of a curve by the official definition."""
    n = len(values)
    edges = [math.floor(1 + (n - 1) * i / 4 + 0.5) - 1 for i in range(5)]
    # numpy rounds halves to even; the official 1e-10 turns that into halves up, for every length a clip can have
    bins = [values[edges[i] : edges[i + 1] + 1] for i in range(4)]
    mean = sum(values) / n
    recall = sum(v > 0.5 for v in values) / n
    return mean, recall, sum(bins[0]) / len(bins[0]) - sum(bins[3]) / len(bins[3])
