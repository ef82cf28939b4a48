"""Memory of earlier masks: WAS-attention through time.

Keys are places of remembered frames, values their soft masks; reading is :func:`slimecore.was.was_attention` with
longer K and V. Reference frames are permanent; recent frames pass through a bounded FIFO, so the bytes are bounded
whatever the length of the clip.

The similarity of two places is a sum of terms: learned descriptors (cosine / temperature), colour (squared Lab
distance) and, for recent frames, nearness in the picture. Each is written as columns of q and k whose dot product is
the term (up to what is constant for a query, which the softmax ignores), so one softmax sees the sum and one kernel
does it all. One more key stands for what was never seen: it holds equal shares of all parts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from slimecore.color import lab_patches
from slimecore.device import generator
from slimecore.memory_config import MemoryConfig
from slimecore.memory_space import JointSpace
from slimecore.was import was_attention

__all__ = ["MaskMemory", "Places", "sample_places"]


_TILE = 1 / 6  # least side of the squares that are read together, as a share of the picture's short side
_CROWD = 96  # places a square should have on average, to be worth a call
_REACH = 3.0  # standard deviations of the window; a key beyond is at most 1 % as near as one at the place itself


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """The places of one frame, row-major.

    Parameters
    ----------
    descriptor : (N, D) float tensor
        L2-normalised.
    color : (N, C) float tensor
        Patches of :func:`slimecore.color.lab_patches`.
    grid : (int, int)
        ``(h, w)`` with ``h * w == N``.
    """

    descriptor: Tensor
    color: Tensor
    grid: tuple[int, int]

    @classmethod
    def of(cls, descriptor: Tensor, rgb: npt.NDArray[Any], detail: int = 1) -> Places:
        """Places of a picture.

        Parameters
        ----------
        descriptor : (1, D, h, w) float tensor
            Of the backbone.
        rgb : (H, W, 3) uint8
            The picture, of any size.
        detail : int
            The grid is this many times denser than the descriptors', which are interpolated; colours are not.
        """
        grid = (int(descriptor.shape[2]) * detail, int(descriptor.shape[3]) * detail)
        if detail > 1:
            descriptor = functional.interpolate(descriptor, size=grid, mode="bilinear", align_corners=False)
        columns = descriptor[0].flatten(1)
        unit = (columns / columns.square().sum(0).sqrt().clamp(min=1e-12)).T  # far faster than along rows
        return cls(unit, torch.from_numpy(lab_patches(rgb, grid)).to(unit), grid)

    def positions(self) -> Tensor:
        """(N, 2) float rows and columns of the cells' centres, as shares of the grid's short side."""
        h, w = self.grid
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        return ((torch.stack([y, x], -1).reshape(-1, 2) + 0.5) / min(h, w)).to(self.descriptor)


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
        self._space = JointSpace(config)
        self._permanent: list[_Entry] = []
        self._recent: deque[_Entry] = deque(maxlen=config.recent)
        self._since = 0
        self._stacked: tuple[Tensor, Tensor] | None = None

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
        self._stacked = None

    def due(self) -> bool:
        """Count a frame as passed; whether it is one to :meth:`write`."""
        self._since += 1
        if not self._config.recent or self._since < self._config.every:
            return False
        self._since = 0
        return True

    def write(self, places: Places, mask: Tensor, *, permanent: bool = False) -> None:
        """Remember a frame.

        Parameters
        ----------
        places : Places
        mask : (P, h, w) float tensor
            Soft labels on the grid of `places`, summing to 1 over parts.
        permanent : bool
            References and corrections: never dropped.
        """
        evidence = mask.flatten(1).T.contiguous().float()
        kept, log_weight = sample_places(mask, self._config.budget, self._generator)
        share = evidence.mean(0).clamp(min=1e-3).log()
        prior = log_weight.to(evidence) - self._config.balance * (evidence[kept] @ share)
        if permanent:  # the space is fitted to a whole frame, not to the places that are kept of it
            self._space.fit(places.descriptor, places.color)
        key = self._key(places, kept, prior)
        position = None if permanent else places.positions()[kept]
        (self._permanent if permanent else self._recent).append(_Entry(key, evidence[kept], position))
        self._stacked = None

    def advance(self, flow: Tensor) -> None:
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
        self._stacked = None

    def _key(self, places: Places, kept: Tensor, prior: Tensor) -> Tensor:
        joint = self._space.vectors(places.descriptor[kept], places.color[kept])
        return torch.cat([joint, (prior - 0.5 * joint.square().sum(1))[:, None]], 1)

    def _located(self, entry: _Entry) -> Tensor:
        if not self._config.window:
            return entry.key
        if entry.position is None:  # permanent: answers all positions alike
            return functional.pad(entry.key, (0, 4))
        scaled = entry.position / self._config.window
        squared = 0.5 * scaled.square().sum(1, keepdim=True)
        return torch.cat([entry.key, scaled / self._config.window, -squared, -torch.ones_like(squared)], 1)

    def _queries(self, places: Places, where: Tensor) -> Tensor:
        joint = self._space.vectors(places.descriptor[where], places.color[where])
        one = torch.ones_like(joint[:, :1])
        columns = [joint, one]
        if self._config.window:
            position = places.positions()[where]
            columns += [position, one, 0.5 * (position / self._config.window).square().sum(1, keepdim=True)]
        if self._config.unknown:  # what the other keys' logits leave out, as it is the same for all of them
            columns.append(0.5 * joint.square().sum(1, keepdim=True) - self._config.unknown)
        return torch.cat(columns, 1)

    def _keys(self) -> tuple[Tensor, Tensor]:
        """All keys and their evidence; stacked once for all reads of a frame."""
        if self._stacked is None:
            entries = (*self._permanent, *self._recent)
            key = torch.cat([self._located(entry) for entry in entries])
            evidence = torch.cat([entry.evidence for entry in entries])
            if self._config.unknown:
                key = functional.pad(key, (0, 1, 0, 1))
                key[-1, -1] = 1.0
                evidence = torch.cat([evidence, torch.full_like(evidence[:1], 1 / evidence.shape[1])])
            self._stacked = key, evidence
        return self._stacked

    @torch.no_grad()
    def read(self, places: Places, where: Tensor | None = None, *, references_only: bool = False) -> Tensor:
        """Labels that remembered places suggest for the places of a new frame.

        Parameters
        ----------
        places : Places
        where : (n,) int64 tensor, optional
            Only these places are asked; all by default.
        references_only : bool
            Only permanent frames answer.

        Returns
        -------
        (n, P) float tensor, summing to 1 over parts
        """
        key, evidence = self._keys()
        asked = torch.arange(len(places.descriptor), device=places.descriptor.device) if where is None else where
        query = self._queries(places, asked)
        if references_only:
            count = sum(len(entry.key) for entry in self._permanent)
            last = len(key) - bool(self._config.unknown)  # where what was never seen begins
            kept = torch.cat([torch.arange(count), torch.arange(last, len(key))]).to(key.device)
            return was_attention(query[None], key[None, kept], evidence[kept], scale=1.0)
        if not self._config.window or not self._recent:
            return was_attention(query[None], key[None], evidence, scale=1.0)
        position = places.positions()[asked]
        out = query.new_empty(len(asked), evidence.shape[1])
        tiles = _tiles(position)
        for tile, near in zip(tiles, self._answering([position[tile] for tile in tiles]), strict=True):
            out[tile] = was_attention(query[None, tile], key[None, near], evidence[near], scale=1.0)
        return out

    def _answering(self, positions: list[Tensor]) -> list[Tensor]:
        """Keys that may matter to groups of places, each (n, 2): permanent ones, the unseen, and near ones."""
        reach = _REACH * self._config.window
        low = torch.stack([group.amin(0) for group in positions]) - reach
        high = torch.stack([group.amax(0) for group in positions]) + reach
        here = torch.cat([entry.position for entry in self._recent if entry.position is not None])
        inside = (here >= low[:, None]) & (here <= high[:, None])
        everywhere = sum(len(entry.key) for entry in self._permanent)
        first, last = torch.arange(everywhere, device=here.device), everywhere + len(here)
        unseen = torch.arange(last, last + bool(self._config.unknown), device=here.device)
        return [torch.cat([first, everywhere + near.nonzero()[:, 0], unseen]) for near in inside.all(2)]


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
    part = (mask[0] < 0.9).float()[None, None]
    near = functional.max_pool2d(part, 2 * reach + 1, stride=1, padding=reach).flatten() > 0
    near_count = int(near.sum())
    for_near = min(near_count, budget * 3 // 4)
    rates = torch.where(
        near,
        torch.tensor(for_near / max(near_count, 1)),
        torch.tensor((budget - for_near) / max(count - near_count, 1)),
    ).clamp(max=1.0)
    kept = torch.nonzero(torch.rand(count, generator=generator) < rates.cpu()).flatten()
    return kept, -rates.cpu()[kept].log()
