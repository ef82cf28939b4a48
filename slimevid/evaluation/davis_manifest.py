"""Manifest of ``slimevid davis``: the inputs and settings that each finished sequence was made from.

A sequence counts as done only while settings, inputs and masks are unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimecore.config import to_dict
from slimecore.errors import OutputError
from slimecore.io.atomic_files import write_json
from slimecore.io.images import list_images
from slimecore.provenance.code_hash import digest
from slimecore.provenance.validity import stale_reason
from slimecore.user_files import read_json

if TYPE_CHECKING:
    from slimevid.config import RunConfig

__all__ = ["MANIFEST", "Manifest", "Work"]

MANIFEST = "davis_run.json"


@dataclass(frozen=True, slots=True)
class Work:
    """A sequence to segment.

    Parameters
    ----------
    name : str
    frames : Path
        Folder of the frames.
    mask : Path
        Annotation of the first frame.
    binary : bool
        True if all values of the annotation mark the same object (DAVIS 2016).
    out : Path
        Folder for the masks.
    config : RunConfig
    threads : int
        Threads of torch in this process.
    """

    name: str
    frames: Path
    mask: Path
    binary: bool
    out: Path
    config: RunConfig
    threads: int


class Manifest:
    """Manifest of a result folder.

    Parameters
    ----------
    out : Path
        Result folder. Its ``davis_run.json`` is read if it exists.

    Raises
    ------
    OutputError
        The file is damaged, or the folder holds masks without a manifest.
    """

    def __init__(self, out: Path) -> None:
        self._path = out / MANIFEST
        self._out = out
        self._entries: dict[str, dict[str, Any]] = {}
        if self._path.is_file():
            try:
                self._entries = dict(read_json(self._path)["sequences"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise OutputError(
                    f"{self._path}: damaged; remove it and the folder's masks, or choose another --out"
                ) from error
        elif out.is_dir() and any(out.glob("*/*.png")):
            raise OutputError(f"{out} holds masks that slimevid davis did not write; choose another --out")

    def check(self, work: Work, settings: str, source: str, *, redo: bool) -> bool:
        """Return True if a sequence is done.

        Parameters
        ----------
        work : Work
        settings : str
            Hash of settings, model and program.
        source : str
            Hash of the frames and the given mask.
        redo : bool
            Discard a result with other settings or inputs instead of refusing it.

        Returns
        -------
        bool

        Raises
        ------
        OutputError
            Settings, inputs or masks differ from the manifest, and `redo` is False.
        """
        entry = self._entries.get(work.name)
        reason = "" if entry is None else self._reason_to_redo(entry, work, settings, source)
        if reason and not redo:
            raise OutputError(f"{self._out}: {reason}; choose another --out, or --redo")
        if entry is None or reason:
            self._entries.pop(work.name, None)
            return False
        return True

    def check_others(self, names: Iterable[str], settings: str) -> None:
        """Refuse a folder that holds other sequences made with other settings.

        Raises
        ------
        OutputError
        """
        others = [n for n, entry in self._entries.items() if n not in set(names) and entry.get("key") != settings]
        if others:
            raise OutputError(f"{self._out}: {others[0]} was made with other settings; choose another --out")

    def _reason_to_redo(self, entry: dict[str, Any], work: Work, settings: str, source: str) -> str:
        """Return the first difference between manifest and present state as text, empty if equal."""
        changed = stale_reason(entry.get("settings", {}), to_dict(work.config))
        masks = digest(list_images(work.out) if work.out.is_dir() else [])
        texts = {
            "key": f"{work.name} was made with other settings ({changed or 'another model, device or version'})",
            "source": f"the frames or the mask of {work.name} have changed since it was made",
            "masks": f"masks of {work.name} were changed or removed since they were made",
        }
        recorded = {key: entry.get(key) for key in texts}
        return stale_reason(recorded, {"key": settings, "source": source, "masks": masks}, texts)

    def add(self, work: Work, settings: str, source: str, config: dict[str, Any]) -> None:
        """Add a finished sequence and save the manifest, so that an interrupted run keeps it.

        Parameters
        ----------
        work : Work
        settings, source : str
            Hashes, see :meth:`check`.
        config : dict
            Settings as plain values.
        """
        masks = digest(list_images(work.out))
        self._entries[work.name] = {"key": settings, "source": source, "masks": masks, "settings": config}
        self.save()

    def save(self) -> None:
        """Write the manifest file atomically."""
        write_json(self._path, {"schema": 1, "sequences": dict(sorted(self._entries.items()))})
