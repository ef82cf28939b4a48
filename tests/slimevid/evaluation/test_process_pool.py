"""Threads and processes of an evaluation."""

from __future__ import annotations

import cv2

from tests.slimevid.evaluation.commands import run


def test_evaluation_restores_opencv_threads(single, write, tmp_path):
    """An evaluation leaves OpenCV's number of threads as it was."""
    root, _, result = single
    write(tmp_path / "r" / "a", result)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        assert run(tmp_path / "r", "--davis", root, "--year", 2016, "--jobs", 1) == 0
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
