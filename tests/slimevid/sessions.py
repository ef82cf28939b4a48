"""Small sessions, clips and refinement networks for tests."""

from __future__ import annotations

import numpy as np

from slimecore.io.masks import MaskFile, make_parts
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.types import Annotation, Frame
from slimevid.config import FusionConfig, RunConfig
from slimevid.refinement.network import refine
from slimevid.session.segmenter import Segmenter


def quick_learning(steps):
    """Return settings that learn in a number of steps on a single view."""
    return LearnConfig(tokens=2, steps=steps, views=ViewConfig(count=1))


def clip_of(two_tone, count=5, step=6):
    """Return frames of the disc that slides by `step` columns a frame, and their masks."""
    rgb, mask = two_tone
    frames = [Frame(i, np.roll(rgb, step * i, 1), f"{i:05d}") for i in range(count)]
    return frames, [np.roll(mask, step * i, 1) for i in range(count)]


def annotate(frame, mask):
    """Return the annotation of a frame from a mask of part values."""
    parts = make_parts(MaskFile(mask.astype(np.int32), {}))
    return Annotation(frame.rgb, parts.index(mask), parts)


def session_of(clip, mask, tiny, at=0, **settings):
    """Return a session whose reference is frame `at` of a clip."""
    config = RunConfig(network_size=96, mask_size=96, learn=quick_learning(5), **settings)
    session, parts = Segmenter(config, tiny), make_parts(MaskFile(mask.astype(np.int32), {}))
    frame = next(clip.read(at, at + 1))
    session.add_reference(frame, Annotation(frame.rgb, parts.index(mask), parts))
    return session


def small_session(tiny, propagator="fused", **settings):
    """Return a session without a reference."""
    config = RunConfig(network_size=64, mask_size=48, learn=quick_learning(10), propagator=propagator, **settings)
    return Segmenter(config, tiny)


def refined_session(tiny, refiner=refine, **fusion):
    """Return a session of a refinement network in which every frame is a key frame."""
    config = RunConfig(
        network_size=64, mask_size=48, keyframe_interval=1, learn=quick_learning(10), fusion=FusionConfig(**fusion)
    )
    return Segmenter(config, tiny, refiner=refiner)


def unfiltered_session(tiny, refiner, **fusion):
    """Return a session whose soft labels are those of the propagator: no zoom, no filter, no spatial prior."""
    chosen = FusionConfig(**{"search_radius": 0.0, "guided_filter_radius": 0, **fusion})
    return Segmenter(
        RunConfig(network_size=64, mask_size=48, max_zoom=1.0, learn=quick_learning(10), fusion=chosen),
        tiny,
        refiner=refiner,
    )


class RecordingRefiner:
    """A refinement network that adds a number everywhere, and records its input."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.seen: list[tuple[object, object, np.ndarray]] = []

    def __call__(self, features, box, planes):
        self.seen.append((features, box, planes))
        return np.full(planes.shape[1:], self.value, np.float32)


class ConstantRefiner:
    """A refinement network that adds a number everywhere, and counts its calls."""

    def __init__(self, value: float) -> None:
        self.value, self.calls = value, 0

    def __call__(self, _features, _box, planes):
        self.calls += 1
        return np.full(planes.shape[1:], self.value, np.float32)


class ImageClip:
    """A clip of images in memory."""

    fps, name, notes = 24, "pictures", ()

    def __init__(self, pictures):
        self._pictures = pictures

    def __len__(self):
        return len(self._pictures)

    def read(self, start, stop, step=1):
        return (Frame(i, self._pictures[i], str(i)) for i in range(start, stop, step))

    def read_reversed(self, start, stop, step=1):
        return reversed(list(self.read(start, stop, step)))


def uniform_flow(dx, dy=0.0, size=(32, 40)):
    """Return a flow that is the same everywhere."""
    return np.broadcast_to(np.array([dx, dy], np.float32), (*size, 2)).copy()
