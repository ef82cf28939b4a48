"""Result folder of ``slimevid run``: every file name in it, and the operations on the folder as a whole.

No other module of slimevid spells the name of a result file: readers and writers get their path from
:class:`OutputFolder`. The module imports nothing of the run, so that the evaluation can use it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from slimecore.errors import OutputError
from slimecore.io.atomic_files import make_folder
from slimecore.io.result_folder import refuse_links
from slimecore.user_files import read_json

__all__ = ["EXPORTS", "OutputFolder"]

EXPORTS: Mapping[str, str] = MappingProxyType({"rgba": "rgba", "coco-rle": "coco_rle.json"})
"""File or folder name of every optional export, by the kind that ``--export`` takes."""


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """Paths of the results and of the working files of a run.

    Parameters
    ----------
    root : Path
        The folder itself, which need not exist yet.
    """

    root: Path

    # Results of every run

    @property
    def masks(self) -> Path:
        """Folder of label masks."""
        return self.root / "masks"

    def mask(self, stem: str) -> Path:
        """Label mask of a frame, an indexed PNG."""
        return self.masks / f"{stem}.png"

    @property
    def overlay(self) -> Path:
        """Video of the masks laid over the frames."""
        return self.root / "overlay.mp4"

    @property
    def scores(self) -> Path:
        """Table with a row for every frame and part."""
        return self.root / "scores.csv"

    @property
    def embeddings(self) -> Path:
        """Learned part embeddings."""
        return self.root / "parts.safetensors"

    @property
    def adapted_network(self) -> Path:
        """Weights of the refinement network after test-time adaptation."""
        return self.root / "completion.safetensors"

    @property
    def settings(self) -> Path:
        """Settings of the run, as ``--config`` reads them."""
        return self.root / "config.yaml"

    @property
    def report(self) -> Path:
        """Report of the run: status, timings, versions."""
        return self.root / "report.json"

    # Optional results

    @property
    def soft(self) -> Path:
        """Folder of soft labels."""
        return self.root / "soft"

    def soft_labels(self, stem: str) -> Path:
        """Soft labels of a frame, (P, h, w) float16."""
        return self.soft / f"{stem}.npy"

    @property
    def rgba(self) -> Path:
        """Folder of cut-outs."""
        return self.export("rgba")

    def cut_out(self, stem: str) -> Path:
        """RGBA cut-out of a frame."""
        return self.rgba / f"{stem}.png"

    def export(self, kind: str) -> Path:
        """Path that an export writes: a name in :data:`EXPORTS`, or that of a plug-in's file."""
        return self.root / EXPORTS.get(kind, Path(kind).stem)

    # Working files

    @property
    def manifest(self) -> Path:
        """Provenance of the masks, see :class:`slimevid.run.manifest.RunManifest`."""
        return self.root / "run.json"

    @property
    def checkpoint(self) -> Path:
        """Newest snapshot of the session, see :class:`slimevid.run.checkpoint.CheckpointFile`."""
        return self.root / ".state.safetensors"

    @property
    def frame_checksums(self) -> Path:
        """Checksums of the frames read, see :class:`slimevid.run.frame_checksums.FrameLog`."""
        return self.root / ".frames.bin"

    # Checks, before anything is written

    def check_inputs(self, clip: Path, masks: Iterable[Path]) -> None:
        """Refuse to overwrite the input.

        Parameters
        ----------
        clip : Path
            Video file or folder of frames.
        masks : iterable of Path
            Mask files of the references.

        Raises
        ------
        OutputError
            A path to be written is the clip or the folder of a mask, or a link that leads out of the folder.
        """
        refuse_links(self.root, (self.masks, self.soft, self.rgba, self.scores, self.checkpoint, self.frame_checksums))
        written = {path.resolve() for path in (self.masks, self.soft, self.rgba, self.overlay)}
        if written & {clip.resolve(), *(mask.resolve().parent for mask in masks)}:
            raise OutputError(f"{self.root}: results would overwrite the clip or the mask; choose another --out")

    def check_clip(self, clip: Mapping[str, Any], stems: Iterable[str]) -> None:
        """Refuse to mix with the results of another clip.

        Parameters
        ----------
        clip : mapping
            The clip's entry in the report.
        stems : iterable of str
            File stem of every frame of the clip.

        Raises
        ------
        OutputError
            The report names another clip, or a mask belongs to none of the frames.
        """
        if self.report.is_file():
            try:
                before = read_json(self.report).get("clip")
            except (OSError, ValueError, AttributeError):
                before = None
            if before != clip:
                raise OutputError(f"{self.root} holds the results of another clip; choose another --out")
        foreign = self._mask_stems() - set(stems)
        if foreign:
            raise OutputError(
                f"{self.masks} holds {len(foreign)} masks of another clip (such as {min(foreign)}.png); "
                "choose another --out"
            )

    def check_resumable(self) -> None:
        """Refuse to resume from masks of unknown provenance.

        Raises
        ------
        OutputError
            The folder holds masks and no manifest.
        """
        if not self.manifest.is_file() and self._mask_stems():
            raise OutputError(
                f"{self.root} holds masks but no {self.manifest.name}, so nothing says how they were made; "
                "run without --resume to start over"
            )

    def has_labels(self, stem: str, *, soft: bool) -> bool:
        """Say if a frame's mask exists and, with `soft`, its soft labels."""
        return self.mask(stem).is_file() and (not soft or self.soft_labels(stem).is_file())

    # Preparation

    def create(self) -> None:
        """Create the folder and check that it takes files."""
        make_folder(self.root)

    def create_label_folders(self, *, soft: bool) -> None:
        """Create the folder of the masks and, with `soft`, of the soft labels."""
        make_folder(self.masks)
        if soft:
            make_folder(self.soft)

    def remove_clip_files(self) -> None:
        """Delete the results that cover the clip as a whole, except settings, report and manifest."""
        _remove((self.overlay, self.embeddings, self.adapted_network, self.scores, self.export("coco-rle")))

    def remove_frame_files(self, stems: Iterable[str]) -> None:
        """Delete masks, soft labels and cut-outs of frames."""
        for stem in stems:
            _remove((self.mask(stem), self.soft_labels(stem), self.cut_out(stem)))

    def remove_exports(self, stems: Iterable[str]) -> None:
        """Delete the exports that a new mask of the frames makes stale: the COCO data set and their cut-outs."""
        _remove((self.export("coco-rle"), *map(self.cut_out, stems)))

    def remove_partial_files(self) -> None:
        """Delete the temporary files of a process that was killed while it wrote."""
        for folder in (self.root, self.masks, self.soft, self.rgba):
            _remove(list(folder.glob(".*.part*")) if folder.is_dir() else ())

    def _mask_stems(self) -> set[str]:
        return {path.stem for path in self.masks.glob("[!.]*.png")}


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()
