"""Objects that appear after the first annotated frame."""

from __future__ import annotations

import numpy as np

from slimevid.evaluation.dataset import open_youtube
from slimevid.evaluation.protocol import Protocol
from slimevid.evaluation.scoring import evaluate
from tests.slimevid.evaluation.commands import refused, run


def test_sparse_annotation_scores_later_object(write, tmp_path, capsys):
    """YouTube-VOS: every fifth frame is annotated, and an object is scored after its first annotated frame.

    Results hold all frames. Object 2 is given in frame 10.
    """
    truth, result = np.zeros((21, 20, 30), np.uint8), np.zeros((21, 20, 30), np.uint8)
    truth[:, 2:8, 2:8] = result[:, 2:8, 2:8] = 1
    truth[10:, 12:18, 10:20] = 2
    result[10:, 12:18, 10:15] = 2
    truth[:, 0, :4] = 255  # void is no object
    folder = write(tmp_path / "y" / "Annotations" / "v", truth)
    for i in range(21):
        if i % 5:
            (folder / f"{i:05d}.png").unlink()
    write(tmp_path / "r" / "v", result)
    scores = evaluate(open_youtube(tmp_path / "y"), tmp_path / "r", Protocol(frames="later", objects="growing")).objects
    assert [(o.object, o.frames) for o in scores] == [
        (1, ("00005", "00010", "00015", "00020")),
        (2, ("00015", "00020")),
    ]
    assert [o.j.mean() for o in scores] == [1.0, 0.5]
    assert run(tmp_path / "r", "--ytvos", tmp_path / "y") == 0
    result[20, 0, 0] = 3
    write(tmp_path / "r" / "v", result)
    capsys.readouterr()
    (line,) = refused(capsys, tmp_path / "r", "--ytvos", tmp_path / "y")
    assert "results hold the ids 3, but the objects are 1, 2" in line


def test_later_object_may_have_smaller_id(write, tmp_path):
    """An object with a smaller id may appear later."""
    truth = np.zeros((4, 20, 30), np.uint8)
    truth[:, 2:8, 2:8] = 5
    truth[1:, 12:18, 10:20] = 2
    write(tmp_path / "y" / "Annotations" / "v", truth)
    write(tmp_path / "r" / "v", truth)
    protocol = Protocol(frames="later", objects="growing")
    scores = evaluate(open_youtube(tmp_path / "y"), tmp_path / "r", protocol).objects
    assert [(o.object, len(o.frames), o.j.mean()) for o in scores] == [(2, 2, 1.0), (5, 3, 1.0)]
