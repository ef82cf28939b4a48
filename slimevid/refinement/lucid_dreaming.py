"""Lucid dreams of an annotated frame: short clips made of the frame itself, whose masks are known.

The parts are cut out and what they hid is filled in; then both move, the parts bend, now and then something passes
before them, and the light changes. Khoreva et al., "Lucid Data Dreaming for Video Object Segmentation", IJCV 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.resize import fit_short_side, resize_labels, resize_rgb
from slimecore.types import Annotation, Parts

__all__ = ["SyntheticClip", "dream_clip"]

_LARGEST = 480  # short side, pixels: larger pictures are dreamt of at this size
_SPEED = 0.8  # way of the parts, at most, in the square root of their area
_TURN, _GROWTH = np.deg2rad(20), 0.2  # in radians, and as a logarithm, at most
_BEND, _SWAY = 0.1, 0.06  # of every point, standard deviation at most, in the square root of the area
_PAN, _ZOOM = 0.02, 0.04  # of the background, in its width and as a logarithm
_LIGHT = 0.15  # change of the brightness of everything, and of the parts, at most
_NOISE = 2.0  # of 255
_SEEN = 0.75  # least cover of a pixel of the parts, however thin they are
_FILLED = 4  # what is hidden is filled in on a picture so many times smaller


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticClip:
    """A clip that begins with the annotated frame.

    Parameters
    ----------
    rgb : (n, h, w, 3) uint8
    rows : (n, h, w) int16
        Part rows, 0 = background.
    parts : Parts
    """

    rgb: Array
    rows: Array
    parts: Parts


def dream_clip(annotation: Annotation, frames: int, rng: np.random.Generator) -> SyntheticClip:
    """Dream of an annotated frame.

    Parameters
    ----------
    annotation : Annotation
        With parts on it; what is ignored counts as background.
    frames : int
        At least 2.
    rng : numpy.random.Generator

    Returns
    -------
    Dream
        Of the size of the annotation, or smaller.
    """
    full = np.maximum(annotation.rows, 0).astype(np.int16)
    size = fit_short_side(full.shape, min(_LARGEST, *full.shape), 1)
    rows = resize_labels(full, size)
    if not rows.any():  # too small a thing to be left
        size, rows = full.shape, full
    rgb = resize_rgb(np.ascontiguousarray(annotation.rgb), size)
    thing = rows > 0
    behind = _behind(rgb, thing)
    there, sight, light = _Thing.draw(thing, rng), _Sight.draw(rng), [float(v) for v in rng.uniform(-_LIGHT, _LIGHT, 2)]
    passing = _Passing.draw(behind, there, rng) if rng.random() < 0.5 else None
    blur = rng.random() < 0.3
    solid = thing.astype(np.float32)
    alpha = np.maximum(cv2.GaussianBlur(solid, (0, 0), 1), _SEEN * solid)
    pictures, labels = [], []
    for i in range(frames):
        time = i / (frames - 1)
        ground = cv2.remap(behind, *sight.at(time, size), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        source = there.at(time, size)
        part = cv2.remap(rgb, *source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101) * (1 + light[0] * time)
        cover = cv2.remap(alpha, *source, cv2.INTER_LINEAR)[..., None]
        label = cv2.remap(rows, *source, cv2.INTER_NEAREST)
        picture = ground * (1 - cover) + part * cover
        if passing is not None and i:
            hidden = passing.at(time, size)[..., None]
            picture = picture * (1 - hidden) + passing.rgb * hidden
            label = np.where(hidden[..., 0] > 0.5, 0, label)
        picture *= 1 + light[1] * time
        if blur:
            picture = cv2.GaussianBlur(picture, (0, 0), 0.3 + time)
        picture += np.float32(_NOISE) * rng.standard_normal(picture.shape, np.float32)
        pictures.append(picture.clip(0, 255).astype(np.uint8))
        labels.append(label.astype(np.int16))
    return SyntheticClip(np.stack(pictures), np.stack(labels), annotation.parts)


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """How the background moves."""

    pan: Array
    zoom: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Sight:
        return cls(rng.normal(0, _PAN, 2), rng.normal(0, _ZOOM))

    def at(self, time: float, size: tuple[int, int]) -> tuple[Array, Array]:
        """Where every pixel comes from, x and y."""
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
        shift, scale = self.pan * size[1] * time, np.exp(-self.zoom * time)
        middle = size[1] / 2, size[0] / 2
        across, down = ((p - m) * scale + m - s for p, m, s in zip((x, y), middle, shift, strict=True))
        return across.astype(np.float32), down.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Thing:
    """How the parts move: together, turned, scaled and bent."""

    middle: Array
    extent: float
    way: Array
    turn: float
    growth: float
    bend: Array
    sway: Array
    phase: float

    @classmethod
    def draw(cls, thing: Array, rng: np.random.Generator) -> _Thing:
        extent = float(np.sqrt(np.count_nonzero(thing)))
        middle = np.argwhere(thing).mean(0)[::-1]
        way = rng.normal(size=2)
        way *= rng.uniform(0, _SPEED) * extent / max(float(np.hypot(*way)), 1e-9)
        bend, sway = (
            _field(thing.shape, rng.uniform(0, most) * extent, int(rng.integers(4, knots)), rng)
            for most, knots in ((_BEND, 9), (_SWAY, 14))
        )
        turn, growth = rng.uniform(-_TURN, _TURN), rng.uniform(-_GROWTH, _GROWTH)
        return cls(middle, extent, way, turn, growth, bend, sway, rng.uniform(0, 2 * np.pi))

    def at(self, time: float, size: tuple[int, int]) -> tuple[Array, Array]:
        """Where every pixel comes from, x and y."""
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
        across, down = (p - m - w * time for p, m, w in zip((x, y), self.middle, self.way, strict=True))
        scale = np.exp(-self.growth * time)
        cosine, sine = np.cos(self.turn * time) * scale, np.sin(self.turn * time) * scale
        x = (cosine * across + sine * down + self.middle[0]).astype(np.float32)
        y = (cosine * down - sine * across + self.middle[1]).astype(np.float32)
        bent = self.bend * time + self.sway * (np.sin(self.phase + 3 * time) - np.sin(self.phase))
        bent = cv2.remap(bent.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return x + bent[..., 0], y + bent[..., 1]


def _field(size: tuple[int, ...], amplitude: float, knots: int, rng: np.random.Generator) -> Array:
    """Smooth random displacements (h, w, 2) float32."""
    few = rng.normal(size=(knots, knots, 2)).astype(np.float32)
    return np.asarray(cv2.resize(few, (size[1], size[0]), interpolation=cv2.INTER_CUBIC) * np.float32(amplitude))


@dataclass(frozen=True, slots=True, eq=False)
class _Passing:
    """A strip of other background that passes before the parts."""

    rgb: Array
    middle: Array
    width: float
    tilt: float
    begin: float
    way: float

    @classmethod
    def draw(cls, behind: Array, thing: _Thing, rng: np.random.Generator) -> _Passing:
        height, width = behind.shape[:2]
        moved = np.roll(behind, (int(rng.integers(height)), int(rng.integers(width))), (0, 1))[:, ::-1]
        rgb = (moved * rng.uniform(0.6, 1.3)).clip(0, 255).astype(np.float32)
        way = rng.choice([-1, 1]) * rng.uniform(0.5, 1.5) * thing.extent
        begin = thing.middle[0] - way * rng.uniform(0.2, 0.8)
        return cls(rgb, thing.middle, rng.uniform(0.08, 0.4) * thing.extent, rng.uniform(-0.3, 0.3), begin, way)

    def at(self, time: float, size: tuple[int, int]) -> Array:
        """Share of every pixel that is hidden, (h, w) float32."""
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
        away = np.abs(x - (self.begin + self.way * time) - self.tilt * (y - self.middle[1]))
        return np.asarray((self.width / 2 - away + 0.5).clip(0, 1), np.float32)


def _behind(rgb: Array, thing: Array) -> Array:
    """The picture without the thing, (h, w, 3) uint8: colours inpainted, texture of the places beside it."""
    height, width = thing.shape
    square = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15))
    mask = cv2.dilate(thing.astype(np.uint8), square)
    few = (-(-width // _FILLED), -(-height // _FILLED))
    hole = (cv2.resize(mask, few, interpolation=cv2.INTER_LINEAR) > 0).astype(np.uint8)
    coarse = cv2.inpaint(cv2.resize(rgb, few, interpolation=cv2.INTER_AREA), hole, 5, cv2.INPAINT_TELEA)
    texture = np.where(mask[..., None] > 0, 0, rgb - cv2.GaussianBlur(rgb, (0, 0), 4).astype(np.float32))
    columns = np.nonzero(mask.any(0))[0]
    across = int(columns[-1] - columns[0] + 1)
    beside, other = (np.roll(texture, shift, 1) for shift in (-across, across))
    filled = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + np.where(beside == 0, other, beside)
    share = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3)[..., None]
    return np.asarray((rgb * (1 - share) + filled * share).clip(0, 255).astype(np.uint8))
