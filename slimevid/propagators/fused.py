"""The default: what it looks like, where it was, and how it moved, combined at every pixel.

Learned parts (WAS of the embeddings), the memory read-out (WAS through time) and the flow-warped previous labels are
combined as a weighted sum of log-probabilities; what moves with the background while a part does not counts against
that part. Flow smooths; it never carries alone, because its weight falls to zero where the forward-backward check
fails. The memory is read last, finely only where all the rest leaves doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from slimecore.images import Box, resize_soft, undecided_box
from slimecore.memory import MaskMemory
from slimecore.places import Places
from slimecore.segment import ReadKeys, was_evidence
from slimevid.colours import ColourModel
from slimevid.completion import PLANES
from slimevid.config import FusionConfig
from slimevid.evidence import Cue, fuse
from slimevid.flows import Flow
from slimevid.motion import against_parts, departure
from slimevid.propagators import Context
from slimevid.state import FrameState
from slimevid.warp import reliability, targets, targets_in, warp_soft
from slimevid.window import Window, seen_through

__all__ = ["AHEAD", "NEEDS_MODEL", "NEEDS_PARTS", "REFINE", "WINDOWED", "build", "recall"]

NEEDS_MODEL = True
NEEDS_PARTS = True
REFINE = True
WINDOWED = True
Array = npt.NDArray[Any]
Doubt = Callable[[Array], Array]
Motion = tuple[Array, Array]
_DOUBT = 0.1  # a place whose likeliest label is less sure than all but this is read finely
_SLIGHT = 0.05  # weaker odds for a part are not worth a question
_KNOWN = 0.6  # a reference that gives the background this much (.5 is: never seen) knows the place
_MARGIN = 0.04  # share of the short side around what is undecided that is worked out at the working size
_NEAR = 0.04  # standard deviation, as a share of the short side, of what is near
_SURE = 0.9  # the background's motion is fitted to pixels at least this sure to be background


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
    coarse = memory.read(places, some.flatten().to(places.device)).T.unflatten(1, tuple(some.shape))
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


def _surroundings(labels: Array) -> Array:
    """Labels (P, h, w) of all that is near, (P, h / 4, w / 4): which part a place is where its motion is not known."""
    few = (-(-labels.shape[1] // 4), -(-labels.shape[2] // 4))
    return np.stack([cv2.GaussianBlur(plane, (0, 0), _NEAR * min(few)) for plane in resize_soft(labels, few)])


def prepare(state: FrameState, before: FrameState | None, flow: Flow) -> None:
    """Make what a step needs and labels do not decide."""
    fusion = state.config.fusion
    if parts_due(state):
        _ = state.features
    if state.config.memory.enabled and fusion.memory and _first_of(fusion.memory_every, state):
        _ = state.places
    if before is not None:
        same = before.window == state.window
        state.motion = both_ways(flow, state.small, before.small if same else state.shrunk(before.frame.rgb))


def parts_due(state: FrameState) -> bool:
    """Whether the learned parts are read from this frame, the first of a pass being one."""
    return state.config.fusion.parts > 0 and _first_of(state.config.fusion.parts_every, state)


def _first_of(frames: int, state: FrameState) -> bool:
    return (state.ordinal - 1) % frames == 0


def both_ways(flow: Flow, now: Array, before: Array) -> Motion | None:
    """Flow from this frame into the one before it, and back; None where there is no flow."""
    there = flow(now, before)
    back = None if there is None else flow(before, now)
    return None if there is None or back is None else (there, back)


AHEAD = prepare


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """All evidence on one frame, each at one size: the flow's, or after :meth:`at` that asked for."""

    learned: Cue | None
    carried: Cue | None
    against: Array | None
    near: Cue | None = None
    read: Cue | None = None

    def at(self, size: tuple[int, int], box: Box) -> _Seen:
        """In a box of a picture of some size."""

        def placed(soft: Array) -> Array:
            return np.asarray(resize_soft(soft, size)[(slice(None), *box)])

        def moved(one: Cue | None) -> Cue | None:
            if one is None:
                return None
            weight, apart = (w if isinstance(w, float) else placed(w[None])[0] for w in (one.weight, one.apart))
            return Cue(placed(one.soft), weight, apart)

        against = None if self.against is None else placed(self.against)
        return _Seen(moved(self.learned), moved(self.carried), against, moved(self.near), moved(self.read))

    def fused(self, floor: float) -> Array:
        """Everything that is known, combined."""
        known = [one for one in (self.learned, self.carried, self.near, self.read) if one is not None]
        return fuse(known, floor, self.against)

    def planes(self, soft: Array, colours: Array, fusion: FusionConfig) -> Array:
        """(7, h, w) float32, :data:`slimevid.completion.PLANES`, of what made labels (P, h, w), and of `colours`."""
        any_part: Array = 1 - soft[0]

        def parts(one: Cue | None) -> Array:
            return any_part if one is None else 1 - one.soft[0]

        trust = self.carried.weight / fusion.flow if self.carried is not None and fusion.flow else 0.0
        planes: Array = np.zeros((len(PLANES), *any_part.shape), np.float32)
        planes[1], planes[2], planes[3], planes[4] = parts(self.read), parts(self.learned), parts(self.carried), trust
        if self.against is not None:
            share = soft[1:] / np.maximum(any_part, 1e-6)
            planes[5] = (self.against * share).sum(0) / (fusion.motion * fusion.motion_limit)
        odds = fusion.colours * colours
        planes[0] = any_part / (any_part + np.exp(-odds) * soft[0])
        planes[6] = colours
        return planes


class _Fused:
    def __init__(self, context: Context, keys: ReadKeys) -> None:
        self._context = context
        self._keys = keys
        self._memory = MaskMemory(context.memory, context.config.seed)
        self._enabled = context.config.memory.enabled and context.config.fusion.memory > 0
        self._colours = ColourModel()
        self._soft: Array = np.zeros((0, 0, 0), np.float32)
        self._rgb: Array = np.zeros((0, 0, 3), np.uint8)
        self._window = Window(0, 0, 0, 0)
        self._learned: Array = np.zeros((0, 0, 0), np.float32)
        self._read: Array = np.zeros((0, 0, 0), np.float32)  # of the memory; kept where it is not read in every frame

    @property
    def nbytes(self) -> int:
        own = (self._soft, self._rgb, self._learned, self._read)
        return int(self._memory.nbytes + self._colours.nbytes + sum(array.nbytes for array in own))

    @property
    def _fusion(self) -> FusionConfig:
        return self._context.config.fusion

    def remember(self, state: FrameState, soft: Array) -> None:
        if self._fusion.colours or self._fusion.completion:
            self._colours.learn(state.frame.rgb, soft[0])
        if self._enabled:
            self._remember(state, np.ascontiguousarray(soft[(slice(None), *state.window.box)]), permanent=True)

    def start(self, state: FrameState, soft: Array) -> None:
        self._soft = resize_soft(np.ascontiguousarray(soft[(slice(None), *state.window.box)]), state.work_size)
        self._rgb, self._window = state.frame.rgb, state.window

    def snapshot(self) -> dict[str, Array]:
        memory = {f"memory.{name}": tensor.cpu().numpy() for name, tensor in self._memory.snapshot().items()}
        own = {"soft": self._soft, "rgb": self._rgb, "learned": self._learned, "read": self._read}
        own["window"] = self._window.to_array()
        return own | memory

    def restore(self, state: Mapping[str, Array]) -> None:
        self._soft, self._rgb, self._learned, self._read = (state[n] for n in ("soft", "rgb", "learned", "read"))
        self._window = Window.from_array(state["window"])
        tensors = {name[7:]: torch.from_numpy(array) for name, array in state.items() if name.startswith("memory.")}
        self._memory.restore({name: tensor.to(self._context.device) for name, tensor in tensors.items()})

    def step(self, state: FrameState) -> Array:
        if state.window != self._window:
            self._look(state)
        due = parts_due(state)
        if due:
            small = state.small.shape[:2]
            self._learned = resize_soft(was_evidence(state.features, self._keys)[0].cpu().numpy(), small)
        motion = state.motion or both_ways(self._context.flow, state.small, state.shrunk(self._rgb))
        asked = motion is None or _first_of(self._fusion.memory_every, state)
        moved = None if motion is None else self._moved(motion, carry_learned=not due, carry_read=not asked)
        fusion = self._fusion
        learned = Cue(self._learned, fusion.parts, fusion.parts * fusion.parts_apart) if fusion.parts else None
        carried, against, near = None, None, None
        if moved is not None:
            labels, trust, against = moved
            apart = fusion.flow * fusion.flow_apart
            carried = Cue(labels, fusion.flow * trust, apart * trust)
            if apart and len(labels) > 2:
                near = Cue(_surroundings(labels), 0.0, apart * (1 - trust))
        seen = _Seen(learned, carried, against, near)
        if self._enabled:
            seen = self._with_memory(state, seen) if asked else self._with_what_was_read(seen)
        if learned or carried or seen.read:
            self._soft = self._decided(state, seen, motion)
        self._rgb = state.frame.rgb
        if self._enabled and asked and self._memory.due(1 if motion is None else self._fusion.memory_every):
            self._remember(state, self._soft, permanent=False)
        return self._soft

    def _with_memory(self, state: FrameState, seen: _Seen) -> _Seen:
        """Read the memory, and ask the references about what moves as a part does."""
        if seen.against is not None and float(seen.against.min(initial=0)) < 0:
            seen = replace(seen, against=self._unless_known(state.places, seen.against))
        read = recall(self._memory, state.places, lambda coarse: self._guess(seen, coarse).max(0) < 1 - _DOUBT)
        if self._fusion.memory_every > 1:
            self._read = read
        return replace(seen, read=Cue(read, self._fusion.memory))

    def _with_what_was_read(self, seen: _Seen) -> _Seen:
        """Take the last reading, carried along; motion speaks for no part where the references cannot be asked."""
        against = None if seen.against is None else np.maximum(seen.against, 0)
        return replace(seen, read=Cue(self._read, self._fusion.memory), against=against)

    def _look(self, state: FrameState) -> None:
        """See all that is carried along through another window."""
        self._soft = seen_through(self._soft, self._window, state.window, state.work_size)
        small = state.small.shape[:2]
        if self._learned.size:
            self._learned = seen_through(self._learned, self._window, state.window, small)
        if self._read.size:
            self._read = seen_through(self._read, self._window, state.window, small)
        old, new = self._window, state.window
        self._memory.reframe((old.top - new.top, old.left - new.left), min(old.height, old.width), min(state.size))
        self._window = new

    def _guess(self, seen: _Seen, read: Array) -> Array:
        """All evidence with a reading of the memory, on the memory's grid."""
        size = (read.shape[1], read.shape[2])
        with_read = replace(seen, read=Cue(read, self._fusion.memory))
        return with_read.at(size, (slice(0, size[0]), slice(0, size[1]))).fused(self._fusion.floor)

    def _decided(self, state: FrameState, seen: _Seen, motion: Motion | None) -> Array:
        """Labels at the working size: worked out where anything is undecided, elsewhere only spread out."""
        size = state.work_size
        if seen.read is None:
            small = state.small.shape[:2]
            guess = seen.at(small, (slice(0, small[0]), slice(0, small[1]))).fused(self._fusion.floor)
        else:
            guess = self._guess(seen, seen.read.soft)
        soft = np.array(resize_soft(guess, size))
        box = undecided_box(soft, round(_MARGIN * min(size)))
        if box is None:
            return soft
        here = seen.at(size, box)
        if motion is not None and here.carried is not None and motion[0].shape[:2] != size:
            # The previous labels again, not through the size of the flow, which would blur them.
            again = warp_soft(self._soft, targets_in(motion[0], size, box))
            here = replace(here, carried=here.carried._replace(soft=again))
        inside = (slice(None), *box)
        soft[inside] = here.fused(self._fusion.floor)
        if self._fusion.colours or self._fusion.completion:
            colours = self._colours.odds(state.worked[box])
            all_seen = self._fusion.completion > 0  # else nobody looks at the other planes
            planes = here.planes(soft[inside], colours, self._fusion) if all_seen else colours[None]
            state.undecided = box, planes
        return soft

    def _unless_known(self, places: Places, against: Array) -> Array:
        """Motion that speaks for a part, silenced where the references know the place as background.

        Later frames are not asked: what motion put into the mask once would vouch for itself.
        """
        some = _some_places(places.grid)
        favoured = resize_soft(against, (some.shape[0], some.shape[1])).min(0) < -_SLIGHT
        gate = np.ones(favoured.shape, np.float32)
        if favoured.any():
            asked = some[torch.from_numpy(favoured)].to(places.device)
            known = self._memory.read(places, asked, references_only=True)[:, 0].cpu().numpy()
            gate[favoured] = np.clip((_KNOWN - known) / (_KNOWN - 0.5), 0, 1)
        return np.where(against < 0, against * resize_soft(gate[None], against.shape[1:])[0], against)

    def _moved(self, motion: Motion, *, carry_learned: bool, carry_read: bool) -> tuple[Array, Array, Array | None]:
        """Previous labels carried by the flow, its reliability, and what motion says against the parts.

        Moves what is remembered, too. All at the size of the flow.
        """
        flow, back = motion
        self._memory.advance(torch.from_numpy(back))
        maps = targets(flow)
        trust = reliability(flow, back, maps, self._fusion.flow_tolerance)
        labels = warp_soft(resize_soft(self._soft, flow.shape[:2]), maps)
        if carry_learned and self._fusion.parts:
            self._learned = warp_soft(self._learned, maps)
        if carry_read and self._enabled:
            self._read = warp_soft(resize_soft(self._read, flow.shape[:2]), maps)
        against = None
        if self._fusion.motion:
            departures = departure(flow, np.where(labels[0] > _SURE, trust, 0))
            if departures is not None:
                limit = self._fusion.motion_limit
                against = self._fusion.motion * against_parts(departures, labels, trust, limit, self._fusion.motion_for)
        return labels, trust, against

    def _remember(self, state: FrameState, soft: Array, *, permanent: bool) -> None:
        mask = torch.from_numpy(resize_soft(soft, state.places.grid)).to(state.places.device)
        self._memory.write(state.places, mask, permanent=permanent)


def build(context: Context) -> _Fused:
    """Memory, learned parts and flow together."""
    if context.keys is None:
        raise RuntimeError("fused needs learned parts")
    return _Fused(context, context.keys)
