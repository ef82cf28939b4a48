"""Separate the label levels of a mask from anti-aliasing and JPEG noise.

A level is a grey level (c = 1) or a colour (c = 3). A label level is a level that stands for a part or the background.
"""

from __future__ import annotations

from itertools import chain, combinations
from pathlib import Path

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.errors import InputError

__all__ = ["NOISE", "filled_share", "flat", "label_levels", "snap_to_labels", "snapped_note"]

NOISE = 24  # grey levels 0..255; JPEG changes a flat area by at most this
_MAX_LABEL_LEVELS = 255
_MIN_CERTAIN_FRACTION = 0.5  # of the pixels must lie near a label level, else the picture is a photograph
_MANY_LEVELS = 16  # above this number of noisy levels, a higher fraction is required
_MIN_CERTAIN_FRACTION_OF_MANY = 0.7  # masks as JPEG of quality 50 have .83, photographs .54


def _color_codes(picture: Array) -> Array:
    """Encode each colour of a (h, w, c) or (n, c) uint8 array as an int64 number, in the order of the colours."""
    code = np.zeros(picture.shape[:-1], np.int64)
    for channel in range(picture.shape[-1]):
        code = code * 256 + picture[..., channel]
    return code


def flat(codes: Array) -> Array:
    """Return the (h, w) bool mask of pixels that equal all their neighbours, from (h, w) colour codes."""
    # float32 is exact to 2 ** 24, so codes of three channels fit
    plane, window = codes.astype(np.float32), np.ones((3, 3), np.uint8)
    return np.asarray(cv2.erode(plane, window) == cv2.dilate(plane, window))


def filled_share(codes: Array) -> float:
    """Return the fraction of levels, 0..1, that fill an area of 3 x 3 pixels, from (h, w) colour codes."""
    return len(np.unique(codes[flat(codes)])) / len(np.unique(codes))


def label_levels(picture: Array, path: Path) -> tuple[Array, bool]:
    """Find the label levels of a (h, w, c) uint8 picture.

    A level is a label level if it fills an area of 3 x 3 pixels, or if it is no blend of neighbouring label levels.

    Returns
    -------
    levels : (n, c) uint8
        Label levels, increasing.
    noisy : bool
        The picture has JPEG noise: pixels scatter around the label levels.

    Raises
    ------
    InputError
        The picture is a photograph.
    """
    codes = _color_codes(picture)
    levels, first, counts = np.unique(codes, return_index=True, return_counts=True)
    colors = picture.reshape(-1, picture.shape[-1])[first].astype(np.int32)
    filled = np.isin(levels, codes[flat(codes)])
    if len(levels) > 8 and filled.mean() < 0.9:
        return _noisy_label_levels(picture, path), True
    if not filled.any():
        return colors.astype(np.uint8), False
    areas = np.flatnonzero(filled)
    thin = np.flatnonzero(~filled & (counts >= (1 if len(levels) <= 8 else 16)))
    unblended = [i for i in thin if not _is_blend(codes == levels[i], colors[i], codes, levels[areas], colors[areas])]
    return colors[np.union1d(areas, unblended).astype(np.int64)].astype(np.uint8), False


def _noisy_label_levels(picture: Array, path: Path) -> Array:
    """Find the label levels (n, c) uint8, increasing, of a (h, w, c) uint8 picture with JPEG noise.

    The most frequent colours of calm areas are chosen greedily, each more than ``NOISE`` from the others. A mixture of
    two chosen colours is skipped, unless it fills an area.
    """
    window = np.ones((3, 3), np.uint8)
    spread = (cv2.dilate(picture, window).astype(np.int16) - cv2.erode(picture, window)).reshape(picture.shape)
    calm = picture[(spread <= NOISE / 2).all(-1)]
    levels, first, counts = np.unique(_color_codes(calm), return_index=True, return_counts=True)
    colors = calm[first].astype(np.int16)
    chosen: list[Array] = []
    free = np.ones(len(levels), bool)
    while free.any() and len(chosen) <= _MAX_LABEL_LEVELS:
        best = colors[np.where(free, counts, 0).argmax()]
        near = free & (np.abs(colors - best).max(-1) <= NOISE)
        free &= ~near
        large = counts[near].sum() >= max(9, 1e-4 * spread[..., 0].size)
        if large and (
            _fills_block(picture, best) or not any(_is_mixture(best, np.stack(c), 12) for c in combinations(chosen, 2))
        ):
            chosen.append(best)
    if not chosen:
        raise InputError(_photograph_message(path))
    label_colors = np.array(chosen, np.uint8)
    return label_colors[np.argsort(_color_codes(label_colors))]


def _fills_block(picture: Array, color: Array) -> bool:
    """Return True if `color`, within half the noise, fills an area of 7 x 7 pixels.

    A ramp between two other colours does not.
    """
    near = (np.abs(picture.astype(np.int16) - color).max(-1) <= NOISE / 2).astype(np.uint8)
    return bool(cv2.erode(near, np.ones((7, 7), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0).any())


def _is_blend(pixels: Array, color: Array, codes: Array, levels: Array, colors: Array) -> bool:
    """Return True if at least half of `pixels` lie between two or three levels that mix to `color`.

    Parameters
    ----------
    pixels : (h, w) bool
    color : (c,) int32
        Colour of the pixels.
    codes : (h, w) int64
        Colour codes of the picture.
    levels : (n,) int64
        Colour codes of the levels that fill an area.
    colors : (n, c) int32
        Colours of these levels.
    """
    window = np.ones((5, 5), np.uint8)
    around = codes[cv2.dilate(pixels.astype(np.uint8), window) > 0]
    near = [i for i in np.flatnonzero(np.isin(levels, around)) if levels[i] not in codes[pixels]][:12]
    sides = [cv2.dilate((codes == levels[i]).astype(np.uint8), window)[pixels] > 0 for i in near]
    for group in chain(combinations(range(len(near)), 2), combinations(range(len(near)), 3)):
        between = np.mean(np.logical_and.reduce([sides[n] for n in group])) >= 0.5
        if between and _is_mixture(color, np.stack([colors[near[n]] for n in group])):
            return True
    return False


def _is_mixture(color: Array, colors: Array, slack: float = 6) -> bool:
    """Return True if `color` (c,) is a convex combination of `colors` (n, c), within `slack` grey levels."""
    system = np.vstack([colors.T, np.full(len(colors), 255)]).astype(float)
    goal = np.append(color, 255).astype(float)
    shares = np.linalg.lstsq(system, goal, rcond=None)[0]
    return bool(shares.min() >= 0 and np.abs(system @ shares - goal).max() <= slack)


def snap_to_labels(picture: Array, keep: Array, noisy: bool, path: Path) -> tuple[Array, int]:
    """Replace the colour of every pixel by a label level.

    A pixel that equals a label level, or lies within ``NOISE / 2`` of it in a noisy picture, takes that level. Any
    other pixel takes the level of the spatially nearest pixel that has a level.

    Parameters
    ----------
    picture : (h, w, c) uint8
    keep : (n, c) uint8
        Label levels.
    noisy : bool
        The picture has JPEG noise. Without noise, only equal colours match.
    path : Path
        File of the picture, for messages.

    Returns
    -------
    picture : (h, w, c) uint8
    doubtful : int
        Number of pixels that did not equal a label level.

    Raises
    ------
    InputError
        Too few pixels lie near a label level: the picture is a photograph.
    """
    exact, near, certain = (np.zeros(picture.shape[:2], bool) for _ in range(3))
    out = picture.copy()
    for color in keep:
        deviation = np.abs(picture.astype(np.int16) - color).max(-1)
        exact |= deviation == 0
        near |= deviation <= (NOISE / 4 if noisy else 0)
        matching = (deviation <= (NOISE / 2 if noisy else 0)) & ~certain
        out[matching] = color
        certain |= matching
    if near.mean() < (_MIN_CERTAIN_FRACTION_OF_MANY if noisy and len(keep) > _MANY_LEVELS else _MIN_CERTAIN_FRACTION):
        raise InputError(_photograph_message(path))
    if certain.all():
        return out, int((~exact).sum())
    _, index = cv2.distanceTransformWithLabels(
        (~certain).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    color_of_index = np.zeros((int(index.max()) + 1, picture.shape[2]), picture.dtype)
    color_of_index[index[certain]] = out[certain]
    return color_of_index[index], int((~exact).sum())


def _photograph_message(path: Path) -> str:
    return (
        f"{path}: this looks like a photograph, not a mask; save the mask as an indexed PNG with ids 1..K, and where "
        "both are asked for give the picture first"
    )


def snapped_note(path: Path, doubtful: int, levels: str) -> tuple[str, ...]:
    """Return a note on the number of pixels that did not equal a label level.

    Parameters
    ----------
    path : Path
        File of the mask.
    doubtful : int
        Number of the pixels.
    levels : str
        ``grey levels`` or ``colours``.

    Returns
    -------
    tuple of str
        The note, or nothing if `doubtful` is 0.
    """
    if not doubtful:
        return ()
    return (f"{path.name}: {doubtful} pixels of in-between {levels} took the label of the nearest certain pixel",)
