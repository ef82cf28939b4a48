"""Arguments of ``slimevid run``, and the checks on them that need no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slimecore.errors import ConfigError, InputError
from slimevid.config import RunConfig, as_config
from slimevid.run.output_folder import EXPORTS

if TYPE_CHECKING:
    from slimevid.references.mask_files import MaskRef

__all__ = ["Notify", "RunRequest"]

Notify = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Clip, references, options and result folder of a run.

    Parameters
    ----------
    clip : Path
        Video file or folder of frames.
    refs : tuple of MaskRef
        Masks and the frames they were drawn on.
    out : Path
        Result folder.
    names : Path or None
        JSON file of part names, ``{"1": "head"}``.
    parts : Path or None
        Part embeddings learned earlier. The learning step is skipped.
    start, end, stride : int
        Frames to label are ``range(start, end, stride)``. `end` is the clip's end by default.
    drops : tuple of (int, tuple of int)
        Frame from which on part values are left out, see :meth:`slimevid.session.segmenter.Segmenter.drop`.
    exports : tuple of str
        Keys of :data:`slimevid.run.output_folder.EXPORTS`, or paths of Python files with ``write(results)``.
    soft : bool
        Write soft labels too.
    resume : bool
        Continue the run in the folder. With other references, only the intervals beside them are labelled again.
    config : RunConfig

    Raises
    ------
    ConfigError
        An export is unknown.
    """

    clip: Path
    refs: tuple[MaskRef, ...]
    out: Path
    names: Path | None = None
    parts: Path | None = None
    start: int = 0
    end: int | None = None
    stride: int = 1
    drops: tuple[tuple[int, tuple[int, ...]], ...] = ()
    exports: tuple[str, ...] = ()
    soft: bool = False
    resume: bool = False
    config: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        for name in ("clip", "out", "names", "parts"):  # callers from Python may pass strings
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value))
        object.__setattr__(self, "config", as_config(self.config))
        for name in self.exports:
            if name not in EXPORTS and not name.endswith(".py"):
                raise ConfigError(f"unknown export {name!r}; choose {', '.join(EXPORTS)}")

    def require_inputs(self) -> None:
        """Check that all input files exist, before heavy modules are imported.

        Raises
        ------
        InputError
            A path does not exist. The message names the first.
        """
        if not self.clip.exists():
            raise InputError(f"no such clip: {self.clip}; give a video file or a folder of frames")
        for ref in self.refs:
            if not ref.path.exists():
                raise InputError(
                    f"no such mask: {ref.path}; --ref takes a file, or N=FILE with the number of its frame"
                )
        for path in (self.clip, *(ref.path for ref in self.refs), self.parts, self.names):
            if path is not None and path.exists() and not (path.is_file() or path.is_dir()):
                raise InputError(f"{path}: no regular file; save it as a file first")
        for path in (self.parts, self.names):
            if path is not None and not path.exists():
                raise InputError(f"no such file: {path}")

    def frames(self, count: int) -> range:
        """Return the frames to label in a clip of `count` frames.

        Raises
        ------
        InputError
            The range is empty or exceeds the clip.
        """
        end = count if self.end is None else self.end
        if self.stride < 1:
            raise InputError(f"--stride must be 1 or more, got {self.stride}")
        if not 0 <= self.start < end <= count:
            raise InputError(
                f"--start {self.start} --end {end}: no such frames, the clip has 0..{count - 1}; --end is the frame "
                "after the last"
            )
        return range(self.start, end, self.stride)
