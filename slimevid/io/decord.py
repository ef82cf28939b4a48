"""Random access to video frames through the optional package decord."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from slimecore.errors import InputError
from slimecore.types import Frame

__all__ = ["agrees", "read_chunk"]


@lru_cache(maxsize=1)  # the last file stays open
def _reader(path: Path) -> Any:
    import decord

    return decord.VideoReader(str(path.absolute()), num_threads=1)  # a relative name may look like a URL


def agrees(path: Path, count: int, size: tuple[int, int]) -> bool:
    """Return True if decord reports the same frames as PyAV. It may count truncated frames too.

    Parameters
    ----------
    path : Path
    count : int
        Number of frames according to PyAV.
    size : (int, int)
        Their height and width in pixels.

    Returns
    -------
    bool
        False also if decord cannot read the file.
    """
    try:
        reader = _reader(path)
        return len(reader) == count and tuple(reader[0].shape[:2]) == size
    except Exception:  # noqa: BLE001 # decord raises its own untyped errors
        return False


def read_chunk(path: Path, frames: range) -> list[Frame]:
    """Decode the frames of a range, in order.

    Raises
    ------
    InputError
        decord cannot decode them.
    """
    try:
        images = _reader(path).get_batch(list(frames)).asnumpy()
    except Exception as error:  # decord raises its own untyped errors
        raise InputError(f"{path}: frames {frames[0]}..{frames[-1]} cannot be decoded ({error})") from error
    return [Frame(i, rgb, f"{i:05d}") for i, rgb in zip(frames, images, strict=True)]
