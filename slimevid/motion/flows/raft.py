"""RAFT-small (Teed and Deng, ECCV 2020) through torchvision: learned flow, for machines with an accelerator.

Neither torchvision nor its weights are part of this toolkit, and this module downloads nothing.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from slimecore.errors import ModelError
from slimecore.runtime.device import pick_device

__all__ = ["build", "weights_file"]

_SIDE_MULTIPLE_PIXELS, _MIN_SIDE_PIXELS = 8, 128  # RAFT correlates at 1/8 of the size, on four levels


class _Raft:
    """RAFT as a :class:`slimevid.motion.flows.Flow`. Images are resized to multiples of 8, at least 128."""

    def __init__(self, network: torch.nn.Module, device: torch.device) -> None:
        self._network = network.to(device).eval()
        self._device = device

    @torch.no_grad()
    def __call__(self, source: npt.NDArray[Any], target: npt.NDArray[Any]) -> npt.NDArray[Any]:
        h, w = source.shape[:2]
        size = tuple(
            max(_MIN_SIDE_PIXELS, round(side / _SIDE_MULTIPLE_PIXELS) * _SIDE_MULTIPLE_PIXELS) for side in (h, w)
        )
        first, second = (self._to_tensor(rgb, (size[0], size[1])) for rgb in (source, target))
        flow = self._network(first, second)[-1][0].permute(1, 2, 0).cpu().numpy()
        resized = np.asarray(cv2.resize(flow, (w, h), interpolation=cv2.INTER_LINEAR))
        return np.asarray(resized * np.array([w / size[1], h / size[0]]), np.float32)

    def _to_tensor(self, rgb: npt.NDArray[Any], size: tuple[int, int]) -> torch.Tensor:
        image = torch.from_numpy(np.array(rgb)).to(self._device).permute(2, 0, 1)[None].float() / 127.5 - 1
        return functional.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)


def weights_file(url: str) -> Path:
    """Return the path in torchvision's cache of the weights downloaded from `url`."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]


def build() -> _Raft:
    """Build RAFT with the weights in torchvision's cache, loaded as plain tensors.

    Raises
    ------
    ModelError
        torchvision cannot be imported, or its weights are missing or damaged.
    """
    try:
        models = importlib.import_module("torchvision.models.optical_flow")
    except (ImportError, RuntimeError) as error:  # RuntimeError: it was built for another torch
        raise ModelError(f"flow raft needs torchvision, which cannot be imported ({error}); use --flow dis") from error
    weights = models.Raft_Small_Weights.C_T_V2
    file = weights_file(weights.url)
    if not file.is_file():
        raise ModelError(f"flow raft needs the weights {file.name} in {file.parent}; put them there, or use --flow dis")
    network = models.raft_small(weights=None)
    try:
        network.load_state_dict(weights.get_state_dict(progress=False, map_location="cpu", weights_only=True))
    except Exception as error:
        raise ModelError(f"{file}: not the weights of torchvision's raft_small ({error}); use --flow dis") from error
    return _Raft(network, pick_device("auto"))
