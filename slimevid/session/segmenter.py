"""``Segmenter``, the streaming API: references, then frame after frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from slimecore.annotations import with_shared_parts
from slimecore.array_types import Array
from slimecore.backbones import Backbone
from slimecore.errors import InputError
from slimecore.runtime.progress import Progress
from slimecore.types import Annotation, Frame, PartEmbeddings, Parts
from slimevid.config import RunConfig, as_config
from slimevid.frame.labels import FrameResult
from slimevid.io import Clip, open_clip
from slimevid.propagators import load_propagator
from slimevid.references.reference import Reference, annotation_from_mask, check
from slimevid.refinement.network import NetworkRefiner, RefinementNet, Refiner, refine
from slimevid.session.learning import learn_from_references
from slimevid.session.passes import Pass, plan
from slimevid.session.schedule import Schedule
from slimevid.session.setup import backbone_for, build_tracker
from slimevid.session.stream import LabelStream

__all__ = ["Segmenter"]


class Segmenter:
    """Segment a clip from annotated frames.

    Parameters
    ----------
    config : RunConfig, str or Path, optional
        Settings, the name of a preset, or a YAML file.
    backbone : Backbone, optional
        Loaded from the configuration if needed and not given.
    embeddings : PartEmbeddings, optional
        Parts learned earlier. Learned from the references by default.
    refiner : Refiner, optional
        Refinement network, the shipped one by default.

    Examples
    --------
    >>> segmenter = Segmenter("fast")  # doctest: +SKIP
    >>> segmenter.add_reference(image, mask)  # doctest: +SKIP
    >>> masks = [segmenter.step(image).labels for image in images]  # doctest: +SKIP
    """

    def __init__(
        self,
        config: RunConfig | str | Path | None = None,
        backbone: Backbone | None = None,
        embeddings: PartEmbeddings | None = None,
        refiner: Refiner = refine,
    ) -> None:
        self.config = as_config(config)
        self.backbone = backbone_for(self.config, backbone)
        self.embeddings, self._given_embeddings = embeddings, embeddings
        self.adapted: RefinementNet | None = None
        self._refiner = refiner
        self._traits, _ = load_propagator(self.config.propagator)
        self._schedule = Schedule.of(self.config, self._traits)
        self._references: dict[int, Reference] = {}
        self._stream: LabelStream | None = None

    @property
    def span(self) -> int:
        """Frames whose labels become final together."""
        return self._schedule.frames_per_span

    @property
    def memory_bytes(self) -> int:
        """Bytes of everything remembered between frames."""
        return 0 if self._stream is None else self._stream.tracker.nbytes

    @property
    def parts(self) -> Parts:
        """Parts of all references. InputError before the first."""
        return self._ready("the parts are not known yet").parts

    @property
    def references(self) -> tuple[int, ...]:
        """Frames of the references, increasing."""
        return tuple(sorted(self._references))

    @property
    def soft(self) -> Array:
        """Soft labels of the latest frame, (P, h, w) float32 at its size. InputError before any."""
        if self._stream is None:
            raise InputError("there are no soft labels yet: add_reference or step comes first")
        return self._stream.soft

    def add_reference(
        self,
        frame: Frame | Array,
        mask: Annotation | Array,
        names: Mapping[int, str] | None = None,
        progress: Progress | None = None,
    ) -> FrameResult:
        """Learn the parts of an annotated frame, remember the frame for good, and continue from it.

        Parameters
        ----------
        frame : Frame or (h, w, 3) uint8
            An image alone counts as the frame after the last one. A frame that was a reference before is corrected.
        mask : Annotation or (h, w) int
            Part values, 0 background, negative ignored. It may hold parts that no earlier reference has. Beside other
            references it may be empty.
        names : mapping of int to str, optional
            Names of part values, if `mask` is an array. Parts of earlier references keep theirs.
        progress : callable(step, steps, loss), optional
            Called after every step of learning.

        Returns
        -------
        FrameResult
            The annotation itself, as labels. Ignored pixels count as background.

        Raises
        ------
        InputError
            A value has another name than in an earlier reference, no pixel holds a part, or the shapes differ.
        """
        given, parts = self._as_frame(frame), None if self._stream is None else self._stream.parts
        annotation = mask if isinstance(mask, Annotation) else annotation_from_mask(given, mask, names, parts)
        others = [reference for index, reference in self._references.items() if index != given.index]
        self.set_references([*others, Reference(given, annotation)], progress)
        return self.start(given.index)

    def set_references(
        self,
        references: Sequence[Reference],
        progress: Progress | None = None,
        learned: PartEmbeddings | None = None,
        adapted: RefinementNet | None = None,
    ) -> None:
        """Replace all references: learn the parts from them, and remember every reference for good.

        Parameters
        ----------
        references : sequence of Reference
        progress : callable(step, steps, loss), optional
        learned : PartEmbeddings, optional
            Learned from these references before. Embeddings given at construction take precedence.
        adapted : RefinementNet, optional
            Refinement network adapted to these references before.

        Raises
        ------
        InputError
            They are of several sizes, or none marks a part.
        """
        check(references)
        _, annotations = with_shared_parts([r.annotation for r in references])
        known = self._given_embeddings or learned, adapted
        make_session = partial(Segmenter, replace(self.config, adaptation_clips=0), self.backbone)
        self.embeddings, self.adapted = learn_from_references(
            annotations, known, self.config, self._traits, self.backbone, self._refiner, make_session, progress
        )
        self._references = {r.frame.index: Reference(r.frame, a) for r, a in zip(references, annotations, strict=True)}
        refiner = self._refiner if self.adapted is None else NetworkRefiner(self.adapted, self.config.model.dtype)
        tracker = build_tracker(self._references.values(), self.config, self.backbone, self.embeddings, refiner)
        self._stream = LabelStream(self.config, self._references, tracker, self._schedule, self._stream)

    def start(self, index: int) -> FrameResult:
        """Forget everything but the references, continue from the reference on frame `index`, and return its labels.

        Without a reference on that frame, raise InputError.
        """
        if self._stream is None:
            raise InputError(f"there is no reference on frame {index}; add_reference comes first")
        return self._stream.start(index)

    def step(self, frame: Frame | Array) -> FrameResult:
        """Label the next frame. An image (h, w, 3) uint8 alone counts as the frame after the last one.

        Without a reference, or if the frame's size differs from the references', raise InputError.
        """
        return self._ready().step(self._as_frame(frame))

    def follow(self, frames: Iterable[Frame]) -> Iterator[FrameResult]:
        """Label the next frames as :meth:`step` does, each prepared while the frame before it is labelled."""
        return self._ready().follow(frames)

    def propagate(
        self, clip: Clip | str | Path, start: int = 0, stop: int | None = None, stride: int = 1
    ) -> Iterator[FrameResult]:
        """Label the frames of a clip from all references: forward and backward from each, half way to the next.

        Parameters
        ----------
        clip : Clip, str or Path
            Video file or folder of frames. References carry its frame numbers.
        start, stop, stride : int
            Frames ``range(start, stop, stride)``, to the end by default.

        Yields
        ------
        FrameResult
            Every frame once, in order if the only reference is the first frame, else pass by pass. If left early, the
            session continues at the end of the last complete span, as :meth:`snapshot` does.
        """
        stream = self._ready(where="before propagate")
        opened = open_clip(Path(clip)) if isinstance(clip, str | Path) else clip
        for interval in plan(self.references, range(len(opened))[slice(start, stop, stride)]):
            for pass_ in interval.passes:
                yield from stream.run_pass(opened, pass_, 0)

    def run_pass(self, clip: Clip, pass_: Pass, done: int = 0) -> Iterator[FrameResult]:
        """See :meth:`LabelStream.run_pass`. Without references, raise InputError."""
        return self._ready().run_pass(clip, pass_, done)

    def drop(self, value: int, frame: int | None = None) -> None:
        """Leave a part out of the results from a frame on (the next by default), until a later reference marks it.

        The part goes on competing for its pixels, so that no other part flows into them. They become background.
        If no part has that `value`, raise InputError.
        """
        self._ready("the parts are not known yet").drop(value, frame)

    def snapshot(self) -> dict[str, Array]:
        """Return everything that later steps depend on beside references and embeddings, as named arrays.

        Within a span this is the state at its first frame, since an unfinished span is begun anew.
        """
        return {} if self._stream is None else self._stream.snapshot()

    def restore(self, state: Mapping[str, Array]) -> None:
        """Continue from a :meth:`snapshot` of a session with equal settings, references and embeddings."""
        self._ready().restore(state)

    def _ready(self, why: str = "there is nothing to segment yet", where: str = "first") -> LabelStream:
        if self._stream is None:
            raise InputError(f"add_reference must come {where}: {why}")
        return self._stream

    def _as_frame(self, frame: Frame | Array) -> Frame:
        if isinstance(frame, Frame):
            return frame
        number = 0 if self._stream is None else self._stream.next_index
        return Frame(number, np.array(frame), f"{number:05d}")  # a copy: cameras reuse their buffers
