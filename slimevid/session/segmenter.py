"""The streaming interface: references, then frame after frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import torch

from slimecore.annotations import with_shared_parts
from slimecore.array_types import Array
from slimecore.backbones import Backbone, load_model
from slimecore.errors import InputError
from slimecore.imaging.boxes import Spans
from slimecore.imaging.resize import resize_soft
from slimecore.runtime import plugins
from slimecore.runtime.progress import Progress
from slimecore.types import Annotation, Frame, PartEmbeddings, Parts
from slimevid.config import RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.frame.labels import FrameResult, coarse_labels, decide_labels
from slimevid.frame.region_planner import RegionPlanner
from slimevid.frame.search_region import SearchRegion, full_frame, part_extent
from slimevid.frame.upsampling import upsample_to_frame
from slimevid.fusion.motion_gate import display_labels
from slimevid.io import Clip, read_range
from slimevid.propagators import Propagator
from slimevid.references.reference import Reference, annotation_from_mask, check, check_size, one_hot, smallest_areas
from slimevid.refinement.network import NetworkRefiner, RefinementNet, Refiner, refine
from slimevid.session.bidirectional import forward_and_back, reversed_states
from slimevid.session.dropped_parts import Drops, merged_into_background
from slimevid.session.keyframes import group_by_keyframe, interpolate_skipped
from slimevid.session.learning import Teacher
from slimevid.session.passes import Pass, plan
from slimevid.session.prefetch import prefetch
from slimevid.session.propagator import build_propagator

__all__ = ["FrameResult", "Reference", "Segmenter"]


class Segmenter:
    """Segment a clip from annotated frames.

    Parameters
    ----------
    config : RunConfig, optional
    backbone : Backbone, optional
        Loaded from the configuration when needed and not given.
    embeddings : PartEmbeddings, optional
        Parts learned earlier; learned from the references when not given.
    completion : callable, optional
        What adds to the evidence what it missed, the shipped network by default.

    Examples
    --------
    >>> session = Segmenter()  # doctest: +SKIP
    >>> session.add_reference(picture, mask)  # doctest: +SKIP
    >>> masks = [session.step(picture).labels for picture in pictures]  # doctest: +SKIP
    """

    def __init__(
        self,
        config: RunConfig | None = None,
        backbone: Backbone | None = None,
        embeddings: PartEmbeddings | None = None,
        completion: Refiner = refine,
    ) -> None:
        self._complete = self._unadapted = completion
        self.config = config or RunConfig()
        self._module = plugins.load("slimevid.propagators", self.config.propagator)
        flows = plugins.load("slimevid.motion.flows", self.config.flow)
        self._flow, self._flow_ahead = flows.build(), flows.build()  # one a thread: they keep working memory
        if self._module.NEEDS_MODEL and backbone is None:
            backbone = load_model(self.config.model, self.config.device, self.config.seed)
        self.backbone = backbone if self._module.NEEDS_MODEL else None
        self.embeddings = embeddings
        self.adapted: RefinementNet | None = None
        self._given = embeddings is not None
        self._references: dict[int, Reference] = {}
        self._drops, self._smallest = Drops(), np.zeros(0, np.int64)
        self._parts: Parts | None = None
        self._propagator: Propagator | None = None
        self._base: Mapping[str, Array] = {}
        self._soft: Array = np.zeros((0, 0, 0), np.float32)
        self._window, self._size = full_frame((0, 0)), (0, 0)
        self._next, self._ordinal = 0, 1
        self._span_begin: dict[str, Array] | None = None
        self._every = self.config.keyframe_interval if self._module.KEYED else 1
        self._turn = self.config.bidirectional_span and max(
            1, self.config.bidirectional_span // self._every
        )  # key frames
        self.span = self._every * (self._turn or 1)  # frames propagate labels as a whole, final once all were read
        self._plan = RegionPlanner(self.config.max_zoom if self._module.WINDOWED else 1.0, self._every)
        self._last = self._soft, self._window  # labels of the last key frame, as shown

    @property
    def memory_bytes(self) -> int:
        """Bytes of everything remembered between frames."""
        last = self._last[0].nbytes if self._every > 1 else 0
        return last + (0 if self._propagator is None else self._propagator.nbytes)

    @property
    def parts(self) -> Parts:
        """Parts of all references.

        Raises
        ------
        InputError
            No reference yet.
        """
        if self._parts is None:
            raise InputError("add_reference must come first: the parts are not known yet")
        return self._parts

    @property
    def references(self) -> tuple[int, ...]:
        """Frames of the references, increasing."""
        return tuple(sorted(self._references))

    @property
    def soft(self) -> Array:
        """Soft labels of the latest frame, (P, h, w) float32 at its size, summing to 1; before any, InputError."""
        if not len(self._soft):
            raise InputError("there are no soft labels yet: add_reference or step comes first")
        return full_frame(self._size).paste(self._soft, self._window)

    def add_reference(
        self,
        frame: Frame | Array,
        mask: Annotation | Array,
        names: Mapping[int, str] | None = None,
        progress: Progress | None = None,
    ) -> FrameResult:
        """Learn the parts of an annotated frame, remember it for good, and go on from it.

        Parameters
        ----------
        frame : Frame or (h, w, 3) uint8
            A picture alone counts as the frame after the last one. A frame that was a reference before is corrected.
        mask : Annotation or (h, w) int
            Of that frame: part values, 0 background, negative ignored. It may hold parts no earlier reference has, or,
            beside others, none at all.
        names : mapping of int to str, optional
            Names of part values, where `mask` is an array; parts of earlier references have one.
        progress : callable(step, steps, loss), optional
            Told after every step of learning.

        Returns
        -------
        FrameResult
            The annotation itself, as labels; ignored pixels count as background.

        Raises
        ------
        InputError
            A value has another name than in an earlier reference, no pixel holds a part, or the shapes differ.
        """
        taken = self._as_frame(frame)
        annotation = mask if isinstance(mask, Annotation) else annotation_from_mask(taken, mask, names, self._parts)
        others = [r for i, r in self._references.items() if i != taken.index]
        self.set_references([*others, Reference(taken, annotation)], progress)
        return self.start(taken.index)

    def set_references(
        self,
        references: Sequence[Reference],
        progress: Progress | None = None,
        learned: PartEmbeddings | None = None,
        adapted: RefinementNet | None = None,
    ) -> None:
        """Take these references instead of all earlier ones: learn the parts, and remember every frame for good.

        Parts are learned from all of them, unless embeddings were given at the start, the propagator needs none, or
        `learned` says what was learned from these very references before; so is the completing network adapted, unless
        `adapted` is what came of it.

        Raises
        ------
        InputError
            They are of several sizes, or none marks a part.
        """
        check(references)
        parts, shared = with_shared_parts([r.annotation for r in references])
        known = self.embeddings if self._given else learned
        teacher = Teacher(self._module, self.config, self.backbone, self._plan, self._dreamer, self._unadapted)
        self.embeddings, self.adapted = teacher.taught(shared, known, adapted, progress)
        self._references = {r.frame.index: Reference(r.frame, a) for r, a in zip(references, shared, strict=True)}
        self._parts, network = parts, self.adapted
        self._complete = self._unadapted if network is None else NetworkRefiner(network, self.config.model.dtype)
        how = (self._module, self.config, self.backbone, self.embeddings, self._flow, self._complete, self._plan)
        self._propagator = build_propagator(self._references.values(), *how)
        self._base = self._propagator.snapshot()
        self._smallest = smallest_areas([r.annotation for r in self._references.values()])

    def _dreamer(self, embeddings: PartEmbeddings | None, network: Refiner) -> Segmenter:
        """Segment as this session does, but for what a dream needs not."""
        return Segmenter(replace(self.config, adaptation_clips=0), self.backbone, embeddings, network)

    def start(self, index: int) -> FrameResult:
        """Forget all but the references, and go on from the one on frame `index`, in either direction.

        Returns
        -------
        FrameResult
            Its annotation, as labels.

        Raises
        ------
        InputError
            There is no reference on that frame.
        """
        if self._propagator is None or index not in self._references:
            raise InputError(f"there is no reference on frame {index}; add_reference comes first")
        reference = self._references[index]
        soft = one_hot(reference.annotation, len(self.parts))
        self._propagator.restore(self._base)
        self._span_begin, self._ordinal, self._next = None, 1, index + 1
        window = self._plan.start(soft[0] < 0.5)
        state = FrameFeatures(reference.frame, self.config, self.backbone, window=window)
        self._propagator.start(state, soft)
        self._last = resize_soft(np.ascontiguousarray(soft[(slice(None), *window.box)]), state.work_size), window
        return self._result(reference.frame, soft, full_frame(reference.frame.size))

    @torch.no_grad()
    def step(self, frame: Frame | Array) -> FrameResult:
        """Label the next frame; a picture alone (h, w, 3) uint8 counts as the one after the last.

        Raises
        ------
        InputError
            No reference yet, or the frame is of another size than the references.
        """
        _ = self._ready
        return self._label(self._state(self._as_frame(frame), self._ordinal))

    @property
    def _ready(self) -> Propagator:
        if self._propagator is None:
            raise InputError("add_reference must come first: there is nothing to segment yet")
        return self._propagator

    def _state(self, frame: Frame, ordinal: int) -> FrameFeatures:
        check_size(frame, next(iter(self._references.values())).frame)
        return FrameFeatures(frame, self.config, self.backbone, ordinal, self._plan.at(ordinal))

    def _label(self, state: FrameFeatures) -> FrameResult:
        self._last = self.track(state), state.window
        return self._shown(state, self._last[0])

    @torch.no_grad()
    def track(self, state: FrameFeatures) -> Array:
        """Label the next frame and carry it on; decides the window of the frame after the next."""
        self._ordinal = state.ordinal + 1
        soft = self._ready.step(state)
        spans, complete = self._found(soft, state) if self._plan.follows else (None, True)
        self._plan.observe(state.ordinal, spans, state.frame.size, complete=complete)
        return display_labels(soft, state)

    @torch.no_grad()
    def retrace(self, states: Sequence[FrameFeatures]) -> Iterator[Array]:
        """Label frames again, from the last, which was labelled just now, back to the first; then be there again."""
        here = self._ready.snapshot()
        for state in reversed_states(states, self._flow_ahead):
            yield display_labels(self._ready.step(state), state)
        self._ready.restore(here)

    def _shown(self, state: FrameFeatures, soft: Array) -> FrameResult:
        """Labels of a window as a result: at full size, along edges."""
        self._next = state.frame.index + 1  # those farther on may be labelled, but nobody has seen them
        return self._result(state.frame, *upsample_to_frame(soft, state, refined=self._module.REFINE))

    def _found(self, soft: Array, state: FrameFeatures) -> tuple[Spans | None, bool]:
        """Rows and columns of the parts in what is carried on, not in what is shown; whether all are there."""
        dropped, smallest = self._rows_dropped(state.frame.index), self._smallest / (state.size[0] * state.size[1])
        labels, there = coarse_labels(soft, smallest, self.config.fusion.presence_threshold, dropped)
        return part_extent(labels, state.window), there

    @torch.no_grad()
    def _prepare(self, state: FrameFeatures, before: FrameFeatures | None) -> None:
        if self._module.AHEAD is not None:
            self._module.AHEAD(state, before, self._flow_ahead)

    def propagate(self, clip: Clip, start: int = 0, stop: int | None = None, stride: int = 1) -> Iterator[FrameResult]:
        """Label the frames of a clip from all references: forward and backward from each, half way to the next.

        Parameters
        ----------
        clip : Clip
            Of :func:`slimevid.open_clip`; references carry its frames' numbers.
        start, stop, stride : int
            Frames ``range(start, stop, stride)``; to the end by default.

        Yields
        ------
        FrameResult
            Every frame once. In order if the one reference is the first frame, else pass by pass. Left before the end,
            the session is where the last whole span ended (``key_every``, ``bidirectional``), as :meth:`snapshot` is.
        """
        if not self._references:
            raise InputError("add_reference must come before propagate: there is nothing to segment yet")
        for gap in plan(self.references, range(len(clip))[slice(start, stop, stride)]):
            for one in gap.passes:
                yield from self.run_pass(clip, one)

    def run_pass(self, clip: Clip, one: Pass, done: int = 0) -> Iterator[FrameResult]:
        """Label the frames of a pass, but for the first `done`, after which :meth:`restore` brought this session."""
        if not done:
            first = self.start(one.reference)
            if one.starts_on_reference:  # a result that is the reference's
                yield first
                done = 1
        at = one.last_complete_span(done, self.span)
        self._ordinal, own = (at - one.starts_on_reference) // self._every + 1, self._references[one.reference].frame
        begin = own if at == one.starts_on_reference else next(read_range(clip, one.frames[at - 1 : at]))
        states = self._states(read_range(clip, one.frames[at:]), self._every, FrameFeatures(begin, self.config, None))
        yield from islice(self._spans(states), done - at, None)

    def follow(self, frames: Iterable[Frame]) -> Iterator[FrameResult]:
        """Label the next frames, as :meth:`step` does, each prepared while the one before it is being labelled."""
        return map(self._label, self._states(frames, 1))

    def _states(
        self, frames: Iterable[Frame], every: int, before: FrameFeatures | None = None
    ) -> Iterator[FrameFeatures]:
        return prefetch(group_by_keyframe(frames, every, self._ordinal, self._state), self._prepare, before)

    def _spans(self, states: Iterator[FrameFeatures]) -> Iterator[FrameResult]:
        """Label frames in spans, each as a whole: a key frame with those before it, or more of them in both ways."""
        try:
            self._span_begin = self.snapshot()
            forward = ((state, self.track(state), True) for state in states)
            labelled = forward_and_back(states, self._turn, self) if self._turn else forward
            for state, soft, last in interpolate_skipped(labelled, self._last):
                if last:
                    self._last, self._span_begin = (soft, state.window), None
                yield self._shown(state, soft)
                if last:
                    self._span_begin = self.snapshot()
        finally:  # a span that was broken off is begun anew
            if self._span_begin is not None:
                self.restore(self._span_begin)

    def drop(self, value: int, frame: int | None = None) -> None:
        """Leave a part out of the results from a frame on, until a later reference marks it again.

        It goes on competing for its pixels, so that no other part flows into them; they become background.

        Parameters
        ----------
        value : int
            Part value.
        frame : int, optional
            The next one by default.

        Raises
        ------
        InputError
            No such part.
        """
        self._drops.add(value, self._next if frame is None else frame, self.parts.values)
        if self._span_begin is not None:
            self._span_begin = {**self._span_begin, "drops": self._drops.to_array()}

    def snapshot(self) -> dict[str, Array]:
        """What later steps depend on beside references and embeddings, as named arrays.

        While a span is labelled in both directions, what its first frame depended on: it is begun anew.
        """
        if self._propagator is None:
            return {}
        if self._span_begin is not None:
            return self._span_begin
        own = {"ordinal": np.array(self._ordinal), "next": np.array(self._next), "drops": self._drops.to_array()}
        if self._every > 1:
            own |= {"last": self._last[0], "last_window": self._last[1].to_array()}
        return own | self._plan.snapshot(self._ordinal) | self._propagator.snapshot()

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over a :meth:`snapshot` of a session with the same settings, references and embeddings."""
        propagator = self._ready
        self._span_begin, self._ordinal, self._next = None, int(state["ordinal"]), int(state["next"])
        self._drops = Drops(state["drops"])
        if self._every > 1:
            self._last = state["last"], SearchRegion.from_array(state["last_window"])
        self._plan.restore(self._ordinal, state)
        propagator.restore(state)

    def _as_frame(self, frame: Frame | Array) -> Frame:
        if isinstance(frame, Frame):
            return frame  # an array is copied: cameras write each picture over the last
        return Frame(self._next, np.array(frame), f"{self._next:05d}")

    def _result(self, frame: Frame, soft: Array, window: SearchRegion) -> FrameResult:
        soft = merged_into_background(soft, self._rows_dropped(frame.index))
        self._soft, self._window, self._size = soft, window, frame.size
        return decide_labels(frame, soft, self.parts, self._smallest, self.config.fusion.presence_threshold, window.box)

    def _rows_dropped(self, index: int) -> list[int]:
        marked = {i: reference.annotation for i, reference in self._references.items()}
        return self._drops.rows(index, self.parts.values, marked)
