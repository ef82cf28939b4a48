"""What finished sequences of ``slimevid davis`` were made of: they count as done only while all of it still holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimecore.config import describe_changes, to_dict
from slimecore.errors import OutputError
from slimecore.io.atomic_files import write_json
from slimecore.io.images import list_images
from slimecore.provenance.code_hash import digest

if TYPE_CHECKING:
    from slimevid.config import RunConfig

__all__ = ["MANIFEST", "Manifest", "Work"]

MANIFEST = "davis_run.json"


@dataclass(frozen=True, slots=True)
class Work:
    """One sequence to segment: its frames, its first mask, where the masks go, and how."""

    name: str
    frames: Path
    mask: Path
    binary: bool
    out: Path
    config: RunConfig
    threads: int


class Manifest:
    """What each finished sequence was made of.

    Parameters
    ----------
    out : Path
        Result folder; its ``davis_run.json`` is read if there is one.

    Raises
    ------
    OutputError
        The file is damaged, or the folder holds masks and no such file.
    """

    def __init__(self, out: Path) -> None:
        self._path = out / MANIFEST
        self._out = out
        self._entries: dict[str, dict[str, Any]] = {}
        if self._path.is_file():
            try:
                self._entries = dict(json.loads(self._path.read_text(encoding="utf-8"))["sequences"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise OutputError(
                    f"{self._path}: damaged; remove it and the folder's masks, or choose another --out"
                ) from error
        elif out.is_dir() and any(out.glob("*/*.png")):
            raise OutputError(f"{out} holds masks that slimevid davis did not write; choose another --out")

    def check(self, work: Work, settings: str, source: str, *, redo: bool) -> bool:
        """Whether a sequence is done.

        Raises
        ------
        OutputError
            It was made from something else, or changed since, and may not be made again.
        """
        entry = self._entries.get(work.name)
        why = "" if entry is None else self._why(entry, work, settings, source)
        if why and not redo:
            raise OutputError(f"{self._out}: {why}; choose another --out, or --redo")
        if entry is None or why:
            self._entries.pop(work.name, None)
            return False
        return True

    def check_others(self, names: Iterable[str], settings: str) -> None:
        """Refuse to mix: one folder holds the results of one set of settings."""
        others = [n for n, entry in self._entries.items() if n not in set(names) and entry.get("key") != settings]
        if others:
            raise OutputError(f"{self._out}: {others[0]} was made with other settings; choose another --out")

    def _why(self, entry: dict[str, Any], work: Work, settings: str, source: str) -> str:
        if entry.get("key") != settings:
            changed = describe_changes(entry.get("settings", {}), to_dict(work.config))
            return f"{work.name} was made with other settings ({changed or 'another model, device or version'})"
        if entry.get("source") != source:
            return f"the frames or the mask of {work.name} have changed since it was made"
        if entry.get("masks") != digest(list_images(work.out) if work.out.is_dir() else []):
            return f"masks of {work.name} were changed or removed since they were made"
        return ""

    def add(self, work: Work, settings: str, source: str, config: dict[str, Any]) -> None:
        """Note a finished sequence, at once: whoever stops the run keeps it."""
        masks = digest(list_images(work.out))
        self._entries[work.name] = {"key": settings, "source": source, "masks": masks, "settings": config}
        self.save()

    def save(self) -> None:
        """Write the file, atomically."""
        write_json(self._path, {"schema": 1, "sequences": dict(sorted(self._entries.items()))})
