"""Provenance of the masks in a result folder, and which of them are done.

The manifest is written before the first mask and after every reference interval, so a run that was stopped at any
moment can go on. A reference interval (see :mod:`slimevid.session.passes`) counts as done while the references at both
its ends are unchanged. Everything else that a mask depends on is the *identity*. A run with another identity is
refused. See docs/adr/0021.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slimecore.errors import OutputError
from slimecore.io.atomic_files import write_json
from slimecore.provenance.validity import stale_reason
from slimecore.user_files import read_json
from slimevid.session.passes import ReferenceInterval

__all__ = ["RunManifest", "file_digest"]

_SCHEMA = 9
IntervalKey = tuple[str, str]


class RunManifest:
    """State of a result folder.

    Parameters
    ----------
    path : Path
        The file, which need not exist.
    identity : mapping
        JSON values that decide every mask, references aside.
    references : mapping of int to str
        Hash of every reference, by frame.
    fingerprint : str
        Hash of the clip's files.
    names : mapping of int to str
        Part names, by part value.

    Attributes
    ----------
    done : set of (str, str)
        Keys of the reference intervals whose masks are written.
    unchanged : set of (str, str)
        Keys of those intervals of `done` that were written before the references last changed.
    score_bytes : int
        Size of the scores table when the last interval was done.
    score_checksum : int
        CRC-32 of these bytes.
    embeddings_digest, network_digest : str or None
        Hashes of the files of learned parts and of the adapted network.
    finished : bool
        Exports and report are written too.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        references: Mapping[int, str],
        fingerprint: str,
        names: Mapping[int, str],
    ) -> None:
        self._path = path
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))  # tuples become lists, as when read back
        self.references = dict(references)
        self.fingerprint = fingerprint
        self.names = dict(names)
        self.done: set[IntervalKey] = set()
        self.unchanged: set[IntervalKey] = set()
        self.score_bytes = self.score_checksum = 0
        self.embeddings_digest: str | None = None
        self.network_digest: str | None = None
        self.finished = False

    @property
    def key(self) -> str:
        """Hash of identity and references, to which a snapshot belongs."""
        content = json.dumps([self.identity, sorted(self.references.items())], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def interval_key(self, interval: ReferenceInterval) -> IntervalKey:
        """Return frame and hash of the references at both ends of an interval."""
        left, right = (
            "-" if frame is None else f"{frame}:{self.references[frame]}" for frame in (interval.left, interval.right)
        )
        return left, right

    def is_done(self, interval: ReferenceInterval) -> bool:
        """Say if the masks of an interval are written."""
        return self.interval_key(interval) in self.done

    def is_unchanged(self, interval: ReferenceInterval) -> bool:
        """Say if the masks of an interval were written before the references last changed."""
        return self.interval_key(interval) in self.unchanged

    def resume(self, intervals: Sequence[ReferenceInterval]) -> RunManifest | None:
        """Take over the done intervals of the manifest on disk.

        Parameters
        ----------
        intervals : sequence of ReferenceInterval
            All intervals of this run.

        Returns
        -------
        RunManifest or None
            The manifest on disk, unchanged. None if the file is missing.

        Raises
        ------
        OutputError
            The identity or a part name differs, or the file is damaged.
        """
        before = self._read()
        if before is None:
            return None
        reason = stale_reason(before.identity, self.identity)
        if reason:
            raise OutputError(
                f"{self._path.parent}: cannot resume, the run was made with something else ({reason}); "
                "run it as before, or without --resume to start over"
            )
        for value, name in self.names.items():
            if before.names.get(value, name) != name:
                raise OutputError(
                    f"{self._path.parent}: cannot resume, part {value} was called {before.names[value]!r}, "
                    f"not {name!r}; give the names of before, or run without --resume to start over"
                )
        self.done = {self.interval_key(interval) for interval in intervals} & before.done
        self.unchanged = set(self.done)
        self.score_bytes, self.score_checksum = before.score_bytes, before.score_checksum
        if before.references == self.references:
            self.embeddings_digest, self.network_digest = before.embeddings_digest, before.network_digest
            self.unchanged = before.unchanged
            self.finished = before.finished and all(map(self.is_done, intervals))
        return before

    def _read(self) -> RunManifest | None:
        if not self._path.is_file():
            return None
        try:
            content = read_json(self._path)
            if content["schema"] != _SCHEMA:
                raise OutputError(
                    f"{self._path}: schema {content['schema']} is not {_SCHEMA}; run without --resume to start over"
                )
            references = {int(frame): str(digest) for frame, digest in content["references"].items()}
            names = {int(value): str(name) for value, name in content["names"].items()}
            before = RunManifest(self._path, content["identity"], references, str(content["fingerprint"]), names)
            before.done = {(str(a), str(b)) for a, b in content["done"]}
            before.unchanged = {(str(a), str(b)) for a, b in content["kept"]}
            before.score_bytes, before.score_checksum = int(content["scores"]), int(content["score_checksum"])
            before.finished = bool(content["finished"])
            before.embeddings_digest, before.network_digest = content["embeddings"], content["adapted"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(f"{self._path}: damaged ({error}); run without --resume to start over") from error
        return before

    def save(self) -> None:
        """Write the file atomically."""
        content = {
            "schema": _SCHEMA,
            "identity": self.identity,
            "references": {str(frame): digest for frame, digest in sorted(self.references.items())},
            "fingerprint": self.fingerprint,
            "names": {str(value): name for value, name in sorted(self.names.items())},
            "done": sorted(self.done),
            "kept": sorted(self.unchanged),
            "scores": self.score_bytes,
            "score_checksum": self.score_checksum,
            "embeddings": self.embeddings_digest,
            "adapted": self.network_digest,
            "finished": self.finished,
        }
        write_json(self._path, content)

    def discard(self, intervals: Iterable[ReferenceInterval]) -> None:
        """Count intervals as not done, because their masks must be written again."""
        discarded = {self.interval_key(interval) for interval in intervals}
        self.done -= discarded
        self.unchanged -= discarded
        self.finished = self.finished and not discarded


def file_digest(path: Path) -> str | None:
    """Return the SHA-256 of a file's bytes in hexadecimal, or None if the file is missing."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
