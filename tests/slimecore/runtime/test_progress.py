"""Progress without a terminal: a line every few seconds."""

from __future__ import annotations

from slimecore.runtime import progress
from slimecore.runtime.progress import bar


def test_lines_every_few_seconds(monkeypatch, capsys):
    """A log gets a line every five seconds, with count and speed, and none for a short run."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with bar({"learn": "learning parts", "segment": "segmenting"}, "fps") as notify:
        notify("learn", 1, 10)
        for done in range(1, 31):
            now[0] += 0.5
            notify("segment", done, 30)
    assert capsys.readouterr().err.splitlines() == [
        "segmenting: 10 of 30, 2.0 fps",
        "segmenting: 20 of 30, 2.0 fps",
        "segmenting: 30 of 30, 2.0 fps",
    ]


def test_short_stage_writes_nothing(monkeypatch, capsys):
    """A run shorter than the interval writes no line."""
    monkeypatch.setattr(progress.time, "monotonic", lambda: 5.0)
    with bar({"learn": "learning parts"}, "fps") as notify:
        notify("learn", 10, 10)
    assert capsys.readouterr().err == ""
