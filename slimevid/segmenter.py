"""The streaming interface: a reference, then frame after frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from slimecore import plugins
from slimecore.artifacts import require_parts
from slimecore.backbones import Backbone, load_model
from slimecore.errors import InputError
from slimecore.learn import Progress, learn_parts
from slimecore.refine import refine
from slimecore.segment import prepare
from slimecore.types import Annotation, Frame, PartEmbeddings, Parts
from slimevid.config import RunConfig
from slimevid.propagators import Context, Propagator
from slimevid.state import FrameState

__all__ = ["FrameResult", "Segmenter"]

_BLOCK = 256
_STRONGEST = 9  # pixels whose mean probability says whether a part is there


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """Labels of one frame.

    Parameters
    ----------
    frame : Frame
    labels : (h, w) uint8
        Part values of the mask, exclusive, at the clip's size.
    presence : (P - 1,) float32
        Evidence that each part is in the picture, 0..1: mean probability of its strongest pixels.
    confidence : (P - 1,) float32
        Mean probability of a part over the pixels it got; 0 where it got none.
    area : (P - 1,) int64
        Pixels it got.
    present : (P - 1,) bool
        False: the part is reported absent and owns no pixel.
    """

    frame: Frame
    labels: npt.NDArray[np.uint8]
    presence: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]
    area: npt.NDArray[np.int64]
    present: npt.NDArray[np.bool_]


class Segmenter:
    """Segment a clip from one annotated frame.

    Parameters
    ----------
    config : RunConfig, optional
    backbone : Backbone, optional
        Loaded from the configuration when needed and not given.
    embeddings : PartEmbeddings, optional
        Parts learned earlier; learned from the reference when not given.

    Examples
    --------
    >>> segmenter = Segmenter()  # doctest: +SKIP
    >>> segmenter.add_reference(first, annotation)  # doctest: +SKIP
    >>> masks = [segmenter.step(frame).labels for frame in frames]  # doctest: +SKIP
    """

    def __init__(
        self,
        config: RunConfig | None = None,
        backbone: Backbone | None = None,
        embeddings: PartEmbeddings | None = None,
    ) -> None:
        self.config = config or RunConfig()
        self._module = plugins.load("slimevid.propagators", self.config.propagator)
        self._flow = plugins.load("slimevid.flows", self.config.flow).build()
        if self._module.NEEDS_MODEL and backbone is None:
            backbone = load_model(self.config.model, self.config.device, self.config.seed)
        self.backbone = backbone if self._module.NEEDS_MODEL else None
        self.embeddings = embeddings
        self._given = embeddings is not None
        self._smallest = np.zeros(0, np.int64)
        self._parts: Parts | None = None
        self._propagator: Propagator | None = None

    @property
    def memory_bytes(self) -> int:
        """Bytes of everything remembered between frames."""
        return 0 if self._propagator is None else self._propagator.nbytes

    def add_reference(self, frame: Frame, annotation: Annotation, progress: Progress | None = None) -> FrameResult:
        """Learn the parts of the annotated frame and start from it.

        Parameters
        ----------
        frame : Frame
        annotation : Annotation
            Of that frame.
        progress : callable(step, steps, loss), optional
            Told after every step of learning.

        Returns
        -------
        FrameResult
            The annotation itself, as labels; ignored pixels count as background.
        """
        self.learn(annotation, progress)
        return self.restart(frame, annotation)

    def learn(self, annotation: Annotation, progress: Progress | None = None) -> None:
        """Learn the parts, unless embeddings were given at the start or the propagator needs none."""
        self._parts = annotation.parts
        if self.backbone is not None and not self._given:
            self.embeddings = learn_parts(
                self.backbone,
                [annotation],
                self.config.learn,
                short_side=self.config.short_side,
                seed=self.config.seed,
                progress=progress,
            )

    def restart(self, frame: Frame, annotation: Annotation) -> FrameResult:
        """Forget the clip, keep the learned parts, and start again from the reference."""
        parts = annotation.parts
        keys = None
        if self.backbone is not None and self.embeddings is not None:
            require_parts(self.embeddings, parts, "part embeddings")
            keys = prepare(self.backbone, self.embeddings)
        context = Context(self.config, len(parts), self._flow, keys)
        self._propagator = self._module.build(context)
        soft = np.stack([(annotation.rows == i) for i in range(len(parts))]).astype(np.float32)
        soft[0] += annotation.rows < 0
        self._propagator.start(FrameState(frame, self.config, self.backbone), soft)
        # A part smaller than the presence test's sample is judged by as many pixels as it had.
        self._smallest = np.clip(soft[1:].sum((1, 2)), 1, _STRONGEST).astype(np.int64)
        return self._result(frame, soft)

    @torch.no_grad()
    def step(self, frame: Frame) -> FrameResult:
        """Label the next frame.

        Raises
        ------
        InputError
            No reference yet.
        """
        if self._propagator is None:
            raise InputError("add_reference must come before step: there is nothing to segment yet")
        soft = self._propagator.step(FrameState(frame, self.config, self.backbone))
        radius = self.config.fusion.refine if self._module.REFINE else 0
        soft = refine(soft, frame.rgb, radius, self.config.fusion.refine_eps)
        return self._result(frame, soft)

    def _result(self, frame: Frame, soft: npt.NDArray[Any]) -> FrameResult:
        parts = self._parts
        if parts is None:
            raise InputError("add_reference must come first: the parts are not known yet")
        presence = _strongest_mean(soft[1:], self._smallest)
        present = presence >= self.config.fusion.present
        kept = soft if present.all() else np.where(np.r_[True, present][:, None, None], soft, -1.0)
        rows = kept.argmax(0)
        area = np.bincount(rows.ravel(), minlength=len(parts))
        best = np.take_along_axis(soft, rows[None], 0)[0]
        sums = np.bincount(rows.ravel(), weights=best.ravel(), minlength=len(parts))
        confidence = (sums / np.maximum(area, 1)).astype(np.float32)
        labels = np.asarray(parts.values, np.uint8)[rows]
        return FrameResult(frame, labels, presence, confidence[1:], area[1:], present & (area[1:] > 0))


def _strongest_mean(soft: npt.NDArray[Any], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Mean of the largest values of each plane, as many as `counts` says: one noisy pixel is no part."""
    flat = soft.reshape(soft.shape[0], -1)
    most = min(_STRONGEST, flat.shape[1])
    found = np.zeros(len(flat), np.float32)
    for row, (values, count) in enumerate(zip(flat, counts, strict=True)):
        # The largest values lie in the blocks with the largest maxima, as many of them: no need to sort the picture.
        starts = np.arange(0, len(values), _BLOCK)
        best = np.maximum.reduceat(values, starts)
        chosen = np.argpartition(best, -most)[-most:] if len(best) > most else np.arange(len(best))
        near = np.concatenate([values[starts[i] : starts[i] + _BLOCK] for i in chosen])
        found[row] = np.sort(near)[-min(int(count), most) :].mean()
    return found
