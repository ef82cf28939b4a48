"""Test-time adaptation: fine-tune the refinement network on lucid dreams of the clip's references.

A lucid dream is a synthetic clip with known masks, made from an annotated frame (Khoreva et al., "Lucid Data Dreaming
for Video Object Segmentation", IJCV 2019). It is segmented from its first frame, with the settings of the real clip.
The network then learns to correct the errors. It starts from the shipped weights and takes few small steps. See
docs/adr/0032.
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

_CLIP_FRAMES = 10
_SAMPLE_INTERVAL_FRAMES = 2  # frames whose number is a multiple of it are left out
_STEPS_PER_CLIP = 20
_CROPS_PER_BATCH, _CROP_PIXELS = 4, 128  # side of the crops, at the size of soft masks
_LEARNING_RATE = 1e-4


class Session(Protocol):
    """Interface of :class:`slimevid.Segmenter` as far as synthetic clips need it."""

    def add_reference(self, frame: Frame, mask: Annotation) -> object:
        """Set the first frame and its labels as the reference."""
        ...

    def follow(self, frames: Iterable[Frame]) -> Iterable[object]:
        """Segment the following frames."""
        ...


class _RecordingRefiner:
    """A refiner that keeps its inputs, with the true masks, as training samples."""

    def __init__(self, network: Refiner, masks: Array) -> None:
        self._network, self._masks = network, masks
        self.samples: list[RefinementSample] = []

    def __call__(self, features: FrameFeatures, box: Box, planes: Array) -> Array:
        if features.frame.index % _SAMPLE_INTERVAL_FRAMES:
            self.samples.append(make_sample(features, box, planes, self._masks[features.frame.index]))
        return self._network(features, box, planes)


class ProgressCounter:
    """Report the steps of part learning and of adaptation as a single count.

    Parameters
    ----------
    progress : callable(step, steps, loss), optional
    clips : int
        Number of synthetic clips. 0 without adaptation.
    """

    def __init__(self, progress: Progress | None, clips: int) -> None:
        self._progress, self._adaptation_steps = progress, clips * (1 + _STEPS_PER_CLIP)
        self._learned = self._dreamt = 0

    def learned(self, step: int, steps: int, loss: float) -> None:
        """Report a step of part learning.

        Parameters
        ----------
        step, steps : int
            Number of the step, and of all steps of part learning.
        loss : float
        """
        self._learned = steps
        self._report(step, loss)

    def dreamt(self, loss: float) -> None:
        """Report another step of adaptation: a clip segmented, or a step of the optimiser."""
        self._dreamt += 1
        self._report(self._learned + self._dreamt, loss)

    def _report(self, step: int, loss: float) -> None:
        if self._progress is not None:
            self._progress(step, self._learned + self._adaptation_steps, loss)


def adapt(
    annotations: Sequence[Annotation],
    clips: int,
    session: Callable[[Refiner], Session],
    network: Refiner,
    seed: int,
    on_step: Callable[[float], None],
) -> RefinementNet:
    """Fine-tune the shipped network on synthetic clips of the annotated frames.

    Parameters
    ----------
    annotations : sequence of Annotation
        Each marks at least a single part. Clips are made from them in turn.
    clips : int
        Number of synthetic clips.
    session : callable(Refiner) -> Session
        Makes a session that segments with the given network.
    network : Refiner
        Network that segments the synthetic clips.
    seed : int
        Seed of the clips and of the optimiser's batches.
    on_step : callable(loss)
        Called after every clip (loss NaN) and after every step of the optimiser.

    Returns
    -------
    RefinementNet
        In single precision, for inference.
    """
    rng = np.random.default_rng((seed, 32))
    samples: list[RefinementSample] = []
    for number in range(clips):
        clip = dream_clip(annotations[number % len(annotations)], _CLIP_FRAMES, rng)
        recorder = _RecordingRefiner(network, clip.rows > 0)
        segmenter = session(recorder)
        frames = [Frame(i, rgb, str(i)) for i, rgb in enumerate(clip.rgb)]
        segmenter.add_reference(frames[0], Annotation(frames[0].rgb, clip.rows[0], clip.parts))
        for _ in segmenter.follow(frames[1:]):
            pass
        samples += recorder.samples
        on_step(math.nan)
    return _fine_tune(samples, clips * _STEPS_PER_CLIP, rng, on_step)


def _fine_tune(
    samples: Sequence[RefinementSample], steps: int, rng: np.random.Generator, on_step: Callable[[float], None]
) -> RefinementNet:
    net = deepcopy(load_completion()).requires_grad_()
    optimiser = torch.optim.Adam(net.parameters(), _LEARNING_RATE)
    for step in range(steps if samples else 0):
        for group in optimiser.param_groups:
            group["lr"] = _LEARNING_RATE * max(0.05, 1 - step / steps)
        crops = [
            random_crop(rng, samples[int(rng.integers(len(samples)))], _CROP_PIXELS) for _ in range(_CROPS_PER_BATCH)
        ]
        planes, rgb, truth = batch_of(crops)
        with torch.enable_grad():
            value = loss(net(planes, rgb), planes, truth)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        on_step(value.item())
    return net.eval().requires_grad_(requires_grad=False)
