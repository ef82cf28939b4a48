"""Convert pictures to tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["to_tensor"]


def to_tensor(rgb: Any, device: torch.device) -> Tensor:
    """Convert (B, H, W, 3) uint8 pictures to a (B, 3, H, W) float32 tensor, 0..1, on `device`."""
    return torch.from_numpy(np.array(rgb)).to(device).permute(0, 3, 1, 2).float() / 255
