"""The default: what it looks like, where it was, and how it moved, combined at every pixel.

Learned parts (WAS of the embeddings), the memory read-out (WAS through time) and the flow-warped previous labels are
combined as a weighted sum of log-probabilities; what moves with the background while a part does not counts against
that part. Flow smooths; it never carries alone, because its weight falls to zero where the forward-backward check
fails. The memory is read last, finely only where all the rest leaves doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
from slimevid.flows import Flow
from slimevid.motion import against_parts, departure
from slimevid.propagators import Context
from slimevid.state import FrameState
from slimevid.warp import reliability, targets, warp_soft

__all__ = ["AHEAD", "NEEDS_MODEL", "NEEDS_PARTS", "REFINE", "build", "fuse", "recall"]

NEEDS_MODEL = True
NEEDS_PARTS = True
REFINE = True
Array = npt.NDArray[Any]
Doubt = Callable[[Array], Array]
Evidence = tuple[Array, Array | float]
_DOUBT = 0.1  # a place whose likeliest label is less sure than all but this is read finely
_SLIGHT = 0.05  # weaker odds for a part are not worth a question
_KNOWN = 0.6  # a reference that gives the background this much (.5 is: never seen) knows the place
_SURE = 0.9  # the background's motion is fitted to pixels at least this sure to be background


def fuse(evidence: Sequence[Evidence], floor: float, against: Array | None = None) -> Array:
    """Product of experts: softmax over parts of the weighted sum of log-probabilities.

    Parameters
    ----------
    evidence : sequence of ((P, h, w) float32, weight)
        Probabilities summing to 1 over parts; a weight is a number or (h, w).
    floor : float
        Share of the uniform distribution mixed into each first.
    against : (P - 1, h, w) float32, optional
        Log-odds that every part loses to the background.

    Returns
    -------
    (P, h, w) float32, summing to 1 over parts
    """
    parts = evidence[0][0].shape[0]
    total = np.zeros_like(evidence[0][0])
    for probabilities, weight in evidence:
        total += weight * np.log(np.maximum((1 - floor) * probabilities + floor / parts, 1e-8))
    if against is not None:
        total[1:] -= against
    total -= total.max(0, keepdims=True)
    np.exp(total, out=total)
    return np.asarray(total / total.sum(0, keepdims=True))


def recall(memory: MaskMemory, places: Places, doubted: Doubt) -> Array:
    """Read the memory: coarsely everywhere, finely where doubt is left.

    Parameters
    ----------
    memory : MaskMemory
    places : Places
    doubted : callable
        Of the coarse reading, (P, *grid) float32, a (*grid) boolean map: where a finer one could change the labels.

    Returns
    -------
    (P, *grid) float32, summing to 1 over parts
    """
    some = _some_places(places.grid)
    coarse = memory.read(places, some.flatten().to(places.descriptor.device)).T.unflatten(1, tuple(some.shape))
    # The last row and column are sampled too, so the map spans the corners of the grid, not those of its cells.
    full = functional.interpolate(coarse[None], size=places.grid, mode="bilinear", align_corners=True)[0]
    reach = max(1, min(places.grid) // 32)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    active = cv2.dilate(doubted(full.cpu().numpy()).astype(np.uint8), disk).ravel() > 0
    where = torch.nonzero(torch.from_numpy(active)).flatten().to(full.device)
    if len(where):
        full = full.flatten(1)
        full[:, where] = memory.read(places, where).T
        full = full.reshape(-1, *places.grid)
    return np.asarray(full.cpu().numpy())


def _some_places(grid: tuple[int, int]) -> Tensor:
    """Numbers of about every fourth place of a grid, (rows, columns), both ends included."""
    rows, columns = (torch.linspace(0, n - 1, max(2, -(-n // 4))).round().long() for n in grid)
    return rows[:, None] * grid[1] + columns


def prepare(state: FrameState, before: FrameState | None, flow: Flow) -> None:
    """Make what a step needs and labels do not decide."""
    fusion = state.config.fusion
    if parts_due(state):
        _ = state.features
    if state.config.memory.enabled and fusion.memory:
        _ = state.places
    if before is not None:
        state.motion = both_ways(flow, state.work, before.work)


def parts_due(state: FrameState) -> bool:
    """Whether the learned parts are read from this frame, the first of a pass being one."""
    fusion = state.config.fusion
    return fusion.parts > 0 and (state.ordinal - 1) % fusion.parts_every == 0


def both_ways(flow: Flow, work: Array, before: Array) -> tuple[Array, Array] | None:
    """Flow from this frame into the one before it, and back; None where there is no flow."""
    there = flow(work, before)
    back = None if there is None else flow(before, work)
    return None if there is None or back is None else (there, back)


AHEAD = prepare


class _Fused:
    def __init__(self, context: Context, keys: ReadKeys) -> None:
        self._context = context
        self._keys = keys
        self._memory = MaskMemory(context.config.memory, context.config.seed)
        self._enabled = context.config.memory.enabled
        self._soft: Array = np.zeros((0, 0, 0), np.float32)
        self._work: Array = np.zeros((0, 0, 3), np.uint8)
        self._learned: Array = np.zeros((0, 0, 0), np.float32)

    @property
    def nbytes(self) -> int:
        return int(self._memory.nbytes + self._soft.nbytes + self._work.nbytes + self._learned.nbytes)

    @property
    def _fusion(self) -> FusionConfig:
        return self._context.config.fusion

    def remember(self, state: FrameState, soft: Array) -> None:
        if self._enabled:
            self._remember(state, soft, permanent=True)

    def start(self, state: FrameState, soft: Array) -> None:
        self._soft, self._work = resize_soft(soft, state.work.shape[:2]), state.work

    def snapshot(self) -> dict[str, Array]:
        memory = {f"memory.{name}": tensor.cpu().numpy() for name, tensor in self._memory.snapshot().items()}
        own = {"soft": self._soft, "work": self._work, "learned": self._learned}
        return own | memory

    def restore(self, state: Mapping[str, Array]) -> None:
        self._soft, self._work, self._learned = (state[name] for name in ("soft", "work", "learned"))
        tensors = {name[7:]: torch.from_numpy(array) for name, array in state.items() if name.startswith("memory.")}
        self._memory.restore({name: tensor.to(self._context.device) for name, tensor in tensors.items()})

    def step(self, state: FrameState) -> Array:
        size = state.work.shape[:2]
        due = parts_due(state)
        if due:
            self._learned = resize_soft(was_evidence(state.features, self._keys)[0].cpu().numpy(), size)
        evidence, against = self._moved(state, carry_learned=not due)
        if self._fusion.parts:
            evidence.append((self._learned, self._fusion.parts))
        if self._enabled and self._fusion.memory:
            if against is not None and float(against.min(initial=0)) < 0:
                against = self._unless_known(state.places, against)
            doubted = partial(self._doubted, state.places.grid, evidence, against)
            read = recall(self._memory, state.places, doubted)
            evidence.append((resize_soft(read, size), self._fusion.memory))
        self._soft = fuse(evidence, self._fusion.floor, against) if evidence else self._soft
        self._work = state.work
        if self._enabled and self._memory.due():
            self._remember(state, self._soft, permanent=False)
        return self._soft

    def _unless_known(self, places: Places, against: Array) -> Array:
        """Motion that speaks for a part, silenced where the references know the place as background.

        Later frames are not asked: what motion put into the mask once would vouch for itself.
        """
        some = _some_places(places.grid)
        favoured = resize_soft(against, (some.shape[0], some.shape[1])).min(0) < -_SLIGHT
        gate = np.ones(favoured.shape, np.float32)
        if favoured.any():
            asked = some[torch.from_numpy(favoured)].to(places.descriptor.device)
            known = self._memory.read(places, asked, references_only=True)[:, 0].cpu().numpy()
            gate[favoured] = np.clip((_KNOWN - known) / (_KNOWN - 0.5), 0, 1)
        return np.where(against < 0, against * resize_soft(gate[None], against.shape[1:])[0], against)

    def _doubted(self, grid: tuple[int, int], evidence: list[Evidence], against: Array | None, coarse: Array) -> Array:
        """Where all the evidence so far, with a coarse reading of the memory, leaves the label open."""
        small = [
            (resize_soft(soft, grid), weight if isinstance(weight, float) else resize_soft(weight[None], grid)[0])
            for soft, weight in evidence
        ]
        odds = None if against is None else resize_soft(against, grid)
        guess = fuse([*small, (coarse, self._fusion.memory)], self._fusion.floor, odds)
        return np.asarray(guess.max(0) < 1 - _DOUBT)

    def _moved(self, state: FrameState, *, carry_learned: bool) -> tuple[list[Evidence], Array | None]:
        """Previous labels carried by the flow, and what motion says against the parts; moves what is remembered."""
        found = state.motion or both_ways(self._context.flow, state.work, self._work)
        if found is None:
            return [], None
        flow, back = found
        self._memory.advance(torch.from_numpy(back))
        maps = targets(flow)
        trust = reliability(flow, back, maps, self._fusion.flow_tolerance)
        labels = warp_soft(self._soft, maps)
        if carry_learned and self._fusion.parts:
            self._learned = warp_soft(self._learned, maps)
        against = None
        if self._fusion.motion:
            departures = departure(flow, np.where(labels[0] > _SURE, trust, 0))
            if departures is not None:
                limit = self._fusion.motion_limit
                against = self._fusion.motion * against_parts(departures, labels, trust, limit, self._fusion.motion_for)
        return [(labels, self._fusion.flow * trust)], against

    def _remember(self, state: FrameState, soft: Array, *, permanent: bool) -> None:
        mask = torch.from_numpy(resize_soft(soft, state.places.grid)).to(state.places.descriptor)
        self._memory.write(state.places, mask, permanent=permanent)


def build(context: Context) -> _Fused:
    """Memory, learned parts and flow together."""
    if context.keys is None:
        raise RuntimeError("fused needs learned parts")
    return _Fused(context, context.keys)
