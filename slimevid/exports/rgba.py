"""``rgba/<frame>.png``: the parts cut out, everything else transparent."""

from __future__ import annotations

import numpy as np

from slimecore.io.atomic_files import make_folder
from slimecore.io.images import write_png
from slimecore.io.masks import read_mask
from slimevid.exports import Results
from slimevid.io import read_range

__all__ = ["write"]


def write(results: Results) -> None:
    """Write every frame as RGBA; alpha is 255 where the mask holds a part. Colours under alpha 0 are black."""
    folder = make_folder(results.target)
    for done, frame in enumerate(read_range(results.clip, results.frames), 1):
        inside = read_mask(results.mask(frame.name)).labels > 0
        picture = np.dstack([frame.rgb * inside[..., None], np.where(inside, 255, 0)]).astype(np.uint8)
        write_png(folder / f"{frame.name}.png", picture)
        results.told(done, len(results.frames))
