"""What ``slimevid run`` is asked, and the checks that need no model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimecore.errors import ConfigError, InputError, OutputError
from slimevid.config import RunConfig

if TYPE_CHECKING:
    from slimevid.io import Clip
    from slimevid.references.mask_files import MaskRef

__all__ = ["EXPORTS", "Notify", "RunRequest", "check_output_folder", "clip_entry", "frame_range"]

EXPORTS = ("rgba", "coco-rle")
Notify = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to segment, and where to put it.

    Parameters
    ----------
    clip : Path
        Video file or folder of frames.
    refs : tuple of MaskRef
        Masks and the frames they were drawn on.
    out : Path
    names : Path or None
        JSON ``{"1": "head"}``.
    parts : Path or None
        Part embeddings learned earlier; the learning step is skipped.
    start, end, stride : int
        Frames ``range(start, end, stride)``; to the clip's end by default.
    drops : tuple of (int, tuple of int)
        Frame from which on part values are left out, see :meth:`slimevid.session.segmenter.Segmenter.drop`.
    exports : tuple of str
        Of ``EXPORTS``.
    soft : bool
        Write soft labels too.
    resume : bool
        Go on with what the folder holds; with other references, re-run the gaps they touch.
    config : RunConfig
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
        for name in self.exports:
            if name not in EXPORTS:
                raise ConfigError(f"unknown export {name!r}; choose {', '.join(EXPORTS)}")


def frame_range(request: RunRequest, clip: Clip) -> range:
    """Frames to label.

    Raises
    ------
    InputError
        There are none, or they lie outside the clip.
    """
    count = len(clip)
    end = count if request.end is None else request.end
    if request.stride < 1:
        raise InputError(f"--stride must be 1 or more, got {request.stride}")
    if not 0 <= request.start < end <= count:
        raise InputError(
            f"--start {request.start} --end {end}: no such frames, the clip has 0..{count - 1}; --end is the frame "
            "after the last"
        )
    return range(request.start, end, request.stride)


def clip_entry(clip: Clip) -> dict[str, Any]:
    """The clip as reports name it."""
    return {
        "name": clip.name,
        "frames": len(clip),
        "height": clip.size[0],
        "width": clip.size[1],
        "fps": float(clip.fps),
    }


def check_output_folder(request: RunRequest, clip: Clip) -> None:
    """Refuse to write over the clip itself, or to mix with the results of another clip.

    Raises
    ------
    OutputError
        The result folder would be spoilt.
    """
    written = [request.out / "masks", request.out / "soft", request.out / "rgba", request.out / "overlay.mp4"]
    inputs = {request.clip.resolve(), *(ref.path.resolve().parent for ref in request.refs)}
    if inputs & {path.resolve() for path in written}:
        raise OutputError(f"{request.out}: results would overwrite the clip or the mask; choose another --out")
    report = request.out / "report.json"
    if report.is_file():
        try:
            before = json.loads(report.read_text(encoding="utf-8")).get("clip")
        except (OSError, ValueError, AttributeError):
            before = None
        if before != clip_entry(clip):
            raise OutputError(f"{request.out} holds the results of another clip; choose another --out")
    folder = request.out / "masks"
    foreign = {p.stem for p in folder.glob("[!.]*.png")} - set(clip.stems())
    if foreign:
        raise OutputError(
            f"{folder} holds {len(foreign)} masks of another clip (such as {min(foreign)}.png); choose another --out"
        )
