"""The default propagator: learned parts, mask memory, optical flow, colour and refinement network, fused at each pixel.

Every step goes features -> memory -> motion -> fusion -> refinement (docs/architecture.md). Flow alone never carries
labels, because its weight falls to zero where the forward-backward check fails. The memory is read last, finely only
where all other cues leave the label uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box
from slimecore.imaging.resize import resize_soft
from slimecore.memory.mask_memory import MaskMemory
from slimecore.segmentation.readout import PartKeys, read_out
from slimevid.config import FusionConfig
from slimevid.cues import CueInputs, load_cues, summed_log_odds
from slimevid.cues.color_model import ColorModel
from slimevid.frame.features import FrameFeatures
from slimevid.frame.search_region import SearchRegion, resample_between
from slimevid.fusion.evidence import ForegroundCue, FrameEvidence, floored_log
from slimevid.fusion.flow_evidence import FlowEvidence, flow_evidence, position_evidence
from slimevid.fusion.label_solver import MaskGrid, RefinedLogOdds, solve_labels, uncertain_cells
from slimevid.fusion.memory_reading import read_memory
from slimevid.fusion.part_assignment import APPEARANCE_GAIN, FLOW_GAIN
from slimevid.fusion.soft_labels import LabelWarper, TwoLevelLabels
from slimevid.motion.composition import StepMotion, bidirectional_flow
from slimevid.motion.warp import sampling_grid
from slimevid.propagators import Context, StepResult, Traits
from slimevid.refinement.evidence_planes import evidence_planes

__all__ = ["TRAITS", "build"]

_NO_LABELS = TwoLevelLabels(np.zeros((0, 0), np.float32), np.zeros((0, 0, 0), np.float32))


def reads_appearance(features: FrameFeatures) -> bool:
    """Tell if the learned parts are read from a key frame. The first of a pass always is."""
    fusion = features.config.fusion
    return fusion.appearance_weight > 0 and (features.ordinal - 1) % fusion.appearance_interval == 0


def _prefetch(features: FrameFeatures) -> None:
    if reads_appearance(features):
        _ = features.features
    if features.config.fusion.memory_weight:
        _ = features.grid_features


TRAITS = Traits(
    needs_model=True,
    needs_embeddings=True,
    guided_filter=True,
    search_region=True,
    refinement=True,
    keyframes=True,
    motion=True,
    prefetch=_prefetch,
)


class _Fused:
    def __init__(self, context: Context, keys: PartKeys) -> None:
        self._context = context
        self._keys = keys
        self._memory = MaskMemory(context.config.memory, context.config.seed)
        self._color_model = ColorModel()
        self._cues = load_cues(context.config.cues)
        self._labels: Array = np.zeros((0, 0, 0), np.float32)  # propagated
        self._grid_labels: Array | None = None  # the same on the memory grid, once computed
        self._rgb: Array = np.zeros((0, 0, 3), np.uint8)
        self._region = SearchRegion(0, 0, 0, 0)
        self._areas: Array = np.zeros(context.parts - 1)  # recent areas of the parts, pixels of the frame
        self._appearance = _NO_LABELS  # map of the learned parts, warped between readings

    @property
    def nbytes(self) -> int:
        arrays = (self._labels, self._grid_labels, self._rgb, self._appearance)
        return int(self._memory.nbytes + self._color_model.nbytes + sum(a.nbytes for a in arrays if a is not None))

    @property
    def _fusion(self) -> FusionConfig:
        return self._context.config.fusion

    @property
    def _uses_color(self) -> bool:
        return bool(self._fusion.color_weight or self._fusion.refinement_limit)

    def remember(self, features: FrameFeatures, soft: Array) -> None:
        if self._uses_color:
            self._color_model.learn(features.frame.rgb, soft)
        if self._fusion.memory_weight:
            inside = np.ascontiguousarray(soft[(slice(None), *features.region.box)])
            self._write(features, resize_soft(inside, features.grid_features.grid), permanent=True)

    def start(self, features: FrameFeatures, soft: Array) -> None:
        inside = np.ascontiguousarray(soft[(slice(None), *features.region.box)])
        self._labels, self._grid_labels = resize_soft(inside, features.mask_size), None
        self._rgb, self._region = features.frame.rgb, features.region

    def snapshot(self) -> dict[str, Array]:
        memory = {f"memory.{name}": tensor.cpu().numpy() for name, tensor in self._memory.snapshot().items()}
        state = {"soft": self._labels, "rgb": self._rgb, "region": self._region.to_array(), "areas": self._areas}
        return state | self._appearance.arrays("appearance") | memory

    def restore(self, state: Mapping[str, Array]) -> None:
        self._labels, self._grid_labels = state["soft"], None
        self._rgb, self._areas = state["rgb"], state["areas"]
        self._appearance = TwoLevelLabels.from_arrays("appearance", state)
        self._region = SearchRegion.from_array(state["region"])
        tensors = {name[7:]: torch.from_numpy(array) for name, array in state.items() if name.startswith("memory.")}
        self._memory.restore({name: tensor.to(self._context.device) for name, tensor in tensors.items()})

    def step(self, features: FrameFeatures, motion: StepMotion | None = None) -> StepResult:
        if features.region != self._region:
            self._move_to_region(features)
        motion = motion or self._estimate_motion(features)
        fresh = reads_appearance(features)
        flow = None if motion is None else self._warp_state(motion, features, warp_appearance=not fresh)
        if fresh:
            maps = read_out(features.features, self._keys)[0].cpu().numpy()
            self._appearance = TwoLevelLabels.of(maps, features.flow_image.shape[:2], features.grid)
        evidence = self._evidence(features.grid, flow)
        if self._fusion.memory_weight:
            evidence = self._with_memory(evidence, features)
        result = StepResult(self._labels)
        if evidence.cues:
            grid = MaskGrid(features.mask_size, features.grid)
            coarse = evidence.memory.background.shape if evidence.memory else features.flow_image.shape[:2]
            refined = self._refined_log_odds(features) if self._uses_color else None
            solved = solve_labels(evidence, grid, coarse, self._labels, motion, self._fusion, refined)
            result = StepResult(*solved)
        self._labels, self._grid_labels, self._rgb = result.labels, None, features.frame.rgb
        if self._fusion.memory_weight and self._memory.should_write():
            grid_size = features.grid_features.grid
            self._write(features, resize_soft(self._labels_on(grid_size), grid_size), permanent=False)
        return result

    def _estimate_motion(self, features: FrameFeatures) -> StepMotion | None:
        """Estimate the motion of a single step, where the session has not."""
        previous = features.flow_image_of(self._rgb)
        pair = bidirectional_flow(self._context.flow, features.flow_image, previous)
        return None if pair is None else StepMotion(*pair)

    def _move_to_region(self, features: FrameFeatures) -> None:
        """Resample the state to another search region."""
        old, new = self._region, features.region
        self._labels, self._grid_labels = resample_between(self._labels, old, new, features.mask_size), None
        if self._appearance.nbytes:
            size = features.flow_image.shape[:2]
            self._appearance = self._appearance.to_region(old, new, size, features.grid)
        shift = (old.top - new.top, old.left - new.left)
        self._memory.change_region(shift, min(old.height, old.width), min(features.size))
        self._region = new

    def _labels_on(self, grid: tuple[int, int]) -> Array:
        """Return the propagated labels on a grid, (P, *grid)."""
        if self._grid_labels is None or self._grid_labels.shape[1:] != grid:
            self._grid_labels = resize_soft(self._labels, grid)
        return self._grid_labels

    def _warp_state(self, motion: StepMotion, features: FrameFeatures, *, warp_appearance: bool) -> FlowEvidence:
        """Warp labels, memory positions and appearance map to the present frame, and return the evidence of motion."""
        grid, region = features.grid, features.region
        self._memory.warp_positions(torch.from_numpy(motion.back))
        warper = LabelWarper(motion.flow, sampling_grid(motion.flow), grid)
        several = len(self._labels) > 2
        parts = self._labels_on(grid)[1:] if several else np.zeros((0, *grid), np.float32)
        flow = flow_evidence(warper, motion, TwoLevelLabels(self._labels[0], parts), self._fusion)
        inputs = CueInputs(features.flow_image, flow.labels.background, motion.flow, flow.trust)
        flow = flow.with_log_odds(summed_log_odds(self._cues, inputs))
        if warp_appearance and self._fusion.appearance_weight:
            self._appearance = warper.warp(self._appearance)
        if not self._fusion.search_radius:
            return flow
        pixels = region.height * region.width
        penalty, self._areas = position_evidence(flow.labels, pixels, self._areas, self._fusion)
        return flow.with_log_odds(penalty)

    def _evidence(self, grid: tuple[int, int], flow: FlowEvidence | None) -> FrameEvidence:
        """Combine appearance and motion."""
        fusion, floor = self._fusion, self._fusion.probability_floor
        parts: Array = np.zeros((len(self._labels) - 1 if len(self._labels) > 2 else 0, *grid), np.float32)
        appearance = None
        if fusion.appearance_weight:
            appearance = ForegroundCue(self._appearance.background, fusion.appearance_weight)
            weight = fusion.appearance_weight * (1 + APPEARANCE_GAIN)
            parts += weight * floored_log(self._appearance.parts, floor)
        if flow is None:
            return FrameEvidence(appearance, None, None, parts, np.zeros_like(parts))
        flow_parts = parts
        if flow.nearby_parts is not None:  # where the flow is unreliable, its weight moves to the parts nearby
            trust = resize_soft(flow.trust[None], grid)
            nearby = floored_log(resize_soft(flow.nearby_parts, grid), floor)
            parts += (fusion.flow_weight * FLOW_GAIN) * (1 - trust) * nearby
            flow_parts = fusion.flow_weight * (1 + FLOW_GAIN) * trust * floored_log(flow.labels.parts, floor)
        cue = ForegroundCue(flow.labels.background, fusion.flow_weight * flow.trust)
        return FrameEvidence(appearance, cue, flow.background_log_odds, parts, flow_parts)

    def _with_memory(self, evidence: FrameEvidence, features: FrameFeatures) -> FrameEvidence:
        """Add the read-out of the memory."""
        grid, fusion = features.grid, self._fusion

        def combined(read: Array) -> FrameEvidence:
            labels = TwoLevelLabels.of(read, read.shape[1:], grid)
            weight = fusion.memory_weight
            parts = evidence.part_log_likelihood + weight * floored_log(labels.parts, fusion.probability_floor)
            return replace(evidence, memory=ForegroundCue(labels.background, weight), part_log_likelihood=parts)

        def uncertainty(coarse: Array) -> Array:
            return uncertain_cells(combined(coarse), coarse.shape[1:], fusion.probability_floor)

        return combined(read_memory(self._memory, features.grid_features, uncertainty))

    def _refined_log_odds(self, features: FrameFeatures) -> RefinedLogOdds:
        """Return a function that gives the log-odds of the foreground by colour and refinement network in a box."""
        fusion, refiner = self._fusion, self._context.refiner

        def log_odds(box: Box, evidence: FrameEvidence, background: Array) -> Array:
            color = self._color_model.odds(features.mask_image[box])
            total: Array = fusion.color_weight * color
            if fusion.refinement_limit and refiner is not None:
                planes = evidence_planes(evidence, background, color, fusion)
                total += np.minimum(refiner(features, box, planes), fusion.refinement_limit)
            return total

        return log_odds

    def _write(self, features: FrameFeatures, mask: Array, *, permanent: bool) -> None:
        grid_features = features.grid_features
        self._memory.write(grid_features, torch.from_numpy(mask).to(grid_features.device), permanent=permanent)


def build(context: Context) -> _Fused:
    """Build the propagator.

    Raises
    ------
    RuntimeError
        The context holds no projected embeddings.
    """
    if context.keys is None:
        raise RuntimeError("fused needs learned parts")
    return _Fused(context, context.keys)
