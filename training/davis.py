"""Plain label propagation on DAVIS: how good descriptors are on real clips, with nothing else helping."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from slimecore.imaging.resize import fit_short_side, resize_rgb
from slimecore.metrics.davis import region_j
from training.encoder import Encoder

__all__ = ["Settings", "first_frame", "mean_j", "propagate", "search", "search_near"]

_CHUNK = 1024
"""Query places that are compared with a whole reference at once."""


@dataclass(frozen=True)
class Settings:
    """How labels are carried: top-``k`` softmax over the reference and the last ``recent`` frames.

    Attributes
    ----------
    short_side : int
        Of the pictures that are encoded, pixels.
    frames : int or None
        Look at this many first frames of a clip; None for whole clips.
    recent : int
        Frames remembered beside the reference.
    k : int
        Places that vote.
    taus : tuple of float
        Temperatures; labels are carried for each of them at once, for the search does not depend on it.
    radius : int
        Recent frames are searched this many pixels around a place; the reference is searched everywhere.
    """

    short_side: int = 384
    frames: int | None = 25
    recent: int = 4
    k: int = 10
    taus: tuple[float, ...] = (0.07,)
    radius: int = 96


Found = tuple[Tensor, Tensor]
"""Similarities (n, k), falling, and the row-major numbers (n, k) of the places that have them."""


def _fit(rgb: np.ndarray, short_side: int) -> np.ndarray:
    return resize_rgb(rgb, fit_short_side((rgb.shape[0], rgb.shape[1]), short_side, 16))


def search(query: Tensor, key: Tensor, k: int) -> Found:
    """Best ``k`` places of a whole frame, for every place of another.

    Parameters
    ----------
    query, key : (h, w, c) Tensor
        Unit vectors.
    k : int
    """
    flat = key.flatten(0, 1).T
    best = [(part @ flat).topk(min(k, flat.shape[1]), dim=1) for part in query.flatten(0, 1).split(_CHUNK)]
    return torch.cat([b.values for b in best]), torch.cat([b.indices for b in best])


def search_near(query: Tensor, key: Tensor, k: int, radius: int) -> Found:
    """Best ``k`` places of a frame among those at most ``radius`` rows and columns away; -inf where there are fewer.

    Works row by row, so that no similarity of places far apart is ever computed or held.
    """
    height, width, _ = query.shape
    line = torch.arange(width)
    columns = line[:, None] + torch.arange(-radius, radius + 1)
    outside = (columns < 0) | (columns >= width)
    columns = columns.clamp(0, width - 1)
    values, places = [], []
    for row in range(height):
        top, bottom = max(row - radius, 0), min(row + radius + 1, height)
        similarity = (query[row] @ key[top:bottom].flatten(0, 1).T).unflatten(1, (bottom - top, width))
        near = similarity.gather(2, columns[:, None].expand(-1, bottom - top, -1))
        near = near.masked_fill(outside[:, None], -torch.inf).flatten(1)
        best = F.pad(near, (0, max(k - near.shape[1], 0)), value=-torch.inf).topk(k, dim=1)
        rows = (top + best.indices // columns.shape[1]).clamp(max=bottom - 1)
        values.append(best.values)
        places.append(rows * width + columns.gather(1, best.indices % columns.shape[1]))
    return torch.cat(values), torch.cat(places)


def _vote(found: list[Found], values: list[Tensor], settings: Settings) -> Tensor:
    """Labels (n, taus) from what the searches found and the labels (n', taus) of the frames searched."""
    best = torch.cat([f[0] for f in found], 1).topk(settings.k, dim=1)
    labels = torch.cat([v[f[1]] for f, v in zip(found, values, strict=True)], 1)
    weight = (best.values[..., None] / torch.tensor(settings.taus)).softmax(1)
    return (weight * labels.gather(1, best.indices[..., None].expand(-1, -1, labels.shape[2]))).sum(1)


@torch.no_grad()
def propagate(
    frames: Iterable[np.ndarray], mask: np.ndarray, encode: Encoder, settings: Settings
) -> Iterator[np.ndarray]:
    """Carry a mask through a clip. The memory does not grow with the clip's length.

    Parameters
    ----------
    frames : iterable of (h, w, 3) uint8
    mask : (h, w) bool
        Of the first frame.
    encode : Encoder
    settings : Settings

    Yields
    ------
    (taus, h, w) bool
        For the frames after the first.
    """
    stream = iter(frames)
    picture = _fit(next(stream), settings.short_side)
    reference = encode(picture)
    grid = (reference.shape[0], reference.shape[1])
    radius = round(settings.radius * grid[0] / picture.shape[0])
    start = F.interpolate(torch.from_numpy(mask).float()[None, None], size=grid, mode="area").flatten()
    start = start[:, None].expand(-1, len(settings.taus))
    recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=settings.recent)
    for frame in stream:
        query = encode(_fit(frame, settings.short_side))
        found = [search(query, reference, settings.k)]
        found += [search_near(query, key, settings.k, radius) for key, _ in recent]
        soft = _vote(found, [start, *(value for _, value in recent)], settings)
        recent.append((query, soft))
        full = F.interpolate(soft.T.unflatten(1, grid)[None], size=mask.shape, mode="bilinear")[0]
        yield (full > 0.5).numpy()


def _paths(root: Path, name: str, frames: int | None) -> tuple[list[Path], list[Path]]:
    pictures = sorted((root / "JPEGImages" / "480p" / name).glob("*.jpg"))[:frames]
    return pictures, [root / "Annotations" / "480p" / name / f"{p.stem}.png" for p in pictures]


def _picture(path: Path) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def _mask(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0


def first_frame(root: Path, name: str, short_side: int, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first picture of a sequence, fitted, and its mask as shares of cells (h / cell, w / cell)."""
    pictures, masks = _paths(root, name, 1)
    fitted = _fit(_picture(pictures[0]), short_side)
    cells = (fitted.shape[1] // cell, fitted.shape[0] // cell)
    return fitted, cv2.resize(_mask(masks[0]).astype(np.float32), cells, interpolation=cv2.INTER_AREA)


def mean_j(root: Path, sequences: list[str], encode: Encoder, settings: Settings) -> dict[str, list[float]]:
    """Mean IoU (region J) per sequence and temperature, at 480p.

    The frames after the first count, and of whole clips the last one does not, as in the DAVIS protocol. An absent
    object that is predicted absent counts 1.
    """
    scores = {}
    for name in sequences:
        pictures, masks = _paths(root, name, settings.frames)
        found = propagate(map(_picture, pictures), _mask(masks[0]), encode, settings)
        last = -1 if settings.frames is None else None
        rows = [[region_j(one, _mask(path)) for one in a] for a, path in zip(found, masks[1:last], strict=False)]
        scores[name] = [float(v) for v in np.mean(rows, axis=0)]
    return scores
