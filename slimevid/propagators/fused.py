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
from slimecore.imaging.boxes import Box, uncertain_box, union_box
from slimecore.imaging.resize import resize_labels, resize_soft
from slimecore.memory.grid_features import GridFeatures
from slimecore.memory.mask_memory import MaskMemory
from slimecore.segmentation.readout import PartKeys, read_out
from slimevid.config import FusionConfig
from slimevid.cues.background_motion import MAX_LOG_ODDS, background_log_odds, residual_motion
from slimevid.cues.color_model import ColorModel
from slimevid.cues.spatial_prior import all_parts_visible, distance_penalty, running_max_area
from slimevid.frame.features import FrameFeatures, Motion
from slimevid.frame.search_region import SearchRegion, resample_between
from slimevid.fusion.evidence import ForegroundCue, FrameEvidence, floored_log, softmax_parts
from slimevid.fusion.motion_gate import add_log_odds_inplace, propagated_log_odds
from slimevid.fusion.part_assignment import APPEARANCE_GAIN, FLOW_GAIN, assign_parts, part_boundary_box
from slimevid.fusion.soft_labels import LabelWarper, TwoLevelLabels
from slimevid.motion.composition import bidirectional_flow, compose_flows, stepwise_flow
from slimevid.motion.flows import Flow
from slimevid.motion.warp import FLOW_TOLERANCE, reliability, resized_sampling_grid, sampling_grid, warp_soft
from slimevid.propagators import Context
from slimevid.refinement.network import INPUT_CHANNELS

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
_NOTHING = TwoLevelLabels(np.zeros((0, 0), np.float32), np.zeros((0, 0, 0), np.float32))
_FAVOUR = -0.5  # the completing network has seen no motion that speaks more for a part than this share of the limit
_SURE = 0.9  # the background's motion is fitted to pixels at least this sure to be background


def recall(memory: MaskMemory, places: GridFeatures, doubted: Doubt) -> Array:
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


def prepare(state: FrameFeatures, before: FrameFeatures | None, flow: Flow) -> None:
    """Make what a step needs and labels do not decide."""
    fusion = state.config.fusion
    if parts_due(state):
        _ = state.features
    if fusion.memory_weight:
        _ = state.grid_features
    if before is not None:
        state.step_flows = stepwise_flow(state, (before, *state.skipped_frames), flow)
        state.motion, state.flow_steps = compose_flows(state.step_flows), 1 + len(state.skipped_frames)


def parts_due(state: FrameFeatures) -> bool:
    """Whether the learned parts are read from this frame, the first of a pass being one."""
    return state.config.fusion.appearance_weight > 0 and _first_of(state.config.fusion.appearance_interval, state)


def _first_of(frames: int, state: FrameFeatures) -> bool:
    return (state.ordinal - 1) % frames == 0


AHEAD = prepare


class _Fused:
    def __init__(self, context: Context, keys: PartKeys) -> None:
        self._context = context
        self._keys = keys
        self._memory = MaskMemory(context.config.memory, context.config.seed)
        self._enabled = context.config.fusion.memory_weight > 0
        self._colours = ColorModel()
        self._soft: Array = np.zeros((0, 0, 0), np.float32)
        self._few: Array | None = None  # the same on the grid, when it was asked for
        self._rgb: Array = np.zeros((0, 0, 3), np.uint8)
        self._window = SearchRegion(0, 0, 0, 0)
        self._areas: Array = np.zeros(context.parts - 1)  # of the parts lately, pixels of the frame
        self._learned = _NOTHING

    @property
    def nbytes(self) -> int:
        own = [one for one in (self._soft, self._few, self._rgb, self._learned) if one is not None]
        return int(self._memory.nbytes + self._colours.nbytes + sum(array.nbytes for array in own))

    @property
    def _fusion(self) -> FusionConfig:
        return self._context.config.fusion

    def remember(self, state: FrameFeatures, soft: Array) -> None:
        if self._fusion.color_weight or self._fusion.refinement_limit:
            self._colours.learn(state.frame.rgb, soft)
        if self._enabled:
            seen = np.ascontiguousarray(soft[(slice(None), *state.window.box)])
            self._remember(state, resize_soft(seen, state.grid_features.grid), permanent=True)

    def start(self, state: FrameFeatures, soft: Array) -> None:
        self._soft = resize_soft(np.ascontiguousarray(soft[(slice(None), *state.window.box)]), state.work_size)
        self._rgb, self._window, self._few = state.frame.rgb, state.window, None

    def snapshot(self) -> dict[str, Array]:
        memory = {f"memory.{name}": tensor.cpu().numpy() for name, tensor in self._memory.snapshot().items()}
        own = {"soft": self._soft, "rgb": self._rgb, "window": self._window.to_array(), "areas": self._areas}
        return own | self._learned.arrays("learned") | memory

    def restore(self, state: Mapping[str, Array]) -> None:
        self._soft, self._rgb, self._few, self._areas = state["soft"], state["rgb"], None, state["areas"]
        self._learned = TwoLevelLabels.from_arrays("learned", state)
        self._window = SearchRegion.from_array(state["window"])
        tensors = {name[7:]: torch.from_numpy(array) for name, array in state.items() if name.startswith("memory.")}
        self._memory.restore({name: tensor.to(self._context.device) for name, tensor in tensors.items()})

    def step(self, state: FrameFeatures) -> Array:
        state.display_correction = None  # on the way back a frame is asked again
        if state.window != self._window:
            self._look(state)
        due = parts_due(state)
        if due:
            maps = read_out(state.features, self._keys)[0].cpu().numpy()
            self._learned = TwoLevelLabels.of(maps, state.flow_image.shape[:2], state.grid)
        motion = state.motion or bidirectional_flow(
            self._context.flow, state.flow_image, state.flow_image_of(self._rgb)
        )
        moved = None if motion is None else self._moved(motion, state, carry_learned=not due)
        seen = self._seen(state.grid, moved)
        if self._enabled:
            seen = self._with_memory(state, seen)
        if seen.any:
            self._soft, self._few = self._decided(state, seen, motion), None
        self._rgb = state.frame.rgb
        if self._enabled and self._memory.should_write():
            grid = state.grid_features.grid
            self._remember(state, resize_soft(self._coarse(grid), grid), permanent=False)
        return self._soft

    def _coarse(self, grid: tuple[int, int]) -> Array:
        """The labels that are carried on, (P, *grid)."""
        if self._few is None or self._few.shape[1:] != grid:
            self._few = resize_soft(self._soft, grid)
        return self._few

    def _seen(self, grid: tuple[int, int], moved: _Moved | None) -> FrameEvidence:
        """All that is known but for the memory."""
        fusion = self._fusion
        which: Array = np.zeros((len(self._soft) - 1 if len(self._soft) > 2 else 0, *grid), np.float32)
        learned = None
        if fusion.appearance_weight:
            learned = ForegroundCue(self._learned.background, fusion.appearance_weight)
            which += (fusion.appearance_weight * (1 + APPEARANCE_GAIN)) * floored_log(
                self._learned.parts, fusion.probability_floor
            )
        if moved is None:
            return FrameEvidence(learned, None, None, which, np.zeros_like(which))
        by_flow = which
        if moved.near is not None:
            trust = resize_soft(moved.trust[None], grid)
            near = floored_log(resize_soft(moved.near, grid), fusion.probability_floor)
            which += (fusion.flow_weight * FLOW_GAIN) * (1 - trust) * near
            by_flow = (
                fusion.flow_weight * (1 + FLOW_GAIN) * trust * floored_log(moved.labels.parts, fusion.probability_floor)
            )
        return FrameEvidence(
            learned,
            ForegroundCue(moved.labels.background, fusion.flow_weight * moved.trust),
            moved.against,
            which,
            by_flow,
        )

    def _with_memory(self, state: FrameFeatures, seen: FrameEvidence) -> FrameEvidence:
        """Read the memory."""

        def doubted(coarse: Array) -> Array:
            read = self._saying(seen, TwoLevelLabels.of(coarse, coarse.shape[1:], state.grid))
            ground, parts = self._guess(read, coarse.shape[1:])
            doubt = np.maximum(ground, 1 - ground) < 1 - _DOUBT
            if len(parts):
                doubt |= (ground < 0.5) & (resize_soft(parts.max(0)[None], ground.shape)[0] < 1 - _DOUBT_WHICH)
            return np.asarray(doubt)

        read = recall(self._memory, state.grid_features, doubted)
        layers = TwoLevelLabels.of(read, read.shape[1:], state.grid)
        return self._saying(seen, layers)

    def _saying(self, seen: FrameEvidence, read: TwoLevelLabels) -> FrameEvidence:
        """All that is known, with what the memory says."""
        fusion = self._fusion
        which = seen.part_log_likelihood + fusion.memory_weight * floored_log(read.parts, fusion.probability_floor)
        return replace(seen, read=ForegroundCue(read.background, fusion.memory_weight), part_log_likelihood=which)

    def _look(self, state: FrameFeatures) -> None:
        """See all that is carried along through another window."""
        old, new = self._window, state.window
        self._soft, self._few = resample_between(self._soft, old, new, state.work_size), None
        small = state.flow_image.shape[:2]
        if self._learned.nbytes:
            self._learned = self._learned.to_region(old, new, small, state.grid)
        self._memory.change_region(
            (old.top - new.top, old.left - new.left), min(old.height, old.width), min(state.size)
        )
        self._window = new

    def _guess(self, seen: FrameEvidence, size: tuple[int, int]) -> tuple[Array, Array]:
        """Background at a coarse size, and the parts' shares on their grid."""
        ground = seen.at(size, (slice(0, size[0]), slice(0, size[1]))).ground(self._fusion.probability_floor)
        return ground, softmax_parts(seen.part_log_likelihood + seen.flow_part_log_likelihood)

    def _decided(self, state: FrameFeatures, seen: FrameEvidence, motion: Motion | None) -> Array:
        """Labels at the working size: worked out where anything is undecided, elsewhere only spread out."""
        size = state.work_size
        ground, parts = self._guess(
            seen, state.flow_image.shape[:2] if seen.read is None else seen.read.background.shape
        )
        soft: Array = np.zeros((len(self._soft), *size), np.float32)
        soft[0] = resize_soft(ground[None], size)[0]
        margin = round(_MARGIN * min(size))
        box = uncertain_box(np.maximum(soft[0], 1 - soft[0])[None], margin)
        if len(parts):
            parts *= resize_soft(1 - ground[None], state.grid)
            box = union_box([box, part_boundary_box(parts, size, margin)])
        else:
            soft[1] = 1 - soft[0]
        if box is None:
            if len(parts):
                soft[1:] = resize_soft(parts, size)
            return soft
        here, again = seen.at(size, box), None
        resized = motion is not None and motion[0].shape[:2] != size
        if motion is not None and here.carried is not None and (resized or len(parts)):
            again = resized_sampling_grid(motion[0], size, box)
            if resized:
                # The previous labels again, not through the size of the flow, which would blur them.
                here = replace(here, carried=here.carried._replace(background=warp_soft(self._soft[:1], again)[0]))
        any_part = 1 - here.ground(self._fusion.probability_floor)
        if len(parts):
            assign_parts(
                soft,
                parts,
                softmax_parts(seen.part_log_likelihood),
                any_part,
                box,
                margin,
                self._finely(again, box, here.carried),
            )
        else:
            soft[(slice(None), *box)] = 1 - any_part, any_part
        if self._fusion.color_weight or self._fusion.refinement_limit:
            looks = self._looks(state, box, here, soft[0][box])
            carried = propagated_log_odds(looks, here.against, self._fusion.motion_gate)
            add_log_odds_inplace(soft, box, carried)
            state.display_correction = box, looks - carried
        return soft

    def _looks(self, state: FrameFeatures, box: Box, here: FrameEvidence, ground: Array) -> Array:
        """Log-odds for all parts by what places of a box look like."""
        fusion, network = self._fusion, self._context.complete
        colours = self._colours.odds(state.work_image[box])
        found: Array = fusion.color_weight * colours
        if fusion.refinement_limit and network is not None:
            found += np.minimum(network(state, box, _planes(here, ground, colours, fusion)), fusion.refinement_limit)
        return found

    def _finely(
        self, maps: tuple[Array, Array] | None, box: Box, carried: ForegroundCue | None
    ) -> Callable[[int, Box], Array]:
        """What the previous labels, carried at their own size, say for a part in a box within another."""

        def factor(part: int, where: Box) -> Array:
            rows, columns = (slice(w.start - b.start, w.stop - b.start) for w, b in zip(where, box, strict=True))
            if maps is None or carried is None:
                return np.ones((rows.stop - rows.start, columns.stop - columns.start), np.float32)
            moved = warp_soft(self._soft[1 + part : 2 + part], (maps[0][rows, columns], maps[1][rows, columns]))
            weight = (1 + FLOW_GAIN) * np.broadcast_to(carried.weight, maps[0].shape)[rows, columns]
            return np.asarray(
                np.exp(np.maximum(floored_log(moved, self._fusion.probability_floor)[0] * weight, _LEAST))
            )

        return factor

    def _moved(self, motion: Motion, state: FrameFeatures, *, carry_learned: bool) -> _Moved:
        """Previous labels carried by the flow, its reliability, and what motion and distance say against the parts.

        Moves what is remembered, too.
        """
        (flow, back), grid = motion, state.grid
        self._memory.warp_positions(torch.from_numpy(back))
        maps = sampling_grid(flow)
        carrier = LabelWarper(flow, maps, grid)
        trust = reliability(flow, back, maps, state.flow_steps * FLOW_TOLERANCE)
        several = len(self._soft) > 2
        parts = self._coarse(grid)[1:] if several else np.zeros((0, *grid), np.float32)
        labels = carrier.carry(TwoLevelLabels(self._soft[0], parts))
        if carry_learned and self._fusion.appearance_weight:
            self._learned = carrier.carry(self._learned)
        size = (flow.shape[0], flow.shape[1])
        near = _surroundings(labels.parts, size) if several else None
        against = None
        if self._fusion.background_motion_weight:
            departures = residual_motion(flow, np.where(labels.background > _SURE, trust, 0))
            if departures is not None:
                nearest = np.zeros(size, np.uint8)
                if near is not None:
                    nearest = resize_labels(near.argmax(0).astype(np.uint8), size)
                against = self._fusion.background_motion_weight * background_log_odds(
                    departures, labels.background, nearest, trust
                )
        if self._fusion.search_radius:
            there = labels.background < 0.5
            planes = labels.parts > 0.5 if several else there[None]
            areas = planes.sum((1, 2)) * (state.window.height * state.window.width / planes[0].size)
            self._areas = running_max_area(areas, self._areas)
            if all_parts_visible(areas, self._areas):
                far = distance_penalty(there, self._fusion.search_radius)
                against = far if against is None else against + far
        return _Moved(labels, trust, near, against)

    def _remember(self, state: FrameFeatures, mask: Array, *, permanent: bool) -> None:
        self._memory.write(
            state.grid_features, torch.from_numpy(mask).to(state.grid_features.device), permanent=permanent
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Moved:
    """What motion says: labels carried along, how far to trust them, parts nearby, log-odds against all parts."""

    labels: TwoLevelLabels
    trust: Array
    near: Array | None
    against: Array | None


def _planes(here: FrameEvidence, ground: Array, colours: Array, fusion: FusionConfig) -> Array:
    """Input planes of the refinement network: (7, h, w) float32, :data:`slimevid.refinement.network.PLANES`."""
    any_part: Array = 1 - ground

    def parts(one: ForegroundCue | None) -> Array:
        return any_part if one is None else 1 - one.background

    trust = here.carried.weight / fusion.flow_weight if here.carried is not None and fusion.flow_weight else 0.0
    planes: Array = np.zeros((len(INPUT_CHANNELS), *any_part.shape), np.float32)
    planes[1], planes[2], planes[3], planes[4] = parts(here.read), parts(here.learned), parts(here.carried), trust
    if here.against is not None and fusion.background_motion_weight * MAX_LOG_ODDS:
        planes[5] = np.clip(here.against / (fusion.background_motion_weight * MAX_LOG_ODDS), _FAVOUR, 1)
    odds_there = fusion.color_weight * colours
    planes[0] = any_part / (any_part + np.exp(-odds_there) * ground)
    planes[6] = colours
    return planes


def build(context: Context) -> _Fused:
    """Memory, learned parts and flow together."""
    if context.keys is None:
        raise RuntimeError("fused needs learned parts")
    return _Fused(context, context.keys)
