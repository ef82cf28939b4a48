"""The default: what it looks like, where it was, and how it moved, combined at every pixel.

Learned parts (WAS of the embeddings), the memory read-out (WAS through time) and the flow-warped previous labels are
combined as a weighted sum of log-probabilities; what moves with the background while a part does not counts against
that part. Flow smooths; it never carries alone, because its weight falls to zero where the forward-backward check
fails. The memory is read last, finely only where all the rest leaves doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box, box_around, undecided_box
from slimecore.imaging.resize import resize_labels, resize_soft
from slimecore.memory.grid_features import Places
from slimecore.memory.mask_memory import MaskMemory
from slimecore.segmentation.readout import ReadKeys, was_evidence
from slimevid.config import FusionConfig
from slimevid.cues.background_motion import against_parts, departure
from slimevid.cues.color_model import ColourModel
from slimevid.cues.spatial_prior import against_far, largest, nothing_gone
from slimevid.frame.features import FrameState, Motion
from slimevid.frame.search_region import Window, seen_through
from slimevid.fusion.evidence import Cue, Seen, logarithms, shares
from slimevid.fusion.motion_gate import add, both_say
from slimevid.fusion.part_assignment import borders, tell_apart
from slimevid.fusion.soft_labels import Carrier, Layers
from slimevid.motion.composition import both_ways, over, trace
from slimevid.motion.flows import Flow
from slimevid.motion.warp import reliability, targets, targets_in, warp_soft
from slimevid.propagators import Context
from slimevid.refinement.network import PLANES

__all__ = ["AHEAD", "COMPLETED", "KEYED", "NEEDS_MODEL", "NEEDS_PARTS", "REFINE", "WINDOWED", "build", "recall"]

NEEDS_MODEL = True
NEEDS_PARTS = True
REFINE = True
WINDOWED = True
COMPLETED = True
KEYED = True
Doubt = Callable[[Array], Array]
_DOUBT = 0.1  # a place that is neither background nor any part surer than all but this is read finely
_DOUBT_WHICH = 0.3  # ... and one where no part has more than all but this of what is any part
_MARGIN = 0.04  # share of the short side around what is undecided that is worked out at the working size
_NEAR = 0.04  # standard deviation, as a share of the short side, of what is near
_LEAST = -40.0  # of the exponents of a part's shares: where every part's is less, other evidence tells them apart
_NOTHING = Layers(np.zeros((0, 0), np.float32), np.zeros((0, 0, 0), np.float32))
_FAVOUR = -0.5  # the completing network has seen no motion that speaks more for a part than this share of the limit
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


def _surroundings(parts: Array, size: tuple[int, int]) -> Array:
    """What of the parts (P - 1, h, w) is near, at a quarter of some size."""
    few = (-(-size[0] // 4), -(-size[1] // 4))
    return np.stack([cv2.GaussianBlur(plane, (0, 0), _NEAR * min(few)) for plane in resize_soft(parts, few)])


def prepare(state: FrameState, before: FrameState | None, flow: Flow) -> None:
    """Make what a step needs and labels do not decide."""
    fusion = state.config.fusion
    if parts_due(state):
        _ = state.features
    if state.config.memory.enabled and fusion.memory and _first_of(fusion.memory_every, state):
        _ = state.places
    if before is not None:
        state.steps = trace(state, (before, *state.between), flow)
        state.motion, state.apart = over(state.steps), 1 + len(state.between)


def parts_due(state: FrameState) -> bool:
    """Whether the learned parts are read from this frame, the first of a pass being one."""
    return state.config.fusion.parts > 0 and _first_of(state.config.fusion.parts_every, state)


def _first_of(frames: int, state: FrameState) -> bool:
    return (state.ordinal - 1) % frames == 0


AHEAD = prepare


class _Fused:
    def __init__(self, context: Context, keys: ReadKeys) -> None:
        self._context = context
        self._keys = keys
        self._memory = MaskMemory(context.config.memory, context.config.seed)
        self._enabled = context.config.memory.enabled and context.config.fusion.memory > 0
        self._colours = ColourModel()
        self._soft: Array = np.zeros((0, 0, 0), np.float32)
        self._few: Array | None = None  # the same on the grid, when it was asked for
        self._rgb: Array = np.zeros((0, 0, 3), np.uint8)
        self._window = Window(0, 0, 0, 0)
        self._areas: Array = np.zeros(context.parts - 1)  # of the parts lately, pixels of the frame
        self._learned = self._read = _NOTHING  # what was read of the memory is kept where it is not read in every frame

    @property
    def nbytes(self) -> int:
        own = [one for one in (self._soft, self._few, self._rgb, self._learned, self._read) if one is not None]
        return int(self._memory.nbytes + self._colours.nbytes + sum(array.nbytes for array in own))

    @property
    def _fusion(self) -> FusionConfig:
        return self._context.config.fusion

    def remember(self, state: FrameState, soft: Array) -> None:
        if self._fusion.colours or self._fusion.completion:
            self._colours.learn(state.frame.rgb, soft)
        if self._enabled:
            seen = np.ascontiguousarray(soft[(slice(None), *state.window.box)])
            self._remember(state, resize_soft(seen, state.places.grid), permanent=True)

    def start(self, state: FrameState, soft: Array) -> None:
        self._soft = resize_soft(np.ascontiguousarray(soft[(slice(None), *state.window.box)]), state.work_size)
        self._rgb, self._window, self._few = state.frame.rgb, state.window, None

    def snapshot(self) -> dict[str, Array]:
        memory = {f"memory.{name}": tensor.cpu().numpy() for name, tensor in self._memory.snapshot().items()}
        own = {"soft": self._soft, "rgb": self._rgb, "window": self._window.to_array(), "areas": self._areas}
        return own | self._learned.arrays("learned") | self._read.arrays("read") | memory

    def restore(self, state: Mapping[str, Array]) -> None:
        self._soft, self._rgb, self._few, self._areas = state["soft"], state["rgb"], None, state["areas"]
        self._learned, self._read = (Layers.from_arrays(name, state) for name in ("learned", "read"))
        self._window = Window.from_array(state["window"])
        tensors = {name[7:]: torch.from_numpy(array) for name, array in state.items() if name.startswith("memory.")}
        self._memory.restore({name: tensor.to(self._context.device) for name, tensor in tensors.items()})

    def step(self, state: FrameState) -> Array:
        state.shown = None  # on the way back a frame is asked again
        if state.window != self._window:
            self._look(state)
        due = parts_due(state)
        if due:
            maps = was_evidence(state.features, self._keys)[0].cpu().numpy()
            self._learned = Layers.of(maps, state.small.shape[:2], state.grid)
        motion = state.motion or both_ways(self._context.flow, state.small, state.shrunk(self._rgb))
        asked = motion is None or _first_of(self._fusion.memory_every, state)
        moved = None if motion is None else self._moved(motion, state, carry_learned=not due, carry_read=not asked)
        seen = self._seen(state.grid, moved)
        if self._enabled:
            seen = self._with_memory(state, seen) if asked else self._saying(seen, self._read)
        if seen.any:
            self._soft, self._few = self._decided(state, seen, motion), None
        self._rgb = state.frame.rgb
        if self._enabled and asked and self._memory.due(1 if motion is None else self._fusion.memory_every):
            grid = state.places.grid
            self._remember(state, resize_soft(self._coarse(grid), grid), permanent=False)
        return self._soft

    def _coarse(self, grid: tuple[int, int]) -> Array:
        """The labels that are carried on, (P, *grid)."""
        if self._few is None or self._few.shape[1:] != grid:
            self._few = resize_soft(self._soft, grid)
        return self._few

    def _seen(self, grid: tuple[int, int], moved: _Moved | None) -> Seen:
        """All that is known but for the memory."""
        fusion = self._fusion
        which: Array = np.zeros((len(self._soft) - 1 if len(self._soft) > 2 else 0, *grid), np.float32)
        learned = None
        if fusion.parts:
            learned = Cue(self._learned.ground, fusion.parts)
            which += (fusion.parts * (1 + fusion.parts_apart)) * logarithms(self._learned.parts, fusion.floor)
        if moved is None:
            return Seen(learned, None, None, which, np.zeros_like(which))
        by_flow = which
        if moved.near is not None:
            trust = resize_soft(moved.trust[None], grid)
            near = logarithms(resize_soft(moved.near, grid), fusion.floor)
            which += (fusion.flow * fusion.flow_apart) * (1 - trust) * near
            by_flow = fusion.flow * (1 + fusion.flow_apart) * trust * logarithms(moved.labels.parts, fusion.floor)
        return Seen(learned, Cue(moved.labels.ground, fusion.flow * moved.trust), moved.against, which, by_flow)

    def _with_memory(self, state: FrameState, seen: Seen) -> Seen:
        """Read the memory."""

        def doubted(coarse: Array) -> Array:
            read = self._saying(seen, Layers.of(coarse, coarse.shape[1:], state.grid))
            ground, parts = self._guess(read, coarse.shape[1:])
            doubt = np.maximum(ground, 1 - ground) < 1 - _DOUBT
            if len(parts):
                doubt |= (ground < 0.5) & (resize_soft(parts.max(0)[None], ground.shape)[0] < 1 - _DOUBT_WHICH)
            return np.asarray(doubt)

        read = recall(self._memory, state.places, doubted)
        layers = Layers.of(read, read.shape[1:], state.grid)
        if self._fusion.memory_every > 1:
            self._read = layers
        return self._saying(seen, layers)

    def _saying(self, seen: Seen, read: Layers) -> Seen:
        """All that is known, with what the memory says."""
        fusion = self._fusion
        which = seen.which + fusion.memory * logarithms(read.parts, fusion.floor)
        return replace(seen, read=Cue(read.ground, fusion.memory), which=which)

    def _look(self, state: FrameState) -> None:
        """See all that is carried along through another window."""
        old, new = self._window, state.window
        self._soft, self._few = seen_through(self._soft, old, new, state.work_size), None
        small = state.small.shape[:2]
        if self._learned.nbytes:
            self._learned = self._learned.through(old, new, small, state.grid)
        if self._read.nbytes:
            self._read = self._read.through(old, new, small, state.grid)
        self._memory.reframe((old.top - new.top, old.left - new.left), min(old.height, old.width), min(state.size))
        self._window = new

    def _guess(self, seen: Seen, size: tuple[int, int]) -> tuple[Array, Array]:
        """Background at a coarse size, and the parts' shares on their grid."""
        ground = seen.at(size, (slice(0, size[0]), slice(0, size[1]))).ground(self._fusion.floor)
        return ground, shares(seen.which + seen.by_flow)

    def _decided(self, state: FrameState, seen: Seen, motion: Motion | None) -> Array:
        """Labels at the working size: worked out where anything is undecided, elsewhere only spread out."""
        size = state.work_size
        ground, parts = self._guess(seen, state.small.shape[:2] if seen.read is None else seen.read.ground.shape)
        soft: Array = np.zeros((len(self._soft), *size), np.float32)
        soft[0] = resize_soft(ground[None], size)[0]
        margin = round(_MARGIN * min(size))
        box = undecided_box(np.maximum(soft[0], 1 - soft[0])[None], margin)
        if len(parts):
            parts *= resize_soft(1 - ground[None], state.grid)
            box = box_around([box, borders(parts, size, margin)])
        else:
            soft[1] = 1 - soft[0]
        if box is None:
            if len(parts):
                soft[1:] = resize_soft(parts, size)
            return soft
        here, again = seen.at(size, box), None
        resized = motion is not None and motion[0].shape[:2] != size
        if motion is not None and here.carried is not None and (resized or len(parts)):
            again = targets_in(motion[0], size, box)
            if resized:
                # The previous labels again, not through the size of the flow, which would blur them.
                here = replace(here, carried=here.carried._replace(ground=warp_soft(self._soft[:1], again)[0]))
        any_part = 1 - here.ground(self._fusion.floor)
        if len(parts):
            tell_apart(soft, parts, shares(seen.which), any_part, box, margin, self._finely(again, box, here.carried))
        else:
            soft[(slice(None), *box)] = 1 - any_part, any_part
        if self._fusion.colours or self._fusion.completion:
            looks = self._looks(state, box, here, soft[0][box])
            carried = both_say(looks, here.against, self._fusion.feedback)
            add(soft, box, carried)
            state.shown = box, looks - carried
        return soft

    def _looks(self, state: FrameState, box: Box, here: Seen, ground: Array) -> Array:
        """Log-odds for all parts by what places of a box look like."""
        fusion, network = self._fusion, self._context.complete
        colours = self._colours.odds(state.worked[box])
        found: Array = fusion.colours * colours
        if fusion.completion and network is not None:
            found += np.minimum(network(state, box, _planes(here, ground, colours, fusion)), fusion.completion)
        return found

    def _finely(self, maps: tuple[Array, Array] | None, box: Box, carried: Cue | None) -> Callable[[int, Box], Array]:
        """What the previous labels, carried at their own size, say for a part in a box within another."""

        def factor(part: int, where: Box) -> Array:
            rows, columns = (slice(w.start - b.start, w.stop - b.start) for w, b in zip(where, box, strict=True))
            if maps is None or carried is None:
                return np.ones((rows.stop - rows.start, columns.stop - columns.start), np.float32)
            moved = warp_soft(self._soft[1 + part : 2 + part], (maps[0][rows, columns], maps[1][rows, columns]))
            weight = (1 + self._fusion.flow_apart) * np.broadcast_to(carried.weight, maps[0].shape)[rows, columns]
            return np.asarray(np.exp(np.maximum(logarithms(moved, self._fusion.floor)[0] * weight, _LEAST)))

        return factor

    def _moved(self, motion: Motion, state: FrameState, *, carry_learned: bool, carry_read: bool) -> _Moved:
        """Previous labels carried by the flow, its reliability, and what motion and distance say against the parts.

        Moves what is remembered, too.
        """
        (flow, back), grid = motion, state.grid
        self._memory.advance(torch.from_numpy(back))
        maps = targets(flow)
        carrier = Carrier(flow, maps, grid)
        trust = reliability(flow, back, maps, self._fusion.flow_tolerance * state.apart)
        several = len(self._soft) > 2
        parts = self._coarse(grid)[1:] if several else np.zeros((0, *grid), np.float32)
        labels = carrier.carry(Layers(self._soft[0], parts))
        if carry_learned and self._fusion.parts:
            self._learned = carrier.carry(self._learned)
        if carry_read and self._enabled:
            self._read = carrier.carry(self._read)
        size = (flow.shape[0], flow.shape[1])
        near = _surroundings(labels.parts, size) if several else None
        against = None
        if self._fusion.motion:
            departures = departure(flow, np.where(labels.ground > _SURE, trust, 0))
            if departures is not None:
                nearest = np.zeros(size, np.uint8)
                if near is not None:
                    nearest = resize_labels(near.argmax(0).astype(np.uint8), size)
                limit = self._fusion.motion_limit
                against = self._fusion.motion * against_parts(departures, labels.ground, nearest, trust, limit)
        if self._fusion.reach:
            there = labels.ground < 0.5
            planes = labels.parts > 0.5 if several else there[None]
            areas = planes.sum((1, 2)) * (state.window.height * state.window.width / planes[0].size)
            self._areas = largest(areas, self._areas)
            if nothing_gone(areas, self._areas):
                far = against_far(there, self._fusion.reach)
                against = far if against is None else against + far
        return _Moved(labels, trust, near, against)

    def _remember(self, state: FrameState, mask: Array, *, permanent: bool) -> None:
        self._memory.write(state.places, torch.from_numpy(mask).to(state.places.device), permanent=permanent)


@dataclass(frozen=True, slots=True, eq=False)
class _Moved:
    """What motion says: labels carried along, how far to trust them, parts nearby, log-odds against all parts."""

    labels: Layers
    trust: Array
    near: Array | None
    against: Array | None


def _planes(here: Seen, ground: Array, colours: Array, fusion: FusionConfig) -> Array:
    """Input planes of the refinement network: (7, h, w) float32, :data:`slimevid.refinement.network.PLANES`."""
    any_part: Array = 1 - ground

    def parts(one: Cue | None) -> Array:
        return any_part if one is None else 1 - one.ground

    trust = here.carried.weight / fusion.flow if here.carried is not None and fusion.flow else 0.0
    planes: Array = np.zeros((len(PLANES), *any_part.shape), np.float32)
    planes[1], planes[2], planes[3], planes[4] = parts(here.read), parts(here.learned), parts(here.carried), trust
    if here.against is not None and fusion.motion * fusion.motion_limit:
        planes[5] = np.clip(here.against / (fusion.motion * fusion.motion_limit), _FAVOUR, 1)
    odds_there = fusion.colours * colours
    planes[0] = any_part / (any_part + np.exp(-odds_there) * ground)
    planes[6] = colours
    return planes


def build(context: Context) -> _Fused:
    """Memory, learned parts and flow together."""
    if context.keys is None:
        raise RuntimeError("fused needs learned parts")
    return _Fused(context, context.keys)
