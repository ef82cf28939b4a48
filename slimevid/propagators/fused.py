"""The default: what it looks like, where it was, and how it moved, combined at every pixel.

Learned parts (WAS of the embeddings), the memory read-out (WAS through time) and the flow-warped previous labels are
combined as a weighted sum of log-probabilities. Flow smooths; it never carries alone, because its weight falls to zero
where the forward-backward check fails.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from slimecore.images import resize_soft
from slimecore.memory import MaskMemory, Places
from slimecore.segment import ReadKeys, was_evidence
from slimevid.config import FusionConfig
from slimevid.propagators import Context
from slimevid.state import FrameState
from slimevid.warp import reliability, targets, warp_soft

__all__ = ["NEEDS_MODEL", "REFINE", "build", "fuse", "recall"]

NEEDS_MODEL = True
REFINE = True
Array = npt.NDArray[Any]
_WORTH = 0.1  # a place whose chance to be a part exceeds this is read finely


def fuse(evidence: list[tuple[Array, Array | float]], floor: float) -> Array:
    """Product of experts: softmax over parts of the weighted sum of log-probabilities.

    Parameters
    ----------
    evidence : list of ((P, h, w) float32, weight)
        Probabilities summing to 1 over parts; a weight is a number or (h, w).
    floor : float
        Share of the uniform distribution mixed into each first.

    Returns
    -------
    (P, h, w) float32, summing to 1 over parts
    """
    parts = evidence[0][0].shape[0]
    total = np.zeros_like(evidence[0][0])
    for probabilities, weight in evidence:
        total += weight * np.log(np.maximum((1 - floor) * probabilities + floor / parts, 1e-8))
    total -= total.max(0, keepdims=True)
    np.exp(total, out=total)
    return np.asarray(total / total.sum(0, keepdims=True))


def recall(memory: MaskMemory, places: Places, expected: Array) -> Array:
    """Read the memory: coarsely everywhere, finely where parts are expected or were found.

    Parameters
    ----------
    memory : MaskMemory
    places : Places
    expected : (P, h, w) float32
        Labels as motion suggests them, at any size.

    Returns
    -------
    (P, *grid) float32, summing to 1 over parts
    """
    height, width = places.grid
    index = torch.arange(height * width).reshape(places.grid)
    rows, columns = _spread(height), _spread(width)
    coarse = memory.read(places, index[rows][:, columns].flatten().to(places.descriptor.device))
    coarse = coarse.T.reshape(-1, len(rows), len(columns))
    # The last row and column are sampled too, so the map spans the corners of the grid, not those of its cells.
    full = functional.interpolate(coarse[None], size=places.grid, mode="bilinear", align_corners=True)[0]
    wanted = np.maximum(1 - resize_soft(expected, places.grid)[0], 1 - full[0].cpu().numpy())
    reach = max(1, min(places.grid) // 16)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    active = torch.from_numpy(cv2.dilate((wanted > _WORTH).astype(np.uint8), disk).ravel() > 0)
    where = torch.nonzero(active).flatten().to(full.device)
    if len(where):
        full = full.flatten(1)
        full[:, where] = memory.read(places, where).T
        full = full.reshape(-1, *places.grid)
    return np.asarray(full.cpu().numpy())


def _spread(length: int) -> Tensor:
    """About every fourth index, both ends included."""
    return torch.linspace(0, length - 1, max(2, -(-length // 4))).round().long()


class _Fused:
    def __init__(self, context: Context, keys: ReadKeys) -> None:
        self._context = context
        self._keys = keys
        self._memory = MaskMemory(context.config.memory, context.config.seed)
        self._enabled = context.config.memory.enabled
        self._soft: Array = np.zeros((0, 0, 0), np.float32)
        self._work: Array = np.zeros((0, 0, 3), np.uint8)

    @property
    def nbytes(self) -> int:
        return int(self._memory.nbytes + self._soft.nbytes + self._work.nbytes)

    @property
    def _fusion(self) -> FusionConfig:
        return self._context.config.fusion

    def start(self, state: FrameState, soft: Array) -> None:
        self._soft, self._work = resize_soft(soft, state.work.shape[:2]), state.work
        if self._enabled:
            self._remember(state, soft, permanent=True)

    def step(self, state: FrameState) -> Array:
        size = state.work.shape[:2]
        evidence: list[tuple[Array, Array | float]] = []
        moved = self._moved(state)
        if self._fusion.parts:
            learned = was_evidence(state.features, self._keys)[0].cpu().numpy()
            evidence.append((resize_soft(learned, size), self._fusion.parts))
        if self._enabled and self._fusion.memory:
            read = recall(self._memory, state.places, self._soft if moved is None else moved[0])
            evidence.append((resize_soft(read, size), self._fusion.memory))
        if moved is not None:
            evidence.append(moved)
        self._soft = fuse(evidence, self._fusion.floor) if evidence else self._soft
        self._work = state.work
        if self._enabled and self._memory.due():
            self._remember(state, self._soft, permanent=False)
        return self._soft

    def _moved(self, state: FrameState) -> tuple[Array, Array] | None:
        flow = self._context.flow(state.work, self._work)
        back = self._context.flow(self._work, state.work) if flow is not None else None
        if flow is None or back is None:
            return None
        self._memory.advance(torch.from_numpy(back))
        maps = targets(flow)
        trust = reliability(flow, back, maps, self._fusion.flow_tolerance)
        return warp_soft(self._soft, maps), self._fusion.flow * trust

    def _remember(self, state: FrameState, soft: Array, *, permanent: bool) -> None:
        mask = torch.from_numpy(resize_soft(soft, state.places.grid)).to(state.places.descriptor)
        self._memory.write(state.places, mask, permanent=permanent)


def build(context: Context) -> _Fused:
    """Memory, learned parts and flow together."""
    if context.keys is None:
        raise RuntimeError("fused needs learned parts")
    return _Fused(context, context.keys)
