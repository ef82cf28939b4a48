"""More views of one annotated picture: small geometric and photometric changes, with the mask moved along.

One mask is little data. Learning from jittered copies keeps tokens from memorising places and lighting. Pixels that a
view invents (outside the picture) are ignored. Mirroring swaps the parts whose names say left and right; where one of
them lacks its counterpart, nothing is mirrored.
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

_WORD = re.compile(r"(?<![^\W\d_])(l|r|left|right)(?![^\W\d_])", re.IGNORECASE)  # no letter before or after it
_CAMEL = re.compile(r"(?<![^\W\d_])([Ll]eft|[Rr]ight)(?=[A-Z])|(?<=[a-z])(Left|Right)(?![a-z])")
_WITHIN = re.compile(r"left|right")
_OTHER = {"l": "r", "r": "l", "left": "right", "right": "left"}


def mirror_rows(parts: Parts) -> tuple[int, ...] | None:
    """Row of each part in a mirrored picture: left and right change places.

    A part is sided if its name holds the word left, right, l or r, set off by anything but letters or in camel case, or
    is another's with left for right. An ``l`` beside a ``u`` (``u_lip``, ``l_lip``) is a lower one and has no side.

    Parameters
    ----------
    parts : Parts

    Returns
    -------
    tuple of int, or None
        A permutation of the rows; None if a sided part has no counterpart, so that mirroring would mislabel.
    """
    rows = {name.lower(): i for i, name in enumerate(parts.names)}
    mirrored = [_counterpart(name, rows) for name in parts.names]
    known = [row for row in mirrored if row is not None]
    return tuple(known) if len(set(known)) == len(parts) else None


def _counterpart(name: str, rows: Mapping[str, int]) -> int | None:
    """Row of a part in a mirrored picture; None where its name has a side and the other is not there."""
    plain = name.lower()
    other = _CAMEL.sub(_swapped, _WORD.sub(_swapped, name)).lower()
    if other == plain:
        run_on = _WITHIN.sub(_swapped, plain)  # "leftarm" has a side if there is a "rightarm", "leftover" has none
        other = run_on if run_on in rows else plain
    if other not in rows:
        upper = re.sub(r"(?<![^\W\d_])l(?![^\W\d_])", "u", plain)
        return rows[plain] if upper != plain and upper in rows else None
    return rows[other]


def _swapped(side: re.Match[str]) -> str:
    return _OTHER[side[0].lower()]


def augmented_views(
    annotation: Annotation, size: tuple[int, int], config: ViewConfig, rng: np.random.Generator
) -> tuple[Array, Array]:
    """The picture and `config.count` changed copies, at network size.

    Parameters
    ----------
    annotation : Annotation
    size : (int, int)
        ``(H, W)`` of the result.
    config : ViewConfig
    rng : numpy.random.Generator

    Returns
    -------
    rgb : (1 + count, H, W, 3) uint8
    rows : (1 + count, H, W) int16
        Part rows, -1 = ignore.
    """
    swap = mirror_rows(annotation.parts) if config.mirror else None
    h, w = annotation.rows.shape
    base = np.array([[size[1] / w, 0, 0.5 * size[1] / w - 0.5], [0, size[0] / h, 0.5 * size[0] / h - 0.5], [0, 0, 1]])
    pictures, masks = [], []
    for i in range(1 + config.count):
        mirrored = swap is not None and i % 2 == 1
        change = np.eye(3) if i == 0 else _random_affine(size, config, mirrored, rng)
        matrix = (change @ base)[:2]
        blurred = _antialiased(annotation.rgb, size)
        rgb = cv2.warpAffine(blurred, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        rows = cv2.warpAffine(
            annotation.rows.astype(np.float32),
            matrix,
            size[::-1],
            flags=cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=-1.0,
        )
        pictures.append(rgb if i == 0 else _recolored(rgb, config.color, rng))
        if mirrored and swap is not None:
            rows = np.where(rows < 0, -1, np.asarray(swap)[rows.astype(np.int16)])
        masks.append(rows.astype(np.int16))
    return np.stack(pictures), np.stack(masks)


def _antialiased(rgb: Array, size: tuple[int, int]) -> Array:
    """Blur enough for a linear warp down to `size` not to alias."""
    factor = rgb.shape[0] / size[0]
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), 0.4 * factor)) if factor > 1.3 else np.asarray(rgb)


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


def _recolored(rgb: Array, strength: float, rng: np.random.Generator) -> Array:
    gain = 1 + rng.uniform(-strength, strength) + rng.uniform(-strength, strength, 3) / 4
    offset = rng.uniform(-strength, strength) / 4
    gamma = np.exp(rng.uniform(-strength, strength))
    levels = np.linspace(0, 1, 256)[:, None] ** gamma * gain + offset
    table = (levels.clip(0, 1) * 255).round().astype(np.uint8)
    return np.stack([table[rgb[..., c], c] for c in range(3)], axis=-1)


def one_hot_area(rows: Array, parts: Parts, grid: tuple[int, int]) -> tuple[Array, Array]:
    """Area fraction of every part in every cell of a grid.

    Parameters
    ----------
    rows : (h, w) int
        Part rows, -1 = ignore.
    parts : Parts
    grid : (int, int)

    Returns
    -------
    fractions : (P, *grid) float32
        Summing to 1 where anything is known, else 0.
    known : (*grid) float32
        Share of the cell that is not ignored, 0..1.
    """
    planes = np.stack(
        [
            cv2.resize((rows == i).astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA)
            for i in range(len(parts))
        ]
    )
    known = planes.sum(0)
    return planes / np.maximum(known, 1e-6), known
