"""Stream of labels from a set of references: start, steps, passes and spans, and a snapshot of it all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import numpy as np
import torch

from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.types import Frame, Parts
from slimevid.config import RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.frame.labels import FrameResult, decide_labels
from slimevid.frame.search_region import SearchRegion, full_frame
from slimevid.frame.upsampling import upsample_to_frame
from slimevid.io import Clip, read_range
from slimevid.references.reference import Reference, check_size, one_hot, smallest_areas
from slimevid.session.dropped_parts import Drops, merged_into_background
from slimevid.session.keyframes import KeyframeStep
from slimevid.session.passes import Pass
from slimevid.session.schedule import Schedule
from slimevid.session.tracker import Tracker

__all__ = ["LabelStream"]


class LabelStream:
    """Labels of frames, in the order that passes and spans prescribe.

    Parameters
    ----------
    config : RunConfig
    references : mapping of int to Reference
        By frame, with a common set of parts. At least one.
    tracker : Tracker
        It remembers the references.
    schedule : Schedule
    previous : LabelStream, optional
        Stream of other references, whose dropped parts and frame count this stream takes over.
    """

    def __init__(
        self,
        config: RunConfig,
        references: Mapping[int, Reference],
        tracker: Tracker,
        schedule: Schedule,
        previous: LabelStream | None = None,
    ) -> None:
        self._config, self._schedule = config, schedule
        self._references = references
        self._annotations = {index: reference.annotation for index, reference in references.items()}
        self._min_areas = smallest_areas(list(self._annotations.values()))
        self._soft: tuple[Array, SearchRegion, tuple[int, int]] | None = None
        self._span_start: dict[str, Array] | None = None
        self.tracker = tracker
        self.drops: Drops = previous.drops if previous else Drops()
        self.next_index: int = previous.next_index if previous else 0
        tracker.watch(self._min_areas, self._rows_dropped)

    @property
    def parts(self) -> Parts:
        """Parts of all references."""
        return next(iter(self._annotations.values())).parts

    @property
    def soft(self) -> Array:
        """Soft labels of the latest frame, (P, h, w) float32 at its size."""
        if self._soft is None:
            raise InputError("there are no soft labels yet: add_reference or step comes first")
        labels, region, size = self._soft
        return full_frame(size).paste(labels, region)

    def start(self, index: int) -> FrameResult:
        """Continue from the reference on frame `index`. Return its annotation as labels."""
        if index not in self._references:
            raise InputError(f"there is no reference on frame {index}; add_reference comes first")
        reference = self._references[index]
        soft = one_hot(reference.annotation, len(self.parts))
        self._span_start, self.next_index = None, index + 1
        self.tracker.start(reference.frame, soft)
        return self._result(reference.frame, soft, full_frame(reference.frame.size))

    @torch.no_grad()
    def step(self, frame: Frame) -> FrameResult:
        """Label the next frame."""
        self._check_size(frame)
        return self._label(KeyframeStep(self.tracker.features(frame, self.tracker.ordinal)))

    def follow(self, frames: Iterable[Frame]) -> Iterator[FrameResult]:
        """Label the next frames, each prepared while the frame before it is labelled."""
        return map(self._label, self.tracker.steps(map(self._check_size, frames), 1))

    def _label(self, step: KeyframeStep) -> FrameResult:
        labels = self.tracker.track(step)
        self.tracker.last = labels, step.features.region
        return self._displayed(step.features, labels)

    def run_pass(self, clip: Clip, pass_: Pass, done: int) -> Iterator[FrameResult]:
        """Label the frames of a pass.

        Parameters
        ----------
        clip : Clip
        pass_ : Pass
        done : int
            Frames to leave out, which a restored snapshot has covered.

        Yields
        ------
        FrameResult
        """
        on_reference, interval = pass_.starts_on_reference, self._schedule.keyframe_interval
        if not done:
            first = self.start(pass_.reference)
            if on_reference:
                yield first
                done = 1
        position = pass_.last_complete_span(done, self._schedule.frames_per_span)
        self.tracker.ordinal = (position - on_reference) // interval + 1
        before = self._references[pass_.reference].frame
        if position != on_reference:
            before = next(read_range(clip, pass_.frames[position - 1 : position]))
        frames = map(self._check_size, read_range(clip, pass_.frames[position:]))
        steps = self.tracker.steps(frames, interval, FrameFeatures(before, self._config, None))
        yield from islice(self._spans(steps), done - position, None)

    def _spans(self, steps: Iterator[KeyframeStep]) -> Iterator[FrameResult]:
        """Label spans, each as a whole. A span left unfinished is begun anew."""
        try:
            self._span_start = self.snapshot()
            for features, labels, complete in self._schedule.label(steps, self.tracker):
                if complete:
                    self._span_start = None
                yield self._displayed(features, labels)
                if complete:
                    self._span_start = self.snapshot()
        finally:
            if self._span_start is not None:
                self.restore(self._span_start)

    def drop(self, value: int, frame: int | None) -> None:
        """Leave a part out of the results from a frame on, by default the next."""
        self.drops.add(value, self.next_index if frame is None else frame, self.parts.values)
        if self._span_start is not None:
            self._span_start = {**self._span_start, "drops": self.drops.to_array()}

    def snapshot(self) -> dict[str, Array]:
        """Return the state as named arrays. Within a span, the state at its first frame."""
        if self._span_start is not None:
            return self._span_start
        return {"next": np.array(self.next_index), "drops": self.drops.to_array()} | self.tracker.snapshot()

    def restore(self, state: Mapping[str, Array]) -> None:
        """Continue from a :meth:`snapshot`."""
        self._span_start, self.next_index, self.drops = None, int(state["next"]), Drops(state["drops"])
        self.tracker.restore(state)

    def _check_size(self, frame: Frame) -> Frame:
        check_size(frame, next(iter(self._references.values())).frame)
        return frame

    def _displayed(self, features: FrameFeatures, labels: Array) -> FrameResult:
        """Return the labels of a search region as the result of a frame, at full size."""
        self.next_index = features.frame.index + 1
        return self._result(
            features.frame, *upsample_to_frame(labels, features, filtered=self.tracker.traits.guided_filter)
        )

    def _result(self, frame: Frame, soft: Array, region: SearchRegion) -> FrameResult:
        soft = merged_into_background(soft, self._rows_dropped(frame.index))
        self._soft = soft, region, frame.size
        threshold = self._config.fusion.presence_threshold
        return decide_labels(frame, soft, self.parts, self._min_areas, threshold, region.box)

    def _rows_dropped(self, index: int) -> list[int]:
        return self.drops.rows(index, self.parts.values, self._annotations)
