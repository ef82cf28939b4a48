"""An annotated image for tests of adaptation."""

from __future__ import annotations

import numpy as np

from slimecore.io.masks import MaskFile, make_parts
from slimecore.types import Annotation


def red_on_blue(height: int, width: int) -> Annotation:
    """Return a red egg of two halves on a blue background of two shades."""
    y, x = np.mgrid[:height, :width]
    egg = np.hypot((y - height / 2) / 1.3, x - width / 2) < min(height, width) / 5
    rows = np.where(egg, 1 + (x > width / 2), 0).astype(np.int16)
    ground = np.where(((x // 8 + y // 8) % 2)[..., None], (20, 40, 200), (30, 60, 160))
    rgb = np.where(egg[..., None], (220, 30, 30), ground).astype(np.uint8)
    return Annotation(rgb, rows, make_parts(MaskFile(rows.astype(np.int32), {})))
