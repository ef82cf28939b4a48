"""What the evidence missed: a small network that adds to the parts, fitted on drawn clips.

What is found by comparing places of a grid loses what is thinner than a place: hands, feet, tails. A decoder in the
sense of space-time memory networks (Oh et al., ICCV 2019) sees the picture itself beside all evidence, and says how
much likelier every pixel is to belong to the parts. Only what it adds is taken, and of that only what motion vouches
for is carried on (:mod:`slimevid.fusion.motion_gate`), so that it cannot feed on what it added before. Records 27 and
33 say why.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from slimecore.array_types import Array
from slimecore.errors import ModelError
from slimecore.imaging.boxes import Box
from slimecore.io.atomic_files import write_bytes
from slimecore.runtime.device import pick_dtype
from slimevid.frame.features import FrameFeatures

__all__ = [
    "INPUT_CHANNELS",
    "NetworkRefiner",
    "RefinementNet",
    "Refiner",
    "load_completion",
    "log_odds",
    "read_completion",
    "refine",
    "write_completion",
]

INPUT_CHANNELS = ("all", "memory", "learned", "carried", "trust", "motion", "colours")
"""Evidence the network sees: probabilities of any part by all evidence together, by the memory, by the learned parts
and by the labels carried along the flow; that flow's reliability, 0..1; what motion says for the background, in shares
of its limit, or against it, down to -.5; and the log-odds of the colour for a part. A probability there is no evidence
of is as that of all but the colours, trust and motion are then 0."""
WEIGHTS = Path(str(resources.files("slimevid"))) / "models" / "completion.safetensors"
_CELL = 4  # pixels of the working size along a side of the finest cells
_WIDTHS = (32, 40, 48)
_SURE = 1e-3
_RADII = (2, 5)  # of the surroundings whose colours are compared, cells


class Refiner(Protocol):
    """What is called with the evidence on a frame; see :func:`complete`."""

    def __call__(self, state: FrameFeatures, box: Box, planes: Array) -> Array:
        """Log-odds (h, w) float32, at least 0, to add to all parts against the background, in a box of the frame."""
        ...


def log_odds(probability: Tensor) -> Tensor:
    """Of probabilities, kept within what single precision and a small network can use."""
    return torch.logit(probability.clamp(_SURE, 1 - _SURE))


class RefinementNet(nn.Module):
    """A U-Net of three levels on cells of 4 x 4 pixels.

    Parameters
    ----------
    widths : sequence of int
        Channels at 1/4, 1/8 and 1/16 of the working size.
    normed : bool
        With batch norm, for training; once trained it is folded into the convolutions.
    """

    def __init__(self, widths: Sequence[int] = _WIDTHS, *, normed: bool = False) -> None:
        super().__init__()
        inputs = 5 * _CELL**2 + len(_RADII) + len(INPUT_CHANNELS) - 2
        down, up = zip([inputs, *widths[:-1]], widths, strict=True), zip(widths[-2::-1], widths[:0:-1], strict=True)
        firsts = [1] + [3] * (len(widths) - 1)  # 3 there too would be a quarter of all the work
        kinds = zip(down, firsts, strict=True)
        self.down = nn.ModuleList(_block(a, b, first, normed=normed) for (a, b), first in kinds)
        self.up = nn.ModuleList(_block(a + b, a, normed=normed) for a, b in up)
        self.out = nn.Conv2d(widths[0], _CELL**2, 3, padding=1)
        for parameter in self.out.parameters():  # at first it adds nothing
            nn.init.zeros_(parameter)

    def forward(self, planes: Tensor, rgb: Tensor) -> Tensor:
        """Log-odds to add to those of the first plane.

        Parameters
        ----------
        planes : (B, 7, h, w) float
            As :data:`PLANES`.
        rgb : (B, 3, h, w) float
            0..1.

        Returns
        -------
        (B, h, w) float
        """
        height, width = planes.shape[-2:]
        multiple = _CELL << (len(self.down) - 1)
        padding = (0, -width % multiple, 0, -height % multiple)
        planes, rgb = (functional.pad(x, padding, mode="replicate") for x in (planes, rgb))
        maps = self._seen(planes, rgb).to(self.out.weight.dtype)
        levels: list[Tensor] = []
        for level, block in enumerate(self.down):
            maps = block(functional.max_pool2d(maps, 2) if level else maps)
            levels.append(maps)
        for block, level_maps in zip(self.up, levels[-2::-1], strict=True):
            maps = block(torch.cat([functional.interpolate(maps, scale_factor=2.0, mode="nearest"), level_maps], 1))
        return functional.pixel_shuffle(self.out(maps).float(), _CELL)[:, 0, :height, :width]

    @staticmethod
    def _seen(planes: Tensor, rgb: Tensor) -> Tensor:
        """(B, C, h / 4, w / 4): the picture and the likeliest mask in full, colour against what surrounds it, cues."""
        known = planes[:, :1]
        coarse, cells = functional.avg_pool2d(rgb, _CELL), functional.avg_pool2d(planes, _CELL)
        plain = (rgb - coarse.mean((2, 3), keepdim=True)) / (coarse.std((1, 2, 3), keepdim=True) + 0.05)
        return torch.cat(
            [
                functional.pixel_unshuffle(plain, _CELL),
                functional.pixel_unshuffle(log_odds(known), _CELL) / 2,
                functional.pixel_unshuffle(planes[:, 6:7], _CELL) / 2,
                *(_contrast(coarse, cells[:, :1], radius) for radius in _RADII),
                log_odds(cells[:, 1:4]) / 2,
                cells[:, 4:5] / 2,
                cells[:, 5:6],
            ],
            1,
        )


def _block(inputs: int, outputs: int, first: int = 3, *, normed: bool) -> nn.Sequential:
    def layer(channels: int, side: int) -> list[nn.Module]:
        norm = nn.BatchNorm2d(outputs) if normed else nn.Identity()
        return [nn.Conv2d(channels, outputs, side, padding=side // 2, bias=not normed), norm, nn.ReLU()]

    return nn.Sequential(*layer(inputs, first), *layer(outputs, 3))


def _contrast(rgb: Tensor, known: Tensor, radius: int) -> Tensor:
    """Whether a colour is nearer to that of the parts around it (1) or of the background around it (-1).

    (B, 1, h, w) of (B, 3, h, w) and the probability of a part (B, 1, h, w).
    """
    rows, columns = (_means(side, radius).to(rgb) for side in rgb.shape[-2:])

    def around(values: Tensor) -> Tensor:
        return rows @ values @ columns.T  # pooling windows this wide takes four times as long

    def distance(weight: Tensor) -> Tensor:
        mean = around(rgb * weight) / (around(weight) + 1e-2)
        return (rgb - mean).square().sum(1, keepdim=True).sqrt()

    to_parts, to_ground = distance(known), distance(1 - known)
    return (to_ground - to_parts) / (to_ground + to_parts + 0.05)


@lru_cache(maxsize=64)
def _means(side: int, radius: int) -> Tensor:
    """(side, side) matrix that takes the mean of each value and `radius` to both sides, the border repeating."""
    near = (torch.arange(side)[:, None] + torch.arange(-radius, radius + 1)).clamp(0, side - 1)
    return torch.zeros(side, side).scatter_add_(1, near, torch.full(near.shape, 1 / (2 * radius + 1)))


@lru_cache(maxsize=2)
def load_completion(dtype: torch.dtype = torch.float32) -> RefinementNet:
    """Load the shipped network, to compute in some precision on the CPU, where the evidence is.

    Raises
    ------
    ModelError
        The file is missing or damaged.
    """
    return _for_inference(read_completion(WEIGHTS), dtype)


def read_completion(path: Path) -> RefinementNet:
    """Read a network's weights, in single precision.

    Raises
    ------
    ModelError
        The file is missing or damaged.
    """
    net = RefinementNet()
    try:
        net.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"{path}: cannot read the completing network; install again, or --set fusion.refinement_limit=0"
        ) from error
    return _for_inference(net, torch.float32)


def write_completion(path: Path, net: RefinementNet) -> None:
    """Write a network's weights as they are, atomically.

    Raises
    ------
    OutputError
        The place cannot be written.
    """
    write_bytes(path, save({name: value.contiguous() for name, value in net.state_dict().items()}))


def _for_inference(net: RefinementNet, dtype: torch.dtype) -> RefinementNet:
    net.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in torch's own stub
    return net.eval().requires_grad_(requires_grad=False)


@torch.no_grad()
def refine(state: FrameFeatures, box: Box, planes: Array) -> Array:
    """Log-odds to add to all parts against the background, by the shipped network.

    Parameters
    ----------
    state : FrameState
    box : Box
        Rows and columns of the window at its working size.
    planes : (7, h, w) float32
        As :data:`PLANES`, in that box.

    Returns
    -------
    (h, w) float32
        At least 0.
    """
    return _added(load_completion(_dtype(state.config.model.dtype)), state, box, planes)


class NetworkRefiner:
    """Another network than the shipped one, to be asked as :func:`complete` is.

    Parameters
    ----------
    net : CompletionNet
        In single precision.
    precision : str
        ``ModelSpec.dtype``: with ``half`` a copy in half precision is asked, where the processor computes with it.
    """

    def __init__(self, net: RefinementNet, precision: str) -> None:
        self._net = _for_inference(deepcopy(net), _dtype(precision))

    @torch.no_grad()
    def __call__(self, state: FrameFeatures, box: Box, planes: Array) -> Array:
        """See :func:`complete`."""
        return _added(self._net, state, box, planes)


def _dtype(precision: str) -> torch.dtype:
    return pick_dtype("half", torch.device("cpu")) if precision == "half" else torch.float32


def _added(net: RefinementNet, state: FrameFeatures, box: Box, planes: Array) -> Array:
    rgb = state.mask_image[box].astype(np.float32) / 255
    seen = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None]
    found = net(torch.from_numpy(planes)[None], seen)[0]
    return np.asarray(found.clamp_min(0).numpy())
