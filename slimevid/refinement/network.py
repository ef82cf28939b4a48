"""Refinement network: a small U-Net that adds log-odds to the foreground, trained on synthetic clips.

Evidence on grid cells misses structures thinner than a cell: hands, feet, tails. The network sees the image beside all
evidence, as the decoder of space-time memory networks does (Oh et al., ICCV 2019). It outputs the log-odds by which the
evidence errs. Only positive log-odds are used. They are propagated only as far as motion agrees
(:mod:`slimevid.fusion.motion_gate`), so the network cannot reinforce its own errors (docs/adr/0027, docs/adr/0033).
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
"""Evidence planes of the network's input, in this order.

- ``all``, ``memory``, ``learned``, ``carried``: probability of the foreground, 0..1, by all evidence together, by the
  memory, by the part embeddings, and by the labels propagated along the flow.
- ``trust``: reliability of the flow, 0..1.
- ``motion``: log-odds of the background by motion and spatial prior, divided by the limit of the motion cue and clipped
  to -0.5..1.
- ``colours``: log-odds of the foreground by colour.

If a cue is missing, its probability plane repeats ``all`` without the colour term. ``trust`` and ``motion`` are then 0.
"""
WEIGHTS = Path(str(resources.files("slimevid"))) / "models" / "completion.safetensors"
_CELL_PIXELS = 4  # side of the finest cells, at the size of soft masks
_CHANNELS = (32, 40, 48)  # at 1/4, 1/8 and 1/16 of that size
_MIN_PROBABILITY = 1e-3  # of the network's inputs and their complements
_CONTRAST_RADII_CELLS = (2, 5)  # of the neighbourhoods for the colour contrast


class Refiner(Protocol):
    """Function that refines the evidence of a frame, see :func:`refine`."""

    def __call__(self, features: FrameFeatures, box: Box, planes: Array) -> Array:
        """Compute log-odds to add to the foreground in a box of the frame.

        Parameters
        ----------
        features : FrameFeatures
        box : Box
            Rows and columns of the search region, at the size of soft masks.
        planes : (7, h, w) float32
            Evidence in that box, channels as in :data:`INPUT_CHANNELS`.

        Returns
        -------
        (h, w) float32
            At least 0.
        """
        ...


def log_odds(probability: Tensor) -> Tensor:
    """Compute the log-odds of probabilities, clipped to 0.001..0.999."""
    return torch.logit(probability.clamp(_MIN_PROBABILITY, 1 - _MIN_PROBABILITY))


class RefinementNet(nn.Module):
    """U-Net (Ronneberger et al., MICCAI 2015) of three levels on cells of 4 x 4 pixels.

    Parameters
    ----------
    widths : sequence of int
        Channels at 1/4, 1/8 and 1/16 of the size of soft masks.
    normed : bool
        Use batch norm, for training. After training it is folded into the convolutions.
    """

    def __init__(self, widths: Sequence[int] = _CHANNELS, *, normed: bool = False) -> None:
        super().__init__()
        inputs = 5 * _CELL_PIXELS**2 + len(_CONTRAST_RADII_CELLS) + len(INPUT_CHANNELS) - 2
        down, up = zip([inputs, *widths[:-1]], widths, strict=True), zip(widths[-2::-1], widths[:0:-1], strict=True)
        firsts = [1] + [3] * (len(widths) - 1)  # a 3 x 3 kernel on the widest input would be a quarter of all the work
        kinds = zip(down, firsts, strict=True)
        self.down = nn.ModuleList(_block(a, b, first, normed=normed) for (a, b), first in kinds)
        self.up = nn.ModuleList(_block(a + b, a, normed=normed) for a, b in up)
        self.out = nn.Conv2d(widths[0], _CELL_PIXELS**2, 3, padding=1)
        for parameter in self.out.parameters():  # an untrained network adds nothing
            nn.init.zeros_(parameter)

    def forward(self, planes: Tensor, rgb: Tensor) -> Tensor:
        """Compute log-odds to add to those of the first plane.

        Parameters
        ----------
        planes : (B, 7, h, w) float
            Evidence, channels as in :data:`INPUT_CHANNELS`.
        rgb : (B, 3, h, w) float
            Image, 0..1.

        Returns
        -------
        (B, h, w) float32
            Positive and negative values.
        """
        height, width = planes.shape[-2:]
        multiple = _CELL_PIXELS << (len(self.down) - 1)
        padding = (0, -width % multiple, 0, -height % multiple)
        planes, rgb = (functional.pad(x, padding, mode="replicate") for x in (planes, rgb))
        maps = self._input_maps(planes, rgb).to(self.out.weight.dtype)
        levels: list[Tensor] = []
        for level, block in enumerate(self.down):
            maps = block(functional.max_pool2d(maps, 2) if level else maps)
            levels.append(maps)
        for block, level_maps in zip(self.up, levels[-2::-1], strict=True):
            maps = block(torch.cat([functional.interpolate(maps, scale_factor=2.0, mode="nearest"), level_maps], 1))
        return functional.pixel_shuffle(self.out(maps).float(), _CELL_PIXELS)[:, 0, :height, :width]

    @staticmethod
    def _input_maps(planes: Tensor, rgb: Tensor) -> Tensor:
        """Return the network's input on cells, (B, C, h / 4, w / 4).

        Image, foreground probability and colour log-odds keep all 16 pixels of a cell as channels. Colour contrast and
        the other cues have a single value per cell.
        """
        foreground = planes[:, :1]
        coarse, cells = functional.avg_pool2d(rgb, _CELL_PIXELS), functional.avg_pool2d(planes, _CELL_PIXELS)
        normalized = (rgb - coarse.mean((2, 3), keepdim=True)) / (coarse.std((1, 2, 3), keepdim=True) + 0.05)
        return torch.cat(
            [
                functional.pixel_unshuffle(normalized, _CELL_PIXELS),
                functional.pixel_unshuffle(log_odds(foreground), _CELL_PIXELS) / 2,
                functional.pixel_unshuffle(planes[:, 6:7], _CELL_PIXELS) / 2,
                *(_contrast(coarse, cells[:, :1], radius) for radius in _CONTRAST_RADII_CELLS),
                log_odds(cells[:, 1:4]) / 2,
                cells[:, 4:5] / 2,
                cells[:, 5:6],
            ],
            1,
        )


def _block(inputs: int, outputs: int, first: int = 3, *, normed: bool) -> nn.Sequential:
    """Make two convolutions, the first with kernels of `first` x `first`, the second with 3 x 3."""

    def layer(channels: int, side: int) -> list[nn.Module]:
        norm = nn.BatchNorm2d(outputs) if normed else nn.Identity()
        return [nn.Conv2d(channels, outputs, side, padding=side // 2, bias=not normed), norm, nn.ReLU()]

    return nn.Sequential(*layer(inputs, first), *layer(outputs, 3))


def _contrast(rgb: Tensor, foreground: Tensor, radius: int) -> Tensor:
    """Compare each colour with the mean colours of foreground and background in its neighbourhood.

    Parameters
    ----------
    rgb : (B, 3, h, w) float
    foreground : (B, 1, h, w) float
        Probability of the foreground, 0..1.
    radius : int
        Half the side of the neighbourhood, in cells.

    Returns
    -------
    (B, 1, h, w) float
        From -1 (the background's mean colour) to 1 (the foreground's mean colour).
    """
    row_means, column_means = (_box_mean_matrix(side, radius).to(rgb) for side in rgb.shape[-2:])

    def local_mean(values: Tensor) -> Tensor:
        return row_means @ values @ column_means.T  # average pooling this wide takes four times as long

    def distance(weight: Tensor) -> Tensor:
        mean = local_mean(rgb * weight) / (local_mean(weight) + 1e-2)
        return (rgb - mean).square().sum(1, keepdim=True).sqrt()

    to_foreground, to_background = distance(foreground), distance(1 - foreground)
    return (to_background - to_foreground) / (to_background + to_foreground + 0.05)


@lru_cache(maxsize=64)
def _box_mean_matrix(side: int, radius: int) -> Tensor:
    """Return a (side, side) matrix for the running mean over 2 `radius` + 1 values. The border repeats."""
    neighbors = (torch.arange(side)[:, None] + torch.arange(-radius, radius + 1)).clamp(0, side - 1)
    return torch.zeros(side, side).scatter_add_(1, neighbors, torch.full(neighbors.shape, 1 / (2 * radius + 1)))


@lru_cache(maxsize=2)
def load_completion(dtype: torch.dtype = torch.float32) -> RefinementNet:
    """Load the shipped network for inference on the CPU, with weights of type `dtype`.

    Raises
    ------
    ModelError
        The file is missing or damaged.
    """
    return _for_inference(read_completion(WEIGHTS), dtype)


def read_completion(path: Path) -> RefinementNet:
    """Read a network from a ``.safetensors`` file, in single precision.

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
            f"{path}: cannot read the refinement network; install again, or --set fusion.refinement_limit=0"
        ) from error
    return _for_inference(net, torch.float32)


def write_completion(path: Path, net: RefinementNet) -> None:
    """Write a network's weights atomically to a ``.safetensors`` file, in the network's precision.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    write_bytes(path, save({name: value.contiguous() for name, value in net.state_dict().items()}))


def _for_inference(net: RefinementNet, dtype: torch.dtype) -> RefinementNet:
    net.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in torch's own stub
    return net.eval().requires_grad_(requires_grad=False)


@torch.no_grad()
def refine(features: FrameFeatures, box: Box, planes: Array) -> Array:
    """Compute log-odds to add to the foreground, by the shipped network.

    Parameters
    ----------
    features : FrameFeatures
    box : Box
        Rows and columns of the search region, at the size of soft masks.
    planes : (7, h, w) float32
        Evidence in that box, channels as in :data:`INPUT_CHANNELS`.

    Returns
    -------
    (h, w) float32
        At least 0.
    """
    return _apply_network(load_completion(_dtype(features.config.model.dtype)), features, box, planes)


class NetworkRefiner:
    """A refinement network other than the shipped network, as a :class:`Refiner`.

    Parameters
    ----------
    net : RefinementNet
        In single precision.
    precision : str
        ``ModelSpec.dtype``. With ``half`` a copy in half precision is used if the processor supports it.
    """

    def __init__(self, net: RefinementNet, precision: str) -> None:
        self._net = _for_inference(deepcopy(net), _dtype(precision))

    @torch.no_grad()
    def __call__(self, features: FrameFeatures, box: Box, planes: Array) -> Array:
        """Compute log-odds to add to the foreground.

        Parameters
        ----------
        features : FrameFeatures
        box : Box
        planes : (7, h, w) float32
            As for :func:`refine`.

        Returns
        -------
        (h, w) float32
            At least 0.
        """
        return _apply_network(self._net, features, box, planes)


def _dtype(precision: str) -> torch.dtype:
    return pick_dtype("half", torch.device("cpu")) if precision == "half" else torch.float32


def _apply_network(net: RefinementNet, features: FrameFeatures, box: Box, planes: Array) -> Array:
    rgb = features.mask_image[box].astype(np.float32) / 255
    image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None]
    log_odds_to_add = net(torch.from_numpy(planes)[None], image)[0]
    return np.asarray(log_odds_to_add.clamp_min(0).numpy())
