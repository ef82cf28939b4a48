"""Export ``rgba/<frame>.png``: the foreground cut out, on a transparent background."""

from __future__ import annotations

import numpy as np

from slimecore.io.atomic_files import make_folder
from slimecore.io.images import write_png
from slimecore.io.masks import read_mask
from slimevid.exports import Results
from slimevid.io import read_range

__all__ = ["write"]


def write(results: Results) -> None:
    """Write every labelled frame as RGBA, uint8. Foreground has alpha 255, background is black with alpha 0."""
    folder = make_folder(results.target)
    for done, frame in enumerate(read_range(results.clip, results.frames), 1):
        foreground = read_mask(results.mask(frame.name)).labels > 0
        rgba = np.dstack([frame.rgb * foreground[..., None], np.where(foreground, 255, 0)]).astype(np.uint8)
        write_png(folder / f"{frame.name}.png", rgba)
        results.on_frame(done, len(results.frames))
