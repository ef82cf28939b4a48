"""Augmentation of an annotated image: random affine and photometric changes of image and mask.

Pixels from outside the image are labelled "ignore". Mirroring swaps the rows of left and right parts. If a left or
right part has no counterpart, no view is mirrored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.learning.probe_config import ViewConfig
from slimecore.types import Annotation, Parts

__all__ = ["augmented_views", "mirror_rows", "one_hot_area"]

_MAX_UNBLURRED_DOWNSCALING = 1.3  # bilinear interpolation aliases little below
_BLUR_SIGMA_PER_DOWNSCALING = 0.4  # pixels of the original image

_SIDE_WORD = re.compile(r"(?<![^\W\d_])(l|r|left|right)(?![^\W\d_])", re.IGNORECASE)  # no letter before or after it
_SIDE_IN_CAMEL_CASE = re.compile(r"(?<![^\W\d_])([Ll]eft|[Rr]ight)(?=[A-Z])|(?<=[a-z])(Left|Right)(?![a-z])")
_SIDE_SUBSTRING = re.compile(r"left|right")
_OPPOSITE_SIDE = {"l": "r", "r": "l", "left": "right", "right": "left"}


def mirror_rows(parts: Parts) -> tuple[int, ...] | None:
    """Return the row of each part in a mirrored image, with left and right parts swapped.

    A part is left or right if its name contains the word left, right, l or r, delimited by non-letters or in camel
    case. A name that becomes another part's name by swapping left and right counts too. An ``l`` with a ``u``
    counterpart (``u_lip``, ``l_lip``) means lower and has no side.

    Parameters
    ----------
    parts : Parts

    Returns
    -------
    tuple of int, or None
        A permutation of the rows. None if a left or right part has no counterpart.
    """
    rows = {name.lower(): i for i, name in enumerate(parts.names)}
    mirrored = [_counterpart(name, rows) for name in parts.names]
    permutation = [row for row in mirrored if row is not None]
    return tuple(permutation) if len(set(permutation)) == len(parts) else None


def _counterpart(name: str, rows: Mapping[str, int]) -> int | None:
    """Find the row of a part in a mirrored image. None if the name has a side and its counterpart does not exist."""
    lower_case = name.lower()
    mirrored = _SIDE_IN_CAMEL_CASE.sub(_opposite, _SIDE_WORD.sub(_opposite, name)).lower()
    if mirrored == lower_case:
        # "leftarm" has a side if a part "rightarm" exists, "leftover" has none.
        compound = _SIDE_SUBSTRING.sub(_opposite, lower_case)
        mirrored = compound if compound in rows else lower_case
    if mirrored not in rows:
        upper_part = re.sub(r"(?<![^\W\d_])l(?![^\W\d_])", "u", lower_case)
        return rows[lower_case] if upper_part != lower_case and upper_part in rows else None
    return rows[mirrored]


def _opposite(side: re.Match[str]) -> str:
    return _OPPOSITE_SIDE[side[0].lower()]


def augmented_views(
    annotation: Annotation, size: tuple[int, int], config: ViewConfig, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return the image and `config.count` augmented copies, resized to the network input.

    Parameters
    ----------
    annotation : Annotation
    size : (int, int)
        ``(H, W)`` of the result in pixels.
    config : ViewConfig
    rng : numpy.random.Generator

    Returns
    -------
    rgb : (1 + count, H, W, 3) uint8
        The first is the image itself.
    rows : (1 + count, H, W) int16
        Part rows, -1 = ignore.
    """
    swap = mirror_rows(annotation.parts) if config.mirror else None
    if swap == tuple(range(len(annotation.parts))) and not config.mirror_unsided:
        swap = None  # no name says that a mirrored part is the same part
    h, w = annotation.rows.shape
    base = np.array([[size[1] / w, 0, 0.5 * size[1] / w - 0.5], [0, size[0] / h, 0.5 * size[0] / h - 0.5], [0, 0, 1]])
    images, masks = [], []
    for i in range(1 + config.count):
        mirrored = swap is not None and i % 2 == 1
        affine = np.eye(3) if i == 0 else _random_affine(size, config, mirrored, rng)
        matrix = (affine @ base)[:2]
        blurred = _blur_for_downscaling(annotation.rgb, size)
        rgb = cv2.warpAffine(blurred, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        rows = cv2.warpAffine(
            annotation.rows.astype(np.float32),
            matrix,
            size[::-1],
            flags=cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=-1.0,
        )
        images.append(rgb if i == 0 else _jitter_color(rgb, config.color, rng))
        if mirrored and swap is not None:
            rows = np.where(rows < 0, -1, np.asarray(swap)[rows.astype(np.int16)])
        masks.append(rows.astype(np.int16))
    return np.stack(images), np.stack(masks)


def _blur_for_downscaling(rgb: Array, size: tuple[int, int]) -> Array:
    """Blur an image to prevent aliasing in a bilinear warp down to `size`."""
    factor = rgb.shape[0] / size[0]
    if factor > _MAX_UNBLURRED_DOWNSCALING:
        return np.asarray(cv2.GaussianBlur(rgb, (0, 0), _BLUR_SIGMA_PER_DOWNSCALING * factor))
    return np.asarray(rgb)


def _random_affine(size: tuple[int, int], config: ViewConfig, mirror: bool, rng: np.random.Generator) -> Array:
    zoom = config.scale ** rng.uniform(-1, 1)
    angle = np.deg2rad(rng.uniform(-config.rotate, config.rotate))
    shift = rng.uniform(-config.shift, config.shift, 2) * (size[1], size[0])
    center = np.array([size[1] - 1, size[0] - 1]) / 2
    linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirror:
        linear = linear @ np.diag([-1.0, 1.0])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = center + shift - linear @ center
    return matrix


def _jitter_color(rgb: Array, strength: float, rng: np.random.Generator) -> Array:
    gain = 1 + rng.uniform(-strength, strength) + rng.uniform(-strength, strength, 3) / 4
    offset = rng.uniform(-strength, strength) / 4
    gamma = np.exp(rng.uniform(-strength, strength))
    tone_curve = np.linspace(0, 1, 256)[:, None] ** gamma * gain + offset
    table = (tone_curve.clip(0, 1) * 255).round().astype(np.uint8)
    return np.stack([table[rgb[..., c], c] for c in range(3)], axis=-1)


def one_hot_area(rows: Array, parts: Parts, grid: tuple[int, int]) -> tuple[Array, Array]:
    """Compute the area fraction of every part in every cell of a grid.

    Parameters
    ----------
    rows : (h, w) int
        Part rows, -1 = ignore.
    parts : Parts
    grid : (int, int)
        Rows and columns of the grid.

    Returns
    -------
    fractions : (P, *grid) float32
        Fractions of the labelled area, summing to 1 over parts. All 0 in a cell without labels.
    labelled : (*grid) float32
        Fraction of the cell that is not ignored, 0..1.
    """
    area = np.stack(
        [
            cv2.resize((rows == i).astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA)
            for i in range(len(parts))
        ]
    )
    labelled = area.sum(0)
    return area / np.maximum(labelled, 1e-6), labelled
