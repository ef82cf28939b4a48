"""Plain label propagation on DAVIS: how good descriptors are on real clips, with nothing else helping."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from slimecore.images import fit_short_side, resize_rgb
from slimecore.metrics import region_j
from training.encoder import Encoder
from training.pairs import CELL

__all__ = ["Settings", "first_frame", "mean_j", "propagate", "transfer"]


@dataclass(frozen=True)
class Settings:
    """How labels are carried: top-``k`` softmax over the reference and the last ``recent`` frames."""

    short_side: int = 384
    frames: int = 25
    recent: int = 4
    k: int = 10
    tau: float = 0.07
    radius: int = 12


def _fit(rgb: np.ndarray, short_side: int) -> np.ndarray:
    return resize_rgb(rgb, fit_short_side((rgb.shape[0], rgb.shape[1]), short_side, 16))


def _window(grid: tuple[int, int], radius: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    y, x = y.flatten(), x.flatten()
    return ((y[:, None] - y).abs() <= radius) & ((x[:, None] - x).abs() <= radius)


def transfer(query: Tensor, keys: list[Tensor], values: list[Tensor], near: Tensor, settings: Settings) -> Tensor:
    """Labels of one frame from remembered ones.

    Parameters
    ----------
    query : (n, c) Tensor
        Unit vectors.
    keys : list of (n, c) Tensor
        The first is the reference and is searched everywhere; the others within ``near``.
    values : list of (n,) Tensor
        Soft masks.
    near : (n, n) bool Tensor
    settings : Settings

    Returns
    -------
    (n,) Tensor in [0, 1]
    """
    found, labels = [], []
    for number, (key, value) in enumerate(zip(keys, values, strict=True)):
        similarity = query @ key.T
        if number:
            similarity.masked_fill_(~near, -1.0)
        best = similarity.topk(settings.k, dim=1)
        found.append(best.values)
        labels.append(value[best.indices])
    best = torch.cat(found, 1).topk(settings.k, dim=1)
    weight = (best.values / settings.tau).softmax(1)
    return (weight * torch.cat(labels, 1).gather(1, best.indices)).sum(1)


@torch.no_grad()
def propagate(frames: list[np.ndarray], mask: np.ndarray, encode: Encoder, settings: Settings) -> list[np.ndarray]:
    """Carry a mask through a clip.

    Parameters
    ----------
    frames : list of (h, w, 3) uint8
    mask : (h, w) bool
        Of the first frame.
    encode : Encoder
    settings : Settings

    Returns
    -------
    list of (h, w) bool
        For the frames after the first.
    """
    first = encode(_fit(frames[0], settings.short_side))
    grid = (first.shape[0], first.shape[1])
    near = _window(grid, settings.radius)
    start = F.interpolate(torch.from_numpy(mask).float()[None, None], size=grid, mode="area").flatten()
    keys, values, out = [first.flatten(0, 1)], [start], []
    for frame in frames[1:]:
        query = encode(_fit(frame, settings.short_side)).flatten(0, 1)
        soft = transfer(query, keys, values, near, settings)
        keys, values = [*keys, query], [*values, soft]
        if len(keys) > settings.recent + 1:
            del keys[1], values[1]
        full = F.interpolate(soft.unflatten(0, grid)[None, None], size=mask.shape, mode="bilinear")[0, 0]
        out.append((full > 0.5).numpy())
    return out


def _clip(root: Path, name: str, frames: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    pictures = sorted((root / "JPEGImages" / "480p" / name).glob("*.jpg"))[:frames]
    rgb = [cv2.imread(str(p))[..., ::-1] for p in pictures]
    masks = [root / "Annotations" / "480p" / name / f"{p.stem}.png" for p in pictures]
    return rgb, [cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) > 0 for p in masks]


def first_frame(root: Path, name: str, short_side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first picture of a sequence, fitted, and its mask as shares of 8-px cells (h / 8, w / 8)."""
    rgb, masks = _clip(root, name, 1)
    fitted = _fit(np.ascontiguousarray(rgb[0]), short_side)
    cells = (fitted.shape[1] // CELL, fitted.shape[0] // CELL)
    return fitted, cv2.resize(masks[0].astype(np.float32), cells, interpolation=cv2.INTER_AREA)


def mean_j(root: Path, sequences: list[str], encode: Encoder, settings: Settings) -> dict[str, float]:
    """Mean IoU (region J) per sequence over the first frames, at 480p.

    An absent object that is predicted absent counts 1.
    """
    scores = {}
    for name in sequences:
        frames, truth = _clip(root, name, settings.frames)
        found = propagate([np.ascontiguousarray(f) for f in frames], truth[0], encode, settings)
        scores[name] = float(np.mean([region_j(a, b) for a, b in zip(found, truth[1:], strict=True)]))
    return scores
