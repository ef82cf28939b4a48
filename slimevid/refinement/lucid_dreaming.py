"""Lucid dreams: synthetic clips with known masks, made from an annotated frame.

The foreground is cut out and the background behind it is inpainted. Then both move, the foreground bends, an occluder
may pass in front of it, and the light changes. After Khoreva et al., "Lucid Data Dreaming for Video Object
Segmentation", IJCV 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.resize import fit_short_side, resize_labels, resize_rgb
from slimecore.types import Annotation, Parts

__all__ = ["SyntheticClip", "dream_clip"]

# An extent is the square root of the foreground's area. Motion is that from the first frame to the last.
_MAX_SHORT_SIDE_PIXELS = 480  # larger images are reduced to this size
_MAX_SHIFT_EXTENTS = 0.8  # of the foreground
_MAX_ROTATION_RADIANS, _MAX_LOG_SCALE = np.deg2rad(20), 0.2  # of the foreground
_MAX_BEND_EXTENTS, _MAX_SWAY_EXTENTS = 0.1, 0.06  # largest standard deviation of a point's displacement
_PAN_STD_WIDTHS, _LOG_ZOOM_STD = 0.02, 0.04  # of the background, the pan in image widths
_MAX_BRIGHTNESS_CHANGE = 0.15  # of the whole image, and of the foreground alone
_NOISE_STD_LEVELS = 2.0  # of 255
_MIN_OPACITY = 0.75  # of foreground pixels, so that thin parts stay visible
_INPAINT_DOWNSCALE = 4  # inpainting works on an image reduced by this factor


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticClip:
    """A synthetic clip and its masks. The first frame shows the annotated frame without motion.

    Parameters
    ----------
    rgb : (n, h, w, 3) uint8
    rows : (n, h, w) int16
        Rows of `parts`, 0 is background.
    parts : Parts
    """

    rgb: Array
    rows: Array
    parts: Parts


def dream_clip(annotation: Annotation, frames: int, rng: np.random.Generator) -> SyntheticClip:
    """Make a synthetic clip from an annotated frame.

    Parameters
    ----------
    annotation : Annotation
        Marks at least a single part. Ignored pixels count as background.
    frames : int
        Number of frames, at least 2.
    rng : numpy.random.Generator

    Returns
    -------
    SyntheticClip
        At the size of the annotation, or reduced to a short side of 480 pixels.
    """
    full = np.maximum(annotation.rows, 0).astype(np.int16)
    size = fit_short_side(full.shape, min(_MAX_SHORT_SIDE_PIXELS, *full.shape), 1)
    rows = resize_labels(full, size)
    if not rows.any():  # the foreground is too small to survive the reduction
        size, rows = full.shape, full
    rgb = resize_rgb(np.ascontiguousarray(annotation.rgb), size)
    foreground = rows > 0
    background = _inpaint_background(rgb, foreground)
    object_motion, background_motion, brightness = (
        _ObjectMotion.draw(foreground, rng),
        _BackgroundMotion.draw(rng),
        [float(v) for v in rng.uniform(-_MAX_BRIGHTNESS_CHANGE, _MAX_BRIGHTNESS_CHANGE, 2)],
    )
    occluder = _Occluder.draw(background, object_motion, rng) if rng.random() < 0.5 else None
    blur = rng.random() < 0.3
    mask = foreground.astype(np.float32)
    alpha = np.maximum(cv2.GaussianBlur(mask, (0, 0), 1), _MIN_OPACITY * mask)
    images, labels = [], []
    for i in range(frames):
        time = i / (frames - 1)
        shown_background = cv2.remap(
            background, *background_motion.at(time, size), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        sources = object_motion.at(time, size)
        shown_foreground = cv2.remap(rgb, *sources, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101) * (
            1 + brightness[0] * time
        )
        opacity = cv2.remap(alpha, *sources, cv2.INTER_LINEAR)[..., None]
        label = cv2.remap(rows, *sources, cv2.INTER_NEAREST)
        image = shown_background * (1 - opacity) + shown_foreground * opacity
        if occluder is not None and i:
            occlusion = occluder.at(time, size)[..., None]
            image = image * (1 - occlusion) + occluder.rgb * occlusion
            label = np.where(occlusion[..., 0] > 0.5, 0, label)
        image *= 1 + brightness[1] * time
        if blur:
            image = cv2.GaussianBlur(image, (0, 0), 0.3 + time)
        image += np.float32(_NOISE_STD_LEVELS) * rng.standard_normal(image.shape, np.float32)
        images.append(image.clip(0, 255).astype(np.uint8))
        labels.append(label.astype(np.int16))
    return SyntheticClip(np.stack(images), np.stack(labels), annotation.parts)


@dataclass(frozen=True, slots=True, eq=False)
class _BackgroundMotion:
    """Motion of the background: pan and zoom."""

    pan: Array
    zoom: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _BackgroundMotion:
        return cls(rng.normal(0, _PAN_STD_WIDTHS, 2), rng.normal(0, _LOG_ZOOM_STD))

    def at(self, time: float, size: tuple[int, int]) -> tuple[Array, Array]:
        """Return the source position of every pixel at `time`, 0..1: x and y, (h, w) float32 each."""
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
        shift, scale = self.pan * size[1] * time, np.exp(-self.zoom * time)
        center = size[1] / 2, size[0] / 2
        across, down = ((p - m) * scale + m - s for p, m, s in zip((x, y), center, shift, strict=True))
        return across.astype(np.float32), down.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _ObjectMotion:
    """Motion of the foreground: shift, rotation, scale, and smooth deformation."""

    center: Array
    extent: float
    shift: Array
    rotation: float
    log_scale: float
    bend: Array
    sway: Array
    phase: float

    @classmethod
    def draw(cls, foreground: Array, rng: np.random.Generator) -> _ObjectMotion:
        extent = float(np.sqrt(np.count_nonzero(foreground)))
        center = np.argwhere(foreground).mean(0)[::-1]
        shift = rng.normal(size=2)
        shift *= rng.uniform(0, _MAX_SHIFT_EXTENTS) * extent / max(float(np.hypot(*shift)), 1e-9)
        bend, sway = (
            _smooth_displacements(foreground.shape, rng.uniform(0, maximum) * extent, int(rng.integers(4, knots)), rng)
            for maximum, knots in ((_MAX_BEND_EXTENTS, 9), (_MAX_SWAY_EXTENTS, 14))
        )
        rotation, log_scale = (
            rng.uniform(-_MAX_ROTATION_RADIANS, _MAX_ROTATION_RADIANS),
            rng.uniform(-_MAX_LOG_SCALE, _MAX_LOG_SCALE),
        )
        return cls(center, extent, shift, rotation, log_scale, bend, sway, rng.uniform(0, 2 * np.pi))

    def at(self, time: float, size: tuple[int, int]) -> tuple[Array, Array]:
        """Return the source position of every pixel at `time`, 0..1: x and y, (h, w) float32 each."""
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
        across, down = (p - m - w * time for p, m, w in zip((x, y), self.center, self.shift, strict=True))
        scale = np.exp(-self.log_scale * time)
        cosine, sine = np.cos(self.rotation * time) * scale, np.sin(self.rotation * time) * scale
        x = (cosine * across + sine * down + self.center[0]).astype(np.float32)
        y = (cosine * down - sine * across + self.center[1]).astype(np.float32)
        bent = self.bend * time + self.sway * (np.sin(self.phase + 3 * time) - np.sin(self.phase))
        bent = cv2.remap(bent.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return x + bent[..., 0], y + bent[..., 1]


def _smooth_displacements(size: tuple[int, ...], amplitude: float, knots: int, rng: np.random.Generator) -> Array:
    """Return smooth random displacements, (h, w, 2) float32 in pixels: cubic interpolation of random knots."""
    coarse = rng.normal(size=(knots, knots, 2)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC) * np.float32(amplitude))


@dataclass(frozen=True, slots=True, eq=False)
class _Occluder:
    """Tilted strip of shifted background that passes in front of the foreground."""

    rgb: Array
    center: Array
    width: float
    tilt: float
    start_x: float
    shift: float

    @classmethod
    def draw(cls, background: Array, motion: _ObjectMotion, rng: np.random.Generator) -> _Occluder:
        height, width = background.shape[:2]
        shifted = np.roll(background, (int(rng.integers(height)), int(rng.integers(width))), (0, 1))[:, ::-1]
        rgb = (shifted * rng.uniform(0.6, 1.3)).clip(0, 255).astype(np.float32)
        shift = rng.choice([-1, 1]) * rng.uniform(0.5, 1.5) * motion.extent
        start_x = motion.center[0] - shift * rng.uniform(0.2, 0.8)
        return cls(rgb, motion.center, rng.uniform(0.08, 0.4) * motion.extent, rng.uniform(-0.3, 0.3), start_x, shift)

    def at(self, time: float, size: tuple[int, int]) -> Array:
        """Return the opacity of the occluder at `time`, 0..1: (h, w) float32, 0..1."""
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
        distance = np.abs(x - (self.start_x + self.shift * time) - self.tilt * (y - self.center[1]))
        return np.asarray((self.width / 2 - distance + 0.5).clip(0, 1), np.float32)


def _inpaint_background(rgb: Array, foreground: Array) -> Array:
    """Inpaint the foreground, (h, w, 3) uint8: colours by Telea (2004), fine texture copied from beside it."""
    height, width = foreground.shape
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15))
    mask = cv2.dilate(foreground.astype(np.uint8), disk)
    coarse_size = (-(-width // _INPAINT_DOWNSCALE), -(-height // _INPAINT_DOWNSCALE))
    hole = (cv2.resize(mask, coarse_size, interpolation=cv2.INTER_LINEAR) > 0).astype(np.uint8)
    coarse = cv2.inpaint(cv2.resize(rgb, coarse_size, interpolation=cv2.INTER_AREA), hole, 5, cv2.INPAINT_TELEA)
    texture = np.where(mask[..., None] > 0, 0, rgb - cv2.GaussianBlur(rgb, (0, 0), 4).astype(np.float32))
    columns = np.nonzero(mask.any(0))[0]
    object_width = int(columns[-1] - columns[0] + 1)
    beside, other = (np.roll(texture, shift, 1) for shift in (-object_width, object_width))
    filled = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + np.where(beside == 0, other, beside)
    share = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3)[..., None]
    return np.asarray((rgb * (1 - share) + filled * share).clip(0, 255).astype(np.uint8))
