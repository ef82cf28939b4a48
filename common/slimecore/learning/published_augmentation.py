"""Augmentation as in SLiMe (Khani et al., ICLR 2024) and its code: flip, blur, crop, rotation."""

from __future__ import annotations

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.resize import resize_labels, resize_rgb
from slimecore.learning.augmentation import mirror_rows
from slimecore.learning.faithful_config import AugmentConfig
from slimecore.types import Annotation

__all__ = ["published_view"]

_MAX_CROP_ATTEMPTS = 20  # the last crop is used even if it keeps too little of the part


def published_view(
    annotation: Annotation, size: tuple[int, int], config: AugmentConfig, part: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw an augmented view of an annotated image.

    Parameters
    ----------
    annotation : Annotation
    size : (int, int)
        ``(H, W)`` of the result in pixels. The image is stretched to it, as in SLiMe, if the aspect ratios differ.
    config : AugmentConfig
    part : int
        Row of the part that the crop must keep, up to the fraction ``config.keep`` of its area.
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
        rgb, rows = rgb[:, ::-1], _permute_rows(rows[:, ::-1], swap)
    if rng.random() < config.blur:
        side = 1 + 2 * int(rng.integers(0, (config.blur_size + 1) // 2))
        rgb = cv2.GaussianBlur(np.ascontiguousarray(rgb), (side, side), 0)
    crop = _random_crop(rows, config, part, rng)
    rgb = resize_rgb(np.ascontiguousarray(rgb[crop]), size)
    rows = resize_labels(rows[crop], size)
    if rng.random() < config.rotate:
        rgb, rows = _rotate(rgb, rows, rng.uniform(-config.degrees, config.degrees))
    return rgb, rows.astype(np.int16)


def _permute_rows(rows: Array, swap: tuple[int, ...]) -> Array:
    return np.where(rows < 0, rows, np.asarray(swap, rows.dtype)[rows.clip(min=0)])


def _random_crop(rows: Array, config: AugmentConfig, part: int, rng: np.random.Generator) -> tuple[slice, slice]:
    h, w = rows.shape
    part_mask = rows == part
    part_pixels = int(np.count_nonzero(part_mask))
    crop = (slice(0, h), slice(0, w))
    for _ in range(_MAX_CROP_ATTEMPTS):
        ratio = rng.uniform(config.crop, 1.0)
        ch, cw = max(1, round(h * ratio)), max(1, round(w * ratio))
        top, left = int(rng.integers(0, h - ch + 1)), int(rng.integers(0, w - cw + 1))
        crop = (slice(top, top + ch), slice(left, left + cw))
        if np.count_nonzero(part_mask[crop]) >= config.keep * part_pixels:
            break
    return crop


def _rotate(rgb: Array, rows: Array, degrees: float) -> tuple[Array, Array]:
    h, w = rows.shape
    matrix = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), degrees, 1.0)
    rgb = cv2.warpAffine(rgb, matrix, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    rotated_rows = cv2.warpAffine(
        rows.astype(np.float32),
        matrix,
        (w, h),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=-1.0,
    )
    return rgb, rotated_rows
