"""Seconds of the stages of a command."""

from __future__ import annotations

import pytest

from slimecore.runtime import stage_timer
from slimecore.runtime.stage_timer import StageTimer


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances by the values given to it."""
    readings = []
    monkeypatch.setattr(stage_timer.time, "perf_counter", lambda: readings.pop(0))
    return readings


def test_seconds_accumulate_by_name(clock):
    clock += [1.0, 1.5, 2.0, 4.0, 10.0, 10.25]
    timer = StageTimer()
    for name in ("load", "learn", "load"):
        with timer.stage(name):
            pass
    assert dict(timer.seconds) == {"load": 0.75, "learn": 2.0}


def test_a_stage_that_raises_counts(clock):
    clock += [0.0, 3.0]
    timer = StageTimer()
    with pytest.raises(ValueError, match="broken"), timer.stage("load"):
        raise ValueError("broken")
    assert timer.seconds["load"] == 3.0


def test_seconds_are_read_only():
    with pytest.raises(TypeError):
        StageTimer().seconds["load"] = 1.0
