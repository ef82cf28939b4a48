"""Threads and processes of an evaluation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import cv2
import pytest

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


_PARENT = """
import os, sys, time
from slimecore.cli_support import run_guarded
from slimevid.evaluation.process_pool import map_processes

def work(item):
    try:
        print(os.getpid(), flush=True)
        time.sleep(120)
    finally:
        open(f"{sys.argv[1]}/{os.getpid()}", "w").close()

if __name__ == "__main__":
    sys.exit(run_guarded("test", False, lambda: len(list(map_processes(work, range(4), 2)))))
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGINT"])
def test_workers_end_with_parent(name, tmp_path):
    """Workers end within seconds of their parent, however that ends, and tidy up first."""
    script, tidied = tmp_path / "parent.py", tmp_path / "tidied"
    script.write_text(_PARENT)
    tidied.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, script, tidied], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as parent:
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        started = time.monotonic()
        parent.send_signal(getattr(signal, name))
        error = parent.communicate()[1]
        assert time.monotonic() - started < 20
    while any(map(_is_alive, workers)) and time.monotonic() - started < 20:
        time.sleep(0.05)
    assert not any(map(_is_alive, workers))
    assert parent.returncode == {"SIGTERM": 143, "SIGKILL": -9, "SIGINT": 130}[name]
    assert sorted(int(path.name) for path in tidied.iterdir()) == sorted(workers)
    assert "Traceback" not in error


def _is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
