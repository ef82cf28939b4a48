"""``run.json``: what the masks of a result folder were made of, and which of them are done.

It is written before the first mask and after every gap, so that a run that was stopped at any moment goes on where it
was. A gap of the clip (see :mod:`slimevid.session.passes`) counts as done while both its ends are the references they
were;
everything else a mask depends on is the *identity*, and a run with another one is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slimecore.config import describe_changes
from slimecore.errors import OutputError
from slimecore.io.atomic_files import write_json
from slimevid.session.passes import ReferenceInterval

__all__ = ["RUN_MANIFEST", "RunManifest", "file_digest"]

RUN_MANIFEST = "run.json"
_SCHEMA = 7
IntervalKey = tuple[str, str]


class RunManifest:
    """State of a result folder.

    Parameters
    ----------
    out : Path
        Result folder.
    identity : mapping
        JSON values that decide every mask, references aside.
    references : mapping of int to str
        Hash of every reference, by frame.
    fingerprint : str
        Of the clip's files.
    names : mapping of int to str
        Of part values.
    """

    def __init__(
        self,
        out: Path,
        identity: Mapping[str, Any],
        references: Mapping[int, str],
        fingerprint: str,
        names: Mapping[int, str],
    ) -> None:
        self._path = out / RUN_MANIFEST
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))  # as it will be read back
        self.references = dict(references)
        self.fingerprint = fingerprint
        self.names = dict(names)
        self.done: set[IntervalKey] = set()
        self.unchanged: set[IntervalKey] = set()
        self.scores = 0
        self.embeddings: str | None = None
        self.adapted: str | None = None
        self.finished = False

    @property
    def key(self) -> str:
        """Hash of identity and references: what a snapshot belongs to."""
        content = json.dumps([self.identity, sorted(self.references.items())], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def interval_key(self, gap: ReferenceInterval) -> IntervalKey:
        """A gap's two ends: frames and hashes of its references."""
        left, right = ("-" if frame is None else f"{frame}:{self.references[frame]}" for frame in (gap.left, gap.right))
        return left, right

    def resume(self, gaps: Sequence[ReferenceInterval]) -> RunManifest | None:
        """Take over what the folder's ledger says is done.

        Returns
        -------
        Ledger or None
            The one on disk, as it was; None where there is none.

        Raises
        ------
        OutputError
            The folder was made from something else, or its ledger is damaged or missing.
        """
        before = self._read()
        if before is None:
            return None
        if before.identity != self.identity:
            # Another program or library comes with no list of settings: say that one first, it explains the rest.
            raise OutputError(
                f"{self._path.parent}: cannot resume, the run was made with something else "
                f"({describe_changes(before.identity, self.identity)}); "
                "run it as before, or without --resume to start over"
            )
        for value, name in self.names.items():
            if before.names.get(value, name) != name:
                raise OutputError(
                    f"{self._path.parent}: cannot resume, part {value} was called {before.names[value]!r}, "
                    f"not {name!r}; give the names of before, or run without --resume to start over"
                )
        self.done = {self.interval_key(gap) for gap in gaps} & before.done
        self.unchanged = set(self.done)
        self.scores = before.scores
        if before.references == self.references:
            self.embeddings, self.adapted, self.unchanged = before.embeddings, before.adapted, before.unchanged
            self.finished = before.finished and all(self.interval_key(gap) in self.done for gap in gaps)
        return before

    def _read(self) -> RunManifest | None:
        if not self._path.is_file():
            masks = self._path.parent / "masks"
            if masks.is_dir() and any(masks.glob("[!.]*.png")):
                raise OutputError(
                    f"{self._path.parent} holds masks but no {RUN_MANIFEST}, so nothing says how they were made; "
                    "run without --resume to start over"
                )
            return None
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if content["schema"] != _SCHEMA:
                raise OutputError(
                    f"{self._path}: schema {content['schema']} is not {_SCHEMA}; run without --resume to start over"
                )
            references = {int(frame): str(digest) for frame, digest in content["references"].items()}
            names = {int(value): str(name) for value, name in content["names"].items()}
            before = RunManifest(self._path.parent, content["identity"], references, str(content["fingerprint"]), names)
            before.done = {(str(a), str(b)) for a, b in content["done"]}
            before.unchanged = {(str(a), str(b)) for a, b in content["kept"]}
            before.scores, before.finished = int(content["scores"]), bool(content["finished"])
            before.embeddings, before.adapted = content["embeddings"], content["adapted"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(f"{self._path}: damaged ({error}); run without --resume to start over") from error
        return before

    def save(self) -> None:
        """Write the file, atomically."""
        content = {
            "schema": _SCHEMA,
            "identity": self.identity,
            "references": {str(frame): digest for frame, digest in sorted(self.references.items())},
            "fingerprint": self.fingerprint,
            "names": {str(value): name for value, name in sorted(self.names.items())},
            "done": sorted(self.done),
            "kept": sorted(self.unchanged),
            "scores": self.scores,
            "embeddings": self.embeddings,
            "adapted": self.adapted,
            "finished": self.finished,
        }
        write_json(self._path, content)

    def discard(self, gaps: Iterable[ReferenceInterval]) -> None:
        """Gaps that must be made again after all."""
        again = {self.interval_key(gap) for gap in gaps}
        self.done -= again
        self.unchanged -= again
        self.finished = self.finished and not again


def file_digest(path: Path) -> str | None:
    """Hash of a file's bytes; None where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
