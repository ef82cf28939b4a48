"""Memory of earlier masks: WAS-attention through time.

Keys are places of remembered frames, values their soft masks; reading is the attention of
:mod:`slimecore.attention.was` with
longer K and V. Reference frames are permanent; recent frames pass through a bounded FIFO, so the bytes are bounded
whatever the length of the clip. Whether a place is any part is read from all together; which one from both kinds apart,
as two witnesses: recent frames look more like the present one, and what went wrong there would outweigh the references.

The similarity of two places is a sum of terms: learned descriptors (cosine / temperature), colour (squared Lab
distance) and, for recent frames, nearness in the picture. Together they are half a squared distance, and attention with
such logits is computed as its two sums (:mod:`slimecore.attention.gaussian_kernel`). One more key stands for what was
never seen: it
holds equal shares of all parts.
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


_TILE = 1 / 6  # least side of the squares that are read together, as a share of the picture's short side
_CROWD = 96  # places a square should have on average, to be worth a call
_NEVER = 50.0  # where nothing is to count as unseen: farther than anything alike, nearer than kernel_sums cuts off
_SMALLEST = 1e-3  # a share of the picture below this is balanced like this
_KNOWN = 0.5  # share of a place that must be known for it to be remembered, where any place is known that well
_DOUBT = 0.1  # of what permanent, or recent, frames alone say of which part a place is
_REACH = 2.0  # standard deviations of the window; the keys beyond are many, and change J&F by .01 (docs/benchmarks.md)


@dataclass(slots=True, eq=False)
class _Entry:
    """Keys of one remembered frame; `position` is None for a permanent one, whose keys answer from everywhere."""

    key: Tensor
    evidence: Tensor
    position: Tensor | None


class MaskMemory:
    """Bounded memory of places and soft masks.

    Parameters
    ----------
    config : MemoryConfig
    seed : int
        Seeds the sampling of far keys.
    """

    def __init__(self, config: MemoryConfig, seed: int = 0) -> None:
        self._config = config
        self._generator = generator(seed)
        self._space = KeyProjection(config)
        self._permanent: list[_Entry] = []
        self._recent: deque[_Entry] = deque(maxlen=config.recent_frames)
        self._since = 0
        self._far: GaussianKeys | None = None
        self._near: GaussianKeys | None = None

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        tensors = [t for e in (*self._permanent, *self._recent) for t in (e.key, e.evidence, e.position)]
        return self._space.nbytes + sum(t.numel() * t.element_size() for t in tensors if t is not None)

    def __len__(self) -> int:
        return len(self._permanent) + len(self._recent)

    def snapshot(self) -> dict[str, Tensor]:
        """Everything remembered, as named tensors: a memory that restores them reads and writes on bit for bit."""
        state = {f"space.{name}": tensor for name, tensor in self._space.snapshot().items()}
        state |= {"generator": self._generator.get_state(), "since": torch.tensor([self._since])}
        for kind, entries in (("permanent", self._permanent), ("recent", self._recent)):
            for i, entry in enumerate(entries):
                state |= {f"{kind}.{i:04d}.key": entry.key, f"{kind}.{i:04d}.evidence": entry.evidence}
                if entry.position is not None:
                    state[f"{kind}.{i:04d}.position"] = entry.position
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Forget everything and take over a :meth:`snapshot`."""
        self._space.restore({name[6:]: tensor for name, tensor in state.items() if name.startswith("space.")})
        self._generator.set_state(state["generator"].cpu())
        self._since = int(state["since"])
        for kind, entries in (("permanent", self._permanent), ("recent", self._recent)):
            entries.clear()
            for name in sorted(n[:-4] for n in state if n.startswith(f"{kind}.") and n.endswith(".key")):
                entry = _Entry(state[f"{name}.key"], state[f"{name}.evidence"], state.get(f"{name}.position"))
                entries.append(entry)
        self._far = self._near = None

    def should_write(self, frames: int = 1) -> bool:
        """Count so many frames as passed; whether the last is one to :meth:`write`."""
        self._since += frames
        if not self._config.recent_frames or self._since < self._config.write_interval:
            return False
        self._since = 0
        return True

    def write(self, places: GridFeatures, mask: Tensor, *, permanent: bool = False) -> None:
        """Remember a frame.

        Parameters
        ----------
        places : Places
        mask : (P, h, w) float tensor
            Soft labels on the grid of `places`, summing to 1 over parts; of a permanent frame to less where they are
            not known.
        permanent : bool
            References and corrections: never dropped.
        """
        mask, known = _normalized_with_known(mask) if permanent else (mask, None)
        evidence = mask.flatten(1).T.contiguous().float()
        kept, log_weight = sample_places(mask, self._config.keys_per_frame, self._generator)
        if known is not None:  # what is not known says nothing, of the background neither
            evidence[~known] = evidence[known].mean(0)
            told = known[kept.to(known.device)].to(kept.device)
            kept, log_weight = kept[told], log_weight[told]
        prior, values = self._balanced(evidence, kept)
        prior += log_weight.to(evidence)
        if permanent:  # the space is fitted to a whole frame, not to the places that are kept of it
            self._space.fit(*places.gather())
        key = torch.cat([self._space.vectors(*places.gather(kept)), prior[:, None]], 1)
        position = None if permanent else places.positions(kept)
        (self._permanent if permanent else self._recent).append(_Entry(key, values, position))
        self._far = self._near = None

    def _balanced(self, evidence: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n,) and evidence (n, P) of kept places against the pull of what is large.

        Parts together are balanced against the background, and each against the parts together: how a thing is cut
        into parts says nothing about where it ends.
        """
        balance, ground = self._config.class_balance, evidence[:, 0]
        share, any_part = evidence.mean(0), 1 - ground.mean()
        of_ground, of_any = (value.clamp(min=_SMALLEST).log() for value in (share[0], any_part))
        prior = -balance * (of_any + (of_ground - of_any) * ground[kept])
        apart = (share[1:] / any_part.clamp(min=_SMALLEST)).clamp(min=_SMALLEST).pow(-balance)
        return prior, torch.cat([ground[kept, None], evidence[kept, 1:] * apart], 1)

    def warp_positions(self, flow: Tensor) -> None:
        """Let remembered places ride on the motion, so that nearness is judged where things are now.

        Parameters
        ----------
        flow : (h, w, 2) float tensor
            Displacement ``(dx, dy)`` from the previous frame into the present one, in pixels of its own size.
        """
        height, width = flow.shape[:2]
        short = min(height, width)
        for entry in self._recent:
            if entry.position is not None:
                motion = flow.to(entry.position)
                pixel = (entry.position * short).long()  # a centre at c + 0.5 lies in pixel floor(c + 0.5)
                y, x = pixel[:, 0].clamp(0, height - 1), pixel[:, 1].clamp(0, width - 1)
                entry.position = entry.position + motion[y, x].flip(-1) / short
        self._near = None

    def change_region(self, shift: tuple[float, float], old: float, new: float) -> None:
        """Judge nearness in another frame of reference from now on.

        Parameters
        ----------
        shift : (float, float)
            Row and column of the old origin in the new frame of reference, in any unit.
        old, new : float
            Short sides of the old and the new pictures, in that unit.
        """
        for entry in self._recent:
            if entry.position is not None:
                entry.position = (entry.position * old + torch.tensor(shift).to(entry.position)) / new
        self._near = None

    def _keys(self) -> tuple[GaussianKeys | None, GaussianKeys | None]:
        """Keys of permanent frames, made once for all frames, and of recent ones, made once for a frame."""
        if self._far is None and self._permanent:
            self._far = _keys_of(self._permanent)
        if self._near is None and self._recent:
            self._near = _keys_of(
                self._recent, self._nearby() / self._config.spatial_sigma if self._config.spatial_sigma else None
            )
        return self._far, self._near

    def _nearby(self) -> Tensor:
        return torch.cat([entry.position for entry in self._recent if entry.position is not None])

    @property
    def _columns(self) -> int:
        """One a part, and one more."""
        return next(entry.evidence.shape[1] for entry in (*self._permanent, *self._recent)) + 1

    @torch.no_grad()
    def read(self, places: GridFeatures, where: Tensor | None = None) -> Tensor:
        """Labels that remembered places suggest for the places of a new frame.

        Parameters
        ----------
        places : Places
        where : (n,) int64 tensor, optional
            Only these places are asked; all by default.

        Returns
        -------
        (n, P) float tensor, summing to 1 over parts
        """
        asked = torch.arange(len(places), device=places.device) if where is None else where
        point = self._space.vectors(*places.gather(asked))
        keys, recent = self._keys()
        far = (
            point.new_zeros(self._columns, len(asked))
            if keys is None
            else gaussian_attention_sums(kernel_queries(point), keys)
        )
        near = None if recent is None else self._of_recent(point, places.positions(asked), recent)
        sums = far if near is None else far + near
        unseen = math.exp(-(self._config.novelty_distance or _NEVER))
        ground = (sums[:1] + unseen / 2) / (sums[-1:] + unseen)
        share = unseen / (2 * max(1, len(sums) - 2))
        if near is None or keys is None or len(sums) == 3:
            parts = sums[1:-1] + share
        else:
            lasting = self._config.reference_share
            parts = _with_uniform_floor(far[1:-1] + share).pow(lasting) * _with_uniform_floor(near[1:-1] + share).pow(
                1 - lasting
            )
        return torch.cat([ground, parts * ((1 - ground) / parts.sum(0))]).T

    def _of_recent(self, point: Tensor, position: Tensor, keys: GaussianKeys) -> Tensor:
        """Sums (P + 1, n) of what recent frames say; by squares of the picture, where only near keys matter."""
        if not self._config.spatial_sigma:
            return gaussian_attention_sums(kernel_queries(point), keys)
        sums = point.new_zeros(self._columns, len(point))
        query = kernel_queries(torch.cat([point, position / self._config.spatial_sigma], 1))
        tiles = _tiles(position)
        for tile, near in zip(tiles, self._keys_in_reach([position[tile] for tile in tiles]), strict=True):
            sums[:, tile] = gaussian_attention_sums(query[tile], keys.among(near))
        return sums

    def _keys_in_reach(self, positions: list[Tensor]) -> list[Tensor]:
        """Keys of recent frames that may matter to groups of places, each (n, 2)."""
        reach = _REACH * self._config.spatial_sigma
        low = torch.stack([group.amin(0) for group in positions]) - reach
        high = torch.stack([group.amax(0) for group in positions]) + reach
        here = self._nearby()
        inside = (here >= low[:, None]) & (here <= high[:, None])
        return [near.nonzero()[:, 0] for near in inside.all(2)]


def _with_uniform_floor(parts: Tensor) -> Tensor:
    """Shares (n, places) of parts, with some of not knowing mixed in: neither witness can veto."""
    return parts * ((1 - _DOUBT) / parts.sum(0)) + _DOUBT / len(parts)


def _normalized_with_known(mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """Labels (P, h, w) that sum to 1, background where nothing is known; known places (h * w,), None if all are."""
    total = mask.sum(0)
    known = total > min(_KNOWN, float(total.max()) / 2)
    if bool(known.all()):
        return mask, None
    mask = mask / total.clamp(min=1e-6)
    mask[:, ~known] = 0
    mask[0, ~known] = 1
    return mask, known.flatten()


def _keys_of(entries: Iterable[_Entry], position: Tensor | None = None) -> GaussianKeys:
    """Keys of several frames; a position (n, 2), in standard deviations of the window, is two more columns."""
    entries = list(entries)
    key = torch.cat([entry.key for entry in entries])
    vector = key[:, :-1] if position is None else torch.cat([key[:, :-1], position], 1)
    return GaussianKeys.of(vector, key[:, -1], torch.cat([entry.evidence for entry in entries]))


def _tiles(position: Tensor) -> list[Tensor]:
    """Indices of places (n, 2), grouped by the square of the picture they lie in."""
    side = _TILE
    while True:
        square = (position / side).long()
        number = square[:, 0] * 4096 + square[:, 1]
        order = number.argsort(stable=True)
        counts = torch.unique_consecutive(number[order], return_counts=True)[1]
        if len(counts) == 1 or len(position) >= _CROWD * len(counts):
            return list(order.split(counts.tolist()))
        side *= 2


def sample_places(mask: Tensor, budget: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which places of a frame to remember: those near the parts, and a thinned sample of the rest.

    Parameters
    ----------
    mask : (P, h, w) float tensor
        Soft labels; row 0 is the background.
    budget : int
        Expected number of places; 0 keeps all.
    generator : torch.Generator

    Returns
    -------
    kept : (n,) int64 tensor
        Increasing.
    log_weight : (n,) float tensor
        Log of the number of places each stands for (inverse inclusion probability).
    """
    height, width = mask.shape[-2:]
    count = height * width
    if budget == 0 or budget >= count:
        return torch.arange(count), torch.zeros(count)
    reach = max(1, min(height, width) // 10)
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    part = (mask[0] < 0.9).cpu().numpy().astype(np.uint8)
    near = torch.from_numpy(cv2.dilate(part, square)).to(mask.device).flatten() > 0
    near_count = int(near.sum())
    for_near = min(near_count, budget * 3 // 4)
    rates = torch.where(
        near,
        torch.tensor(for_near / max(near_count, 1)),
        torch.tensor((budget - for_near) / max(count - near_count, 1)),
    ).clamp(max=1.0)
    kept = torch.nonzero(torch.rand(count, generator=generator) < rates.cpu()).flatten()
    return kept, -rates.cpu()[kept].log()
