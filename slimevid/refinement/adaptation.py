"""Adapt the completing network to a clip, on lucid dreams of its references.

A dream is segmented from its first frame as the clip will be; where that errs is known, and the network learns it for
the very things and surroundings it will see. What it knew before is the beginning, and a few small steps leave most of
it alone. Record 32 says what it is worth; after Khoreva et al., "Lucid Data Dreaming for Video Object Segmentation",
IJCV 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Protocol

import numpy as np
import torch
from torch import nn

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box
from slimecore.runtime.progress import Progress
from slimecore.types import Annotation, Frame
from slimevid.frame.features import FrameFeatures
from slimevid.refinement.lucid_dreaming import dream_clip
from slimevid.refinement.network import RefinementNet, Refiner, load_completion
from slimevid.refinement.samples import RefinementSample, batch_of, loss, make_sample, random_crop

__all__ = ["ProgressCounter", "Session", "adapt"]

_FRAMES = 10  # of a dream
_KEPT_EVERY = 2
_STEPS = 20  # for every dream
_BATCH, _SIDE = 4, 128  # pieces a step looks at, and their side in pixels of the working size
_RATE = 1e-4


class Session(Protocol):
    """What segments a dream: :class:`slimevid.Segmenter`."""

    def add_reference(self, frame: Frame, mask: Annotation) -> object:
        """Take the first frame and its labels."""
        ...

    def follow(self, frames: Iterable[Frame]) -> Iterable[object]:
        """Label the next frames."""
        ...


class _RecordingRefiner:
    """A network, and what it was shown beside the truth."""

    def __init__(self, network: Refiner, masks: Array) -> None:
        self._network, self._masks = network, masks
        self.records: list[RefinementSample] = []

    def __call__(self, state: FrameFeatures, box: Box, planes: Array) -> Array:
        if state.frame.index % _KEPT_EVERY:
            self.records.append(make_sample(state, box, planes, self._masks[state.frame.index]))
        return self._network(state, box, planes)


class ProgressCounter:
    """Steps of learning parts and of dreaming, told as one count.

    Parameters
    ----------
    progress : callable(step, steps, loss), optional
    dreams : int
        That will be dreamt; 0 for none.
    """

    def __init__(self, progress: Progress | None, dreams: int) -> None:
        self._progress, self._further = progress, dreams * (1 + _STEPS)
        self._learned = self._dreamt = 0

    def learned(self, step: int, steps: int, loss: float) -> None:
        """Step of `steps`, of learning parts."""
        self._learned = steps
        self._tell(step, loss)

    def dreamt(self, loss: float) -> None:
        """One more step of dreaming."""
        self._dreamt += 1
        self._tell(self._learned + self._dreamt, loss)

    def _tell(self, step: int, loss: float) -> None:
        if self._progress is not None:
            self._progress(step, self._learned + self._further, loss)


def adapt(
    annotations: Sequence[Annotation],
    dreams: int,
    session: Callable[[Refiner], Session],
    network: Refiner,
    seed: int,
    told: Callable[[float], None],
) -> RefinementNet:
    """Fit the shipped network to what is annotated.

    Parameters
    ----------
    annotations : sequence of Annotation
        With parts on them; they are dreamt of by turns.
    dreams : int
    session : callable(Complete)
        Makes a session that asks the given network.
    network : Complete
        What is asked while dreaming.
    seed : int
        Of dreams and steps.
    told : callable(loss)
        After every dream and every step.

    Returns
    -------
    CompletionNet
        In single precision, for inference.
    """
    rng = np.random.default_rng((seed, 32))
    records: list[RefinementSample] = []
    for number in range(dreams):
        one = dream_clip(annotations[number % len(annotations)], _FRAMES, rng)
        watching = _RecordingRefiner(network, one.rows > 0)
        segmenter = session(watching)
        frames = [Frame(i, rgb, str(i)) for i, rgb in enumerate(one.rgb)]
        segmenter.add_reference(frames[0], Annotation(frames[0].rgb, one.rows[0], one.parts))
        for _ in segmenter.follow(frames[1:]):
            pass
        records += watching.records
        told(math.nan)
    return _fitted(records, dreams * _STEPS, rng, told)


def _fitted(
    records: Sequence[RefinementSample], steps: int, rng: np.random.Generator, told: Callable[[float], None]
) -> RefinementNet:
    net = deepcopy(load_completion()).requires_grad_()
    optimiser = torch.optim.Adam(net.parameters(), _RATE)
    for step in range(steps if records else 0):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * max(0.05, 1 - step / steps)
        pieces = [random_crop(rng, records[int(rng.integers(len(records)))], _SIDE) for _ in range(_BATCH)]
        planes, rgb, truth = batch_of(pieces)
        with torch.enable_grad():
            value = loss(net(planes, rgb), planes, truth)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        told(value.item())
    return net.eval().requires_grad_(requires_grad=False)
