"""Which grey levels or colours of a mask are meant, and which are anti-aliasing or JPEG noise."""

from __future__ import annotations

from itertools import chain, combinations
from pathlib import Path

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.errors import InputError

__all__ = ["NOISE", "filled_share", "flat", "label_levels", "snap_to_labels", "snapped_note"]

NOISE = 24  # levels that JPEG moves a flat area by, at most
_MOST = 255  # more levels than any mask has
_SURE = 0.5  # a picture with fewer pixels near its main levels is no mask
_MANY, _SURE_OF_MANY = 16, 0.7  # of so many noisy levels: masks as JPEG of quality 50 have .83, photos .54


def _codes(picture: Array) -> Array:
    """One number a colour, ordered as the colours are; (h, w, c) or (n, c) uint8."""
    code = np.zeros(picture.shape[:-1], np.int64)
    for channel in range(picture.shape[-1]):
        code = code * 256 + picture[..., channel]
    return code


def flat(codes: Array) -> Array:
    """Pixels that look like all their neighbours; (h, w) bool."""
    plane, window = codes.astype(np.float32), np.ones((3, 3), np.uint8)  # exact to 2 ** 24, three channels
    return np.asarray(cv2.erode(plane, window) == cv2.dilate(plane, window))


def filled_share(codes: Array) -> float:
    """Share of the levels that fill a 3 x 3 pixel area somewhere."""
    return len(np.unique(codes[flat(codes)])) / len(np.unique(codes))


def label_levels(picture: Array, path: Path) -> tuple[Array, bool]:
    """Levels (n, c) that are meant, increasing, and whether the picture is noisy (JPEG): then others lie near them."""
    codes = _codes(picture)
    levels, first, counts = np.unique(codes, return_index=True, return_counts=True)
    colors = picture.reshape(-1, picture.shape[-1])[first].astype(np.int32)
    filled = np.isin(levels, codes[flat(codes)])
    if len(levels) > 8 and filled.mean() < 0.9:
        return _distinct_levels(picture, path), True
    if not filled.any():
        return colors.astype(np.uint8), False
    keep = np.flatnonzero(filled)
    thin = np.flatnonzero(~filled & (counts >= (1 if len(levels) <= 8 else 16)))
    own = [i for i in thin if not _blend(codes == levels[i], colors[i], codes, levels[keep], colors[keep])]
    return colors[np.union1d(keep, own).astype(np.int64)].astype(np.uint8), False


def _distinct_levels(picture: Array, path: Path) -> Array:
    """Colours (n, c) of calm areas that lie apart from those of larger areas, increasing."""
    window = np.ones((3, 3), np.uint8)
    spread = (cv2.dilate(picture, window).astype(np.int16) - cv2.erode(picture, window)).reshape(picture.shape)
    calm = picture[(spread <= NOISE / 2).all(-1)]
    levels, first, counts = np.unique(_codes(calm), return_index=True, return_counts=True)
    colors = calm[first].astype(np.int16)
    chosen: list[Array] = []
    free = np.ones(len(levels), bool)
    while free.any() and len(chosen) <= _MOST:
        best = colors[np.where(free, counts, 0).argmax()]
        near = free & (np.abs(colors - best).max(-1) <= NOISE)
        free &= ~near
        large = counts[near].sum() >= max(9, 1e-4 * spread[..., 0].size)
        if large and (_block(picture, best) or not any(_mixes(best, np.stack(c), 12) for c in combinations(chosen, 2))):
            chosen.append(best)
    if not chosen:
        raise InputError(_photo(path))
    found = np.array(chosen, np.uint8)
    return found[np.argsort(_codes(found))]


def _block(picture: Array, color: Array) -> bool:
    """Whether the colour, more or less, fills a 7 x 7 pixel area; a ramp between two others does not."""
    near = (np.abs(picture.astype(np.int16) - color).max(-1) <= NOISE / 2).astype(np.uint8)
    return bool(cv2.erode(near, np.ones((7, 7), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0).any())


def _blend(pixels: Array, color: Array, codes: Array, levels: Array, colors: Array) -> bool:
    """Whether most of the pixels lie between areas of two colours whose mixture they show."""
    window = np.ones((5, 5), np.uint8)
    around = codes[cv2.dilate(pixels.astype(np.uint8), window) > 0]
    near = [i for i in np.flatnonzero(np.isin(levels, around)) if levels[i] not in codes[pixels]][:12]
    sides = [cv2.dilate((codes == levels[i]).astype(np.uint8), window)[pixels] > 0 for i in near]
    for group in chain(combinations(range(len(near)), 2), combinations(range(len(near)), 3)):
        between = np.mean(np.logical_and.reduce([sides[n] for n in group])) >= 0.5
        if between and _mixes(color, np.stack([colors[near[n]] for n in group])):
            return True
    return False


def _mixes(color: Array, colors: Array, slack: float = 6) -> bool:
    """Whether a colour is a mixture, shares 0..1 adding to 1, of (n, c) others."""
    system = np.vstack([colors.T, np.full(len(colors), 255)]).astype(float)
    goal = np.append(color, 255).astype(float)
    shares = np.linalg.lstsq(system, goal, rcond=None)[0]
    return bool(shares.min() >= 0 and np.abs(system @ shares - goal).max() <= slack)


def snap_to_labels(picture: Array, keep: Array, noisy: bool, path: Path) -> tuple[Array, int]:
    """Give every pixel a colour of `keep` (n, c): its own, one within the noise, else the spatially nearest one.

    Returns the picture and how many pixels were not exact.
    """
    exact, sure, certain = (np.zeros(picture.shape[:2], bool) for _ in range(3))
    out = picture.copy()
    for color in keep:
        off = np.abs(picture.astype(np.int16) - color).max(-1)
        exact |= off == 0
        sure |= off <= (NOISE / 4 if noisy else 0)
        close = (off <= (NOISE / 2 if noisy else 0)) & ~certain
        out[close] = color
        certain |= close
    if sure.mean() < (_SURE_OF_MANY if noisy and len(keep) > _MANY else _SURE):
        raise InputError(_photo(path))
    if certain.all():
        return out, int((~exact).sum())
    _, index = cv2.distanceTransformWithLabels(
        (~certain).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    source = np.zeros((int(index.max()) + 1, picture.shape[2]), picture.dtype)
    source[index[certain]] = out[certain]
    return source[index], int((~exact).sum())


def _photo(path: Path) -> str:
    return (
        f"{path}: this looks like a photograph, not a mask; save the mask as an indexed PNG with ids 1..K, and where "
        "both are asked for give the picture first"
    )


def snapped_note(path: Path, doubtful: int, what: str) -> tuple[str, ...]:
    """Note on how many pixels were no meant level; empty when there were none."""
    if not doubtful:
        return ()
    return (f"{path.name}: {doubtful} pixels of in-between {what} took the label of the nearest certain pixel",)
