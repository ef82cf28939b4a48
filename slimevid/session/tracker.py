"""Track parts through consecutive key frames: propagator, search region and key-frame count as a single state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from slimecore.array_types import Array
from slimecore.backbones import Backbone
from slimecore.imaging.boxes import Spans
from slimecore.imaging.resize import resize_soft
from slimecore.types import Frame
from slimevid.config import RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.frame.labels import coarse_labels
from slimevid.frame.region_planner import RegionPlanner
from slimevid.frame.search_region import SearchRegion, full_frame, part_extent
from slimevid.motion.composition import step_motion
from slimevid.motion.flows import Flow
from slimevid.propagators import Propagator, Traits
from slimevid.session.bidirectional import reversed_steps
from slimevid.session.keyframes import KeyframeStep, group_by_keyframe
from slimevid.session.prefetch import prefetch

__all__ = ["Tracker"]


class Tracker:
    """Label key frames with a propagator, each in a search region that follows the parts.

    Parameters
    ----------
    config : RunConfig
    traits : Traits
        Of the propagator.
    propagator : Propagator
        It remembers the references.
    backbone : Backbone or None
    planner : RegionPlanner
    flow : Flow
        For motion estimated in another thread.
    """

    def __init__(
        self,
        config: RunConfig,
        traits: Traits,
        propagator: Propagator,
        backbone: Backbone | None,
        planner: RegionPlanner,
        flow: Flow,
    ) -> None:
        self._config, self.traits, self._backbone, self._flow = config, traits, backbone, flow
        self._propagator, self._planner = propagator, planner
        self._min_areas: Array = np.zeros(0, np.int64)
        self._dropped: Callable[[int], Sequence[int]] = lambda _: ()
        self._references_only = propagator.snapshot()
        self.ordinal = 1  # of the next key frame
        self.last: tuple[Array, SearchRegion] = np.zeros((0, 0, 0), np.float32), full_frame((0, 0))

    def watch(self, min_areas: npt.NDArray[np.int64], dropped: Callable[[int], Sequence[int]]) -> None:
        """Set the criteria of a visible part. Visibility decides the search region.

        Parameters
        ----------
        min_areas : (P - 1,) int64
            Pixels that decide the presence of each part.
        dropped : callable(frame index)
            Returns the rows of parts that are left out at a frame.
        """
        self._min_areas, self._dropped = min_areas, dropped

    @property
    def _interpolates(self) -> bool:
        """True if frames between key frames are interpolated, which needs the last labels."""
        return self.traits.keyframes and self._config.keyframe_interval > 1

    @property
    def nbytes(self) -> int:
        """Bytes remembered between frames."""
        return (self.last[0].nbytes if self._interpolates else 0) + self._propagator.nbytes

    def features(self, frame: Frame, ordinal: int) -> FrameFeatures:
        """Return the features of key frame `ordinal` in its planned search region."""
        return FrameFeatures(frame, self._config, self._backbone, ordinal, self._planner.at(ordinal))

    def start(self, frame: Frame, soft: Array) -> None:
        """Forget everything but the references, and continue from a reference.

        Parameters
        ----------
        frame : Frame
        soft : (P, h, w) float32
            Labels of the reference at the frame's size.
        """
        self._propagator.restore(self._references_only)
        self.ordinal = 1
        region = self._planner.start(soft[0] < 0.5)
        features = FrameFeatures(frame, self._config, self._backbone, region=region)
        self._propagator.start(features, soft)
        inside = np.ascontiguousarray(soft[(slice(None), *region.box)])
        self.last = resize_soft(inside, features.mask_size), region

    def steps(
        self, frames: Iterable[Frame], interval: int, before: FrameFeatures | None = None
    ) -> Iterator[KeyframeStep]:
        """Yield steps through frames in order, each prepared in another thread.

        Parameters
        ----------
        frames : iterable of Frame
        interval : int
            Every n-th frame is a key frame.
        before : FrameFeatures, optional
            Of the frame before the first. Without it the first step has no motion.
        """
        first = None if before is None else KeyframeStep(before)
        return prefetch(group_by_keyframe(frames, interval, self.ordinal, self.features), self._prepare, first)

    @torch.no_grad()
    def _prepare(self, step: KeyframeStep, before: KeyframeStep | None) -> KeyframeStep:
        if self.traits.prefetch is not None:
            self.traits.prefetch(step.features)
        if not self.traits.motion or before is None:
            return step
        return KeyframeStep(
            step.features, step.skipped, step_motion(step.features, (before.features, *step.skipped), self._flow)
        )

    @torch.no_grad()
    def track(self, step: KeyframeStep) -> Array:
        """Label the next key frame and plan the search region of the key frame after the next.

        Returns
        -------
        (P, h, w) float32
            Labels to display, of the search region, summing to 1 over P.
        """
        features = step.features
        self.ordinal = features.ordinal + 1
        result = self._propagator.step(features, step.motion)
        extent, complete = self._locate(result.labels, features) if self._planner.follows else (None, True)
        self._planner.observe(features.ordinal, extent, features.frame.size, complete=complete)
        return result.displayed

    @torch.no_grad()
    def retrace(self, steps: Sequence[KeyframeStep]) -> Iterator[Array]:
        """Label key frames again, from the last, which was labelled just now, back to the first.

        Yields
        ------
        (P, h, w) float32
            Labels to display of all but the last. Afterwards the state is as before.
        """
        here = self._propagator.snapshot()
        for step in reversed_steps(steps, self._flow):
            yield self._propagator.step(step.features, step.motion).displayed
        self._propagator.restore(here)

    def _locate(self, labels: Array, features: FrameFeatures) -> tuple[Spans | None, bool]:
        """Return rows and columns of the propagated parts, and if all parts are visible."""
        dropped = self._dropped(features.frame.index)
        min_shares = self._min_areas / (features.size[0] * features.size[1])
        rows, complete = coarse_labels(labels, min_shares, self._config.fusion.presence_threshold, dropped)
        return part_extent(rows, features.region), complete

    def snapshot(self) -> dict[str, Array]:
        """Return everything that later steps depend on beside the references, as named arrays."""
        state = {"ordinal": np.array(self.ordinal)}
        if self._interpolates:
            state |= {"last": self.last[0], "last_region": self.last[1].to_array()}
        return state | self._planner.snapshot(self.ordinal) | self._propagator.snapshot()

    def restore(self, state: Mapping[str, Array]) -> None:
        """Continue from a :meth:`snapshot`."""
        self.ordinal = int(state["ordinal"])
        if self._interpolates:
            self.last = state["last"], SearchRegion.from_array(state["last_region"])
        self._planner.restore(self.ordinal, state)
        self._propagator.restore(state)
