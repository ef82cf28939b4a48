"""Memory of earlier masks, read by attention (space-time memory networks, Oh et al., ICCV 2019).

Keys are grid cells of earlier frames, values their soft masks. References are permanent. Recent frames are kept in a
FIFO, so the size does not grow with the length of the clip.

The logit of a query and a key is minus half a squared distance plus the key's prior. The distance covers descriptors
(cosine / temperature), colour (squared Lab distance) and, for recent frames, position. The read-out is attention with a
Gaussian kernel (:mod:`slimecore.attention.gaussian_kernel`, docs/adr/0025). A virtual key at a fixed distance stands
for novel appearance: half background, half parts in equal shares (docs/adr/0014).

The background probability is read from all frames together. Foreground is assigned to parts by the product of the
read-outs of references and of recent frames (docs/adr/0036).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from slimecore.attention.gaussian_kernel import GaussianKeys, gaussian_attention_sums, kernel_queries
from slimecore.memory.config import MemoryConfig
from slimecore.memory.grid_features import GridFeatures
from slimecore.memory.key_projection import KeyProjection
from slimecore.runtime.device import generator

__all__ = ["MaskMemory", "sample_places"]

_MIN_TILE_SIDE = 1 / 6  # side of the squares that are read together, as a fraction of the image's short side
_MIN_CELLS_PER_TILE = 96  # mean, below which the overhead per call dominates
_TILE_ROW_STRIDE = 4096  # exceeds the number of tiles in a row
_DISABLED_NOVELTY_DISTANCE = 50.0  # beyond the distance of similar cells, within the kernel's cutoff of 70
_MIN_AREA_SHARE = 1e-3  # smaller area shares are balanced as if they had this value
_MIN_LABELLED_SHARE = 0.5  # of a cell's area, for it to be remembered, or half the frame's maximum if this is less
_UNIFORM_SHARE = 0.1  # of the uniform distribution, mixed into part shares of references and of recent frames
_SPATIAL_CUTOFF_SIGMAS = 2.0  # keys farther away are many but change J&F by only .01 (docs/log/2026-benchmarks.md)
_BACKGROUND_CONFIDENCE = 0.9
_DILATION_DIVISOR = 10  # cells within a tenth of the short side of a part count as near


@dataclass(slots=True, eq=False)
class _Entry:
    """Keys and evidence of n cells of a remembered frame."""

    key: Tensor  # (n, d + 1) key vectors, and the prior log-weight as the last column
    evidence: Tensor  # (n, P) balanced soft labels
    position: Tensor | None  # (n, 2) row and column in short sides, None for permanent frames, read from any position


class MaskMemory:
    """Bounded memory of grid cells and their soft masks.

    Parameters
    ----------
    config : MemoryConfig
    seed : int
        Seed of the sampling of keys.
    """

    def __init__(self, config: MemoryConfig, seed: int = 0) -> None:
        self._config = config
        self._generator = generator(seed)
        self._projection = KeyProjection(config)
        self._permanent: list[_Entry] = []
        self._recent: deque[_Entry] = deque(maxlen=config.recent_frames)
        self._frames_since_write = 0
        self._reference_keys: GaussianKeys | None = None
        self._recent_keys: GaussianKeys | None = None

    @property
    def nbytes(self) -> int:
        """Size of the memory in bytes."""
        tensors = [t for e in (*self._permanent, *self._recent) for t in (e.key, e.evidence, e.position)]
        return self._projection.nbytes + sum(t.numel() * t.element_size() for t in tensors if t is not None)

    def __len__(self) -> int:
        return len(self._permanent) + len(self._recent)

    def snapshot(self) -> dict[str, Tensor]:
        """Return the state as named tensors. A memory that restores it continues bit-identically."""
        state = {f"space.{name}": tensor for name, tensor in self._projection.snapshot().items()}
        state |= {"generator": self._generator.get_state(), "since": torch.tensor([self._frames_since_write])}
        for kind, entries in (("permanent", self._permanent), ("recent", self._recent)):
            for i, entry in enumerate(entries):
                state |= {f"{kind}.{i:04d}.key": entry.key, f"{kind}.{i:04d}.evidence": entry.evidence}
                if entry.position is not None:
                    state[f"{kind}.{i:04d}.position"] = entry.position
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Replace the state by a :meth:`snapshot`."""
        self._projection.restore({name[6:]: tensor for name, tensor in state.items() if name.startswith("space.")})
        self._generator.set_state(state["generator"].cpu())
        self._frames_since_write = int(state["since"])
        for kind, entries in (("permanent", self._permanent), ("recent", self._recent)):
            entries.clear()
            for name in sorted(n[:-4] for n in state if n.startswith(f"{kind}.") and n.endswith(".key")):
                entry = _Entry(state[f"{name}.key"], state[f"{name}.evidence"], state.get(f"{name}.position"))
                entries.append(entry)
        self._reference_keys = self._recent_keys = None

    def should_write(self, frames: int = 1) -> bool:
        """Advance by a number of frames and return True if the last frame is due for :meth:`write`."""
        self._frames_since_write += frames
        if not self._config.recent_frames or self._frames_since_write < self._config.write_interval:
            return False
        self._frames_since_write = 0
        return True

    def write(self, features: GridFeatures, mask: Tensor, *, permanent: bool = False) -> None:
        """Store a frame.

        Parameters
        ----------
        features : GridFeatures
        mask : (P, h, w) float tensor
            Soft labels on the grid of `features`, summing to 1 over parts. In permanent frames the sum may be less
            than 1 in unlabelled areas.
        permanent : bool
            True for references and corrections, which are never dropped.
        """
        mask, labelled = _normalized_with_known(mask) if permanent else (mask, None)
        evidence = mask.flatten(1).T.contiguous().float()
        kept, log_weight = sample_places(mask, self._config.keys_per_frame, self._generator)
        if labelled is not None:  # unlabelled cells must not change the area shares
            evidence[~labelled] = evidence[labelled].mean(0)
            kept_is_labelled = labelled[kept.to(labelled.device)].to(kept.device)
            kept, log_weight = kept[kept_is_labelled], log_weight[kept_is_labelled]
        prior, values = self._balanced(evidence, kept)
        prior += log_weight.to(evidence)
        if permanent:  # fitted to all cells of the frame, because the kept cells are a biased sample
            self._projection.fit(*features.gather())
        key = torch.cat([self._projection.vectors(*features.gather(kept)), prior[:, None]], 1)
        position = None if permanent else features.positions(kept)
        (self._permanent if permanent else self._recent).append(_Entry(key, values, position))
        self._reference_keys = self._recent_keys = None

    def _balanced(self, evidence: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Weight large classes down by a power of their area share (docs/adr/0030).

        Foreground is balanced against background by the prior, and the parts among each other by their evidence. The
        background probability is then independent of the number of parts.

        Parameters
        ----------
        evidence : (N, P) float tensor
            Soft labels of all cells of a frame.
        kept : (n,) int64 tensor
            Indices of the remembered cells.

        Returns
        -------
        prior : (n,) float tensor
            Log-weights of the kept cells.
        evidence : (n, P) float tensor
            Soft labels of the kept cells, with weighted parts.
        """
        balance, background = self._config.class_balance, evidence[:, 0]
        area_share, foreground_share = evidence.mean(0), 1 - background.mean()
        log_background, log_foreground = (
            value.clamp(min=_MIN_AREA_SHARE).log() for value in (area_share[0], foreground_share)
        )
        prior = -balance * (log_foreground + (log_background - log_foreground) * background[kept])
        share_of_foreground = area_share[1:] / foreground_share.clamp(min=_MIN_AREA_SHARE)
        part_weights = share_of_foreground.clamp(min=_MIN_AREA_SHARE).pow(-balance)
        return prior, torch.cat([background[kept, None], evidence[kept, 1:] * part_weights], 1)

    def warp_positions(self, flow: Tensor) -> None:
        """Move the positions of recent keys along the optical flow into the present frame.

        Parameters
        ----------
        flow : (h, w, 2) float tensor
            Displacement ``(dx, dy)`` from the previous frame to the present frame, in pixels of the flow field.
        """
        height, width = flow.shape[:2]
        short = min(height, width)
        for entry in self._recent:
            if entry.position is not None:
                motion = flow.to(entry.position)
                pixel = (entry.position * short).long()  # a centre at c + 0.5 lies in pixel floor(c + 0.5)
                y, x = pixel[:, 0].clamp(0, height - 1), pixel[:, 1].clamp(0, width - 1)
                entry.position = entry.position + motion[y, x].flip(-1) / short
        self._recent_keys = None

    def change_region(self, shift: tuple[float, float], old: float, new: float) -> None:
        """Convert the positions of recent keys to the coordinates of another search region.

        Parameters
        ----------
        shift : (float, float)
            Row and column of the old region's origin in the new region, in any unit.
        old, new : float
            Short sides of the old and the new region, in the same unit.
        """
        for entry in self._recent:
            if entry.position is not None:
                entry.position = (entry.position * old + torch.tensor(shift).to(entry.position)) / new
        self._recent_keys = None

    def _keys(self) -> tuple[GaussianKeys | None, GaussianKeys | None]:
        """Return the keys of permanent and of recent frames, cached until either changes."""
        if self._reference_keys is None and self._permanent:
            self._reference_keys = _gaussian_keys(self._permanent)
        if self._recent_keys is None and self._recent:
            sigma = self._config.spatial_sigma
            self._recent_keys = _gaussian_keys(self._recent, self._recent_positions() / sigma if sigma else None)
        return self._reference_keys, self._recent_keys

    def _recent_positions(self) -> Tensor:
        return torch.cat([entry.position for entry in self._recent if entry.position is not None])

    @property
    def _sum_rows(self) -> int:
        """Rows of the kernel sums: P of the evidence and 1 of the weights."""
        return next(entry.evidence.shape[1] for entry in (*self._permanent, *self._recent)) + 1

    @torch.no_grad()
    def read(self, features: GridFeatures, where: Tensor | None = None) -> Tensor:
        """Read part probabilities for grid cells of a new frame.

        Parameters
        ----------
        features : GridFeatures
        where : (n,) int64 tensor, optional
            Indices of the cells to read, all by default.

        Returns
        -------
        (n, P) float tensor
            Probabilities summing to 1 over parts.
        """
        cells = torch.arange(len(features), device=features.device) if where is None else where
        vector = self._projection.vectors(*features.gather(cells))
        reference_keys, recent_keys = self._keys()
        reference_sums = (
            vector.new_zeros(self._sum_rows, len(cells))
            if reference_keys is None
            else gaussian_attention_sums(kernel_queries(vector), reference_keys)
        )
        recent_sums = None if recent_keys is None else self._sum_recent(vector, features.positions(cells), recent_keys)
        sums = reference_sums if recent_sums is None else reference_sums + recent_sums
        novelty_weight = math.exp(-(self._config.novelty_distance or _DISABLED_NOVELTY_DISTANCE))
        background = (sums[:1] + novelty_weight / 2) / (sums[-1:] + novelty_weight)
        part_floor = novelty_weight / (2 * max(1, len(sums) - 2))
        if recent_sums is None or reference_keys is None or len(sums) == 3:
            parts = sums[1:-1] + part_floor
        else:
            power = self._config.reference_share
            from_references = _with_uniform_floor(reference_sums[1:-1] + part_floor)
            from_recent = _with_uniform_floor(recent_sums[1:-1] + part_floor)
            parts = from_references.pow(power) * from_recent.pow(1 - power)
        return torch.cat([background, parts * ((1 - background) / parts.sum(0))]).T

    def _sum_recent(self, vector: Tensor, position: Tensor, keys: GaussianKeys) -> Tensor:
        """Compute the kernel sums (P + 1, n) over recent keys, tile by tile with the keys near each tile."""
        if not self._config.spatial_sigma:
            return gaussian_attention_sums(kernel_queries(vector), keys)
        sums = vector.new_zeros(self._sum_rows, len(vector))
        query = kernel_queries(torch.cat([vector, position / self._config.spatial_sigma], 1))
        tiles = _group_by_tile(position)
        for tile, near in zip(tiles, self._keys_in_reach([position[tile] for tile in tiles]), strict=True):
            sums[:, tile] = gaussian_attention_sums(query[tile], keys.among(near))
        return sums

    def _keys_in_reach(self, positions: list[Tensor]) -> list[Tensor]:
        """Return for each group of positions (n, 2) the indices of recent keys within the spatial cutoff of its box."""
        cutoff = _SPATIAL_CUTOFF_SIGMAS * self._config.spatial_sigma
        low = torch.stack([group.amin(0) for group in positions]) - cutoff
        high = torch.stack([group.amax(0) for group in positions]) + cutoff
        key_position = self._recent_positions()
        inside = (key_position >= low[:, None]) & (key_position <= high[:, None])
        return [near.nonzero()[:, 0] for near in inside.all(2)]


def _with_uniform_floor(parts: Tensor) -> Tensor:
    """Normalise part shares (parts, n) and mix in a uniform share, so that neither read-out can rule out a part."""
    return parts * ((1 - _UNIFORM_SHARE) / parts.sum(0)) + _UNIFORM_SHARE / len(parts)


def _normalized_with_known(mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """Normalise partially labelled soft labels.

    Parameters
    ----------
    mask : (P, h, w) float tensor
        Summing to the labelled fraction of each cell, 0..1.

    Returns
    -------
    mask : (P, h, w) float tensor
        Summing to 1 over parts. Unlabelled cells are background.
    labelled : (h * w,) bool tensor or None
        None if all cells are labelled, with `mask` unchanged.
    """
    total = mask.sum(0)
    labelled = total > min(_MIN_LABELLED_SHARE, float(total.max()) / 2)
    if bool(labelled.all()):
        return mask, None
    mask = mask / total.clamp(min=1e-6)
    mask[:, ~labelled] = 0
    mask[0, ~labelled] = 1
    return mask, labelled.flatten()


def _gaussian_keys(entries: Iterable[_Entry], position: Tensor | None = None) -> GaussianKeys:
    """Concatenate the keys of frames. Positions (n, 2), in spatial standard deviations, extend the key vectors."""
    entries = list(entries)
    key = torch.cat([entry.key for entry in entries])
    vector = key[:, :-1] if position is None else torch.cat([key[:, :-1], position], 1)
    return GaussianKeys.of(vector, key[:, -1], torch.cat([entry.evidence for entry in entries]))


def _group_by_tile(position: Tensor) -> list[Tensor]:
    """Group indices of positions (n, 2) by square tiles, doubled in size until they hold enough cells on average."""
    side = _MIN_TILE_SIDE
    while True:
        tile = (position / side).long()
        number = tile[:, 0] * _TILE_ROW_STRIDE + tile[:, 1]
        order = number.argsort(stable=True)
        counts = torch.unique_consecutive(number[order], return_counts=True)[1]
        if len(counts) == 1 or len(position) >= _MIN_CELLS_PER_TILE * len(counts):
            return list(order.split(counts.tolist()))
        side *= 2


def sample_places(mask: Tensor, budget: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sample the cells of a frame to remember: densely near parts, sparsely elsewhere (docs/adr/0008).

    Three quarters of the budget, at most, go to cells near parts.

    Parameters
    ----------
    mask : (P, h, w) float tensor
        Soft labels. Row 0 is the background.
    budget : int
        Expected number of cells. 0 keeps all.
    generator : torch.Generator

    Returns
    -------
    kept : (n,) int64 tensor
        Indices of cells, increasing.
    log_weight : (n,) float tensor
        Logarithm of the inverse inclusion probability (Horvitz and Thompson, 1952), so that sums stay unbiased.
    """
    height, width = mask.shape[-2:]
    count = height * width
    if budget == 0 or budget >= count:
        return torch.arange(count), torch.zeros(count)
    radius = max(1, min(height, width) // _DILATION_DIVISOR)
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    foreground = (mask[0] < _BACKGROUND_CONFIDENCE).cpu().numpy().astype(np.uint8)
    near = torch.from_numpy(cv2.dilate(foreground, square)).to(mask.device).flatten() > 0
    near_count = int(near.sum())
    near_budget = min(near_count, budget * 3 // 4)
    rates = torch.where(
        near,
        torch.tensor(near_budget / max(near_count, 1)),
        torch.tensor((budget - near_budget) / max(count - near_count, 1)),
    ).clamp(max=1.0)
    kept = torch.nonzero(torch.rand(count, generator=generator) < rates.cpu()).flatten()
    return kept, -rates.cpu()[kept].log()
