"""Views of an annotated picture as SLiMe draws them: flip, blur, crop, rotation."""

from __future__ import annotations

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.resize import resize_labels, resize_rgb
from slimecore.learning.augmentation import mirror_rows
from slimecore.learning.faithful_config import AugmentConfig
from slimecore.types import Annotation

__all__ = ["published_view"]

_TRIES = 20  # crops drawn before the last one is taken as it is


def published_view(
    annotation: Annotation, size: tuple[int, int], config: AugmentConfig, part: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """One augmented view.

    Parameters
    ----------
    annotation : Annotation
    size : (int, int)
        ``(H, W)`` of the result; the picture is squashed to it, as published, if the shapes differ.
    config : AugmentConfig
    part : int
        Row that the crop must keep a share of, where the picture has it.
    rng : numpy.random.Generator

    Returns
    -------
    rgb : (H, W, 3) uint8
    rows : (H, W) int16
        Part rows, -1 = ignore.
    """
    rgb, rows = np.asarray(annotation.rgb), np.asarray(annotation.rows)
    swap = mirror_rows(annotation.parts)
    if swap is not None and rng.random() < config.mirror:
        rgb, rows = rgb[:, ::-1], _relabelled(rows[:, ::-1], swap)
    if rng.random() < config.blur:
        side = 1 + 2 * int(rng.integers(0, (config.blur_size + 1) // 2))
        rgb = cv2.GaussianBlur(np.ascontiguousarray(rgb), (side, side), 0)
    window = _crop(rows, config, part, rng)
    rgb = resize_rgb(np.ascontiguousarray(rgb[window]), size)
    rows = resize_labels(rows[window], size)
    if rng.random() < config.rotate:
        rgb, rows = _rotated(rgb, rows, rng.uniform(-config.degrees, config.degrees))
    return rgb, rows.astype(np.int16)


def _relabelled(rows: Array, swap: tuple[int, ...]) -> Array:
    return np.where(rows < 0, rows, np.asarray(swap, rows.dtype)[rows.clip(min=0)])


def _crop(rows: Array, config: AugmentConfig, part: int, rng: np.random.Generator) -> tuple[slice, slice]:
    h, w = rows.shape
    wanted = rows == part
    total = int(np.count_nonzero(wanted))
    window = (slice(0, h), slice(0, w))
    for _ in range(_TRIES):
        ratio = rng.uniform(config.crop, 1.0)
        ch, cw = max(1, round(h * ratio)), max(1, round(w * ratio))
        top, left = int(rng.integers(0, h - ch + 1)), int(rng.integers(0, w - cw + 1))
        window = (slice(top, top + ch), slice(left, left + cw))
        if np.count_nonzero(wanted[window]) >= config.keep * total:
            break
    return window


def _rotated(rgb: Array, rows: Array, degrees: float) -> tuple[Array, Array]:
    h, w = rows.shape
    matrix = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), degrees, 1.0)
    rgb = cv2.warpAffine(rgb, matrix, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    turned = cv2.warpAffine(
        rows.astype(np.float32),
        matrix,
        (w, h),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=-1.0,
    )
    return rgb, turned
