"""``.state.safetensors``: everything the next frame depends on, replaced as a whole every few frames."""

from __future__ import annotations

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
from slimevid.session.passes import ReferenceInterval

__all__ = ["STATE", "CheckpointFile", "RunPosition"]

STATE = ".state.safetensors"


@dataclass(frozen=True, slots=True)
class RunPosition:
    """How far a run is.

    Parameters
    ----------
    key : str
        Of the ledger it belongs to.
    gap, step : int
        Index of the gap, and of the pass in it.
    done : int
        Frames of that pass that are written.
    scores : int
        Bytes of ``scores.csv`` that belong to them and to what came before.
    """

    key: str
    gap: int
    step: int
    done: int
    scores: int

    def frames(self, gap: ReferenceInterval) -> list[int]:
        """Frames of the gap that are written."""
        before = [i for one in gap.passes[: self.step] for i in one.frames]
        return before + [i for one in gap.passes[self.step : self.step + 1] for i in one.frames[: self.done]]


class CheckpointFile:
    """The newest snapshot of a run.

    Parameters
    ----------
    out : Path
        Result folder.
    every : int
        Frames from one to the next.
    seconds : float
        A slow model does not wait for that many: this long after the last, another is due.
    """

    def __init__(self, out: Path, every: int = 25, seconds: float = 10.0) -> None:
        self._path = out / STATE
        self._every, self._seconds = every, seconds
        self._frames, self._at = 0, time.monotonic()

    def due(self) -> bool:
        """Count a frame; whether it is time."""
        self._frames += 1
        return self._frames >= self._every or time.monotonic() - self._at >= self._seconds

    def save(self, place: RunPosition, state: Mapping[str, Array]) -> None:
        """Replace the file, atomically.

        Raises
        ------
        OutputError
            The place cannot be written.
        """
        # safetensors writes the buffer as it lies: strided views must be straightened first (single numbers, too, but
        # those NumPy gives an axis).
        arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in state.items()}
        write_bytes(self._path, save(arrays, metadata={"place": json.dumps(asdict(place))}))
        self._frames, self._at = 0, time.monotonic()

    def load(self, key: str) -> tuple[RunPosition, dict[str, Array]] | None:
        """The snapshot of a ledger's `key`; None where there is none, or of another run: it is only a short cut."""
        try:
            with safe_open(self._path, framework="np") as file:
                place = RunPosition(**json.loads((file.metadata() or {})["place"]))
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 # not a dict
        except (SafetensorError, OSError, ValueError, TypeError, KeyError):
            return None
        return (place, state) if place.key == key else None

    def remove(self) -> None:
        """Delete it: the run is done, or starts over."""
        with suppress(OSError):
            self._path.unlink()
