"""Snapshot of the session: all state that the next frame depends on, replaced as a whole every few frames."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from slimecore.array_types import Array
from slimecore.io.atomic_files import write_bytes
from slimevid.io.writers import file_checksum
from slimevid.session.passes import ReferenceInterval

__all__ = ["CheckpointFile", "RunPosition", "Snapshot"]


@dataclass(frozen=True, slots=True)
class RunPosition:
    """Progress of a run.

    Parameters
    ----------
    key : str
        Key of the manifest that the position belongs to.
    interval : int
        Index of the reference interval.
    step : int
        Index of the pass within the interval.
    done : int
        Frames of the pass that are written.
    score_bytes : int
        Size of the scores table, in bytes, after these frames.
    score_checksum : int
        CRC-32 of these bytes.
    """

    key: str
    interval: int
    step: int
    done: int
    score_bytes: int
    score_checksum: int

    def frames(self, interval: ReferenceInterval) -> list[int]:
        """Return the frames of the interval that are written."""
        completed = [i for finished_pass in interval.passes[: self.step] for i in finished_pass.frames]
        return completed + [
            i for begun in interval.passes[self.step : self.step + 1] for i in begun.frames[: self.done]
        ]


Snapshot = tuple[RunPosition, dict[str, Array]]


class CheckpointFile:
    """Newest snapshot of a run.

    Parameters
    ----------
    path : Path
        The file, which need not exist.
    every : int
        Frames between two snapshots.
    seconds : float
        Time after which a snapshot is due although fewer frames were labelled.
    scores : Path, optional
        Table of scores. A snapshot counts only while the rows written before it are unchanged.
    """

    def __init__(self, path: Path, every: int = 25, seconds: float = 10.0, *, scores: Path | None = None) -> None:
        self._path, self._scores = path, scores
        self._every, self._seconds = every, seconds
        self._frames, self._saved_at = 0, time.monotonic()

    def due(self) -> bool:
        """Count a frame, and say if a snapshot is due."""
        self._frames += 1
        return self._frames >= self._every or time.monotonic() - self._saved_at >= self._seconds

    def save(self, position: RunPosition, state: Mapping[str, Array]) -> None:
        """Replace the file atomically.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        # safetensors writes the buffer as it lies, so strided views are made contiguous first. NumPy adds an axis to
        # zero-dimensional arrays on the way, hence the reshape.
        arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in state.items()}
        text = json.dumps(asdict(position))
        write_bytes(self._path, save(arrays, metadata={"position": text, "checksum": _checksum(text, arrays)}))
        self._frames, self._saved_at = 0, time.monotonic()

    def load(self, key: str) -> Snapshot | None:
        """Return the snapshot of the manifest with this `key`.

        None if the file or the scores before it are missing or damaged, or it is of another run. A snapshot only saves
        time, so damage is no error.
        """
        try:
            with safe_open(self._path, framework="np") as file:
                metadata = file.metadata() or {}
                position = RunPosition(**json.loads(metadata["position"]))
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 # not a dict
            if metadata["checksum"] != _checksum(metadata["position"], state):
                return None
            if self._scores and file_checksum(self._scores, position.score_bytes) != position.score_checksum:
                return None
        except (SafetensorError, OSError, ValueError, TypeError, KeyError):
            return None
        return (position, state) if position.key == key else None

    def remove(self) -> None:
        """Delete the file, because the run is done or starts over."""
        with suppress(OSError):
            self._path.unlink()


def _checksum(position: str, state: Mapping[str, Array]) -> str:
    """Return a hash of a snapshot's content: position, and names, types, shapes and bytes of the arrays."""
    total = hashlib.sha256(position.encode())
    for name, array in sorted(state.items()):
        total.update(repr((name, array.dtype.str, array.shape)).encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()
