"""Encoded clips, read without decord."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import av
import pytest

from tests.slimevid.io.videos import KINDS, encode


@pytest.fixture(autouse=True)
def _no_decord(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read without decord, which is tested in its own module."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "decord" else real(name, *a))


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths of clips by name, of every codec that this PyAV can encode."""
    folder = tmp_path_factory.mktemp("clips")
    paths = {}
    for name, how in KINDS.items():
        codec = how["codec"]
        if codec in av.codecs_available:
            paths[name] = encode(folder / name, **how)
    return paths
