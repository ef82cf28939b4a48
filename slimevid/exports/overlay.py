"""Export ``overlay.mp4``: the masks drawn over the frames, with the clip's duration."""

from __future__ import annotations

from slimecore.imaging.overlay import overlay
from slimecore.io.masks import read_mask
from slimevid.exports import Results
from slimevid.io import read_range
from slimevid.io.writers import open_overlay

__all__ = ["write"]


def write(results: Results) -> None:
    """Draw every labelled frame. The frame rate is divided by the stride, so the video has the clip's speed."""
    clip, frames = results.clip, results.frames
    with open_overlay(results.target, clip, frames.step) as video:
        for done, frame in enumerate(read_range(clip, frames), 1):
            video.write(overlay(frame.rgb, read_mask(results.mask(frame.name)).labels))
            results.on_frame(done, len(frames))
