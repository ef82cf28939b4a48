"""Reading backward with decord."""

import importlib.util
import itertools
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from slimecore.errors import InputError
from slimevid.io import open_clip
from tests.slimevid.io.videos import COUNT, KINDS, SIZE, same


class _Decord:
    """The part of decord that is used, with marked images."""

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self.count, self.size = count, size

    def VideoReader(self, path: str, num_threads: int) -> "_Decord":
        return self

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> np.ndarray:
        return np.full((*self.size, 3), index, np.uint8)

    def get_batch(self, indices: list[int]):
        if indices == [10, 11, 12, 13]:
            raise RuntimeError("cannot decode")
        return types.SimpleNamespace(asnumpy=lambda: np.stack([self[i] for i in indices]))


def install(monkeypatch: pytest.MonkeyPatch, fake: object) -> None:
    from slimevid.io import decord

    decord._reader.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: name)
    monkeypatch.setitem(sys.modules, "decord", fake)


def test_decord_reads_backward(clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """decord serves the backward direction."""
    install(monkeypatch, _Decord(COUNT, SIZE))
    clip = open_clip(clips["h264.mp4"])
    frames = list(clip.read_reversed(2, 38))
    assert [f.index for f in frames] == list(range(37, 1, -1))
    assert [int(f.rgb[0, 0, 0]) for f in frames] == list(range(37, 1, -1))
    assert frames[0].name == "00037"
    with pytest.raises(InputError, match=r"frames 10\.\.13 cannot be decoded"):
        list(clip.read_reversed(10, 14))


@pytest.mark.parametrize(
    ("name", "count", "size"),
    [
        ("h264.mp4", COUNT + 1, SIZE),
        ("h264.mp4", COUNT, SIZE[::-1]),
        ("mpeg4.mp4", COUNT, SIZE),
        ("h264.ts", COUNT, SIZE),
        ("mpeg4.avi", COUNT, SIZE),
    ],
)
def test_decord_skipped_where_unreliable(
    clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str, count: int, size: tuple[int, int]
) -> None:
    """decord is not used where it errs.

    It seeks to wrong frames in MPEG-4 and transport streams, and may count or rotate differently.
    """
    install(monkeypatch, _Decord(count, size))
    clip = open_clip(clips[name])
    forward = list(clip.read(0, COUNT))
    assert all(itertools.starmap(same, zip(clip.read_reversed(0, COUNT), forward[::-1], strict=True)))


@pytest.mark.parametrize("name", KINDS)
def test_real_decord_agrees(clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The installed decord gives the same frames."""
    real = pytest.importorskip("decord")
    if name not in clips:
        pytest.skip("this PyAV has no such encoder")
    install(monkeypatch, real)
    clip = open_clip(clips[name])
    for back, frame in zip(clip.read_reversed(0, COUNT), list(clip.read(0, COUNT))[::-1], strict=True):
        assert back.index == frame.index
        assert np.abs(back.rgb.astype(int) - frame.rgb).mean() < 3
