"""Masks painted by hand on a view: what their borders and unmarked pixels are worth (docs/adr/0012).

A mask whose borders coincide with borders of faces is exact, and every pixel of it counts. Other masks were painted:
pixels near a border between parts are doubtful, and unmarked pixels near paint are unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimecore.array_types import Array
from slimecore.io.masks import IGNORE

__all__ = ["PaintedMask", "interpret_mask", "is_exact", "marked_beside"]

_MAX_INEXACT_SHARE = 0.1  # share of border pixels within faces, beside the share of any two neighbours; exact below
_MAX_SPILL_SHARE = 0.1  # share of the ground along the silhouette that is marked; exact below
_BAND_PIXELS = 8.0  # at 512 pixels: nearer to a border between two parts, a pixel is doubtful
_REACH_PIXELS = 12.0  # at 512 pixels: unmarked pixels up to here from paint are unknown
_MIN_CERTAIN_SHARE = 0.2  # of the painted pixels of a face; a face with fewer certain ones is doubtful as a whole
_MAX_DOUBTFUL_WEIGHT = 0.9  # of the pixels of a face that is doubtful as a whole
_MAX_GAP_WEIGHT = 0.3  # of an unmarked pixel near paint, beside 1 of a certain pixel
_MAX_BAND_SHARE = 0.5  # of the largest distance to the border in a painted region: thin regions keep a core
_MIN_REST_SHARE = 0.005  # share of the visible object; smaller unmarked regions beyond the reach are unknown
_VIEW_PIXELS = 512


@dataclass(frozen=True, slots=True, eq=False)
class PaintedMask:
    """A mask with the certainty of its pixels.

    Parameters
    ----------
    labels : (h, w) int32
        Part values, 0 = the rest of the object, `IGNORE` = unknown. Gaps hold the nearest label.
    weight : (h, w) float32
        Certainty of the label, 0..1.
    gap : (h, w) bool
        Unmarked pixels of the object that are taken as unknown.
    rest : (h, w) bool
        Unmarked pixels of the object that are taken as the rest.
    """

    labels: Array
    weight: Array
    gap: Array
    rest: Array


def interpret_mask(labels: Array, face_id: Array, unlabelled_faces: str = "auto") -> PaintedMask:
    """Find what is certain in a mask that was painted by hand.

    Parameters
    ----------
    labels : (h, w) int32
        Part values, 0 = unmarked, `IGNORE` = unknown.
    face_id : (h, w) int32
        Face shown by every pixel, -1 = none.
    unlabelled_faces : str
        Meaning of 0 on the object: ``part`` = the rest, ``ignore`` = unknown, ``auto`` = unknown near paint.

    Returns
    -------
    PaintedMask
    """
    visible = face_id >= 0
    scale = max(labels.shape) / _VIEW_PIXELS
    unmarked = visible & (labels == 0)
    if unlabelled_faces == "auto":
        rest = _find_rest(labels, visible, _REACH_PIXELS * scale)
    else:
        rest = unmarked & (unlabelled_faces == "part")
    gap = unmarked & ~rest
    found = np.where(visible & ~gap, labels, IGNORE)
    filled = found if unlabelled_faces == "ignore" else _fill(found, gap)
    band = _border_error(labels > 0, visible, _BAND_PIXELS * scale)
    weight = _doubt_faces(_certainty(filled, found >= 0, gap, band), found >= 0, face_id)
    return PaintedMask(filled, weight, gap, rest)


def marked_beside(labels: Array, face_id: Array) -> float:
    """Return the share of the marked pixels that lie beside the object, farther than a brush spills."""
    from scipy.ndimage import distance_transform_edt

    reach = _REACH_PIXELS * max(labels.shape) / _VIEW_PIXELS
    return float((distance_transform_edt(face_id < 0)[labels > 0] > reach).mean())


def _border_error(painted: Array, visible: Array, most: float) -> float:
    """Return how many pixels from a border to certainty, as exact as the outline was painted, at most `most`.

    An outline that fits tells nothing, as programs can clip paint at the object.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    off_outline = np.where(visible, distance_transform_edt(visible), distance_transform_edt(~visible))
    near = (painted & ~binary_erosion(painted)) & (off_outline <= 2 * most)
    error = float(np.quantile(off_outline[near], 0.95)) - 1 if near.any() else most
    return min(most, 2 * error) if error > 0 else most


def _neighbours(values: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return the values of all horizontal and of all vertical neighbours."""
    return (values[:, :-1], values[:, 1:]), (values[:-1], values[1:])


def is_exact(labels: Array, face_id: Array) -> bool:
    """Return whether borders of the mask lie on borders of faces, and on the silhouette."""
    borders = within = pairs = same = spill = ground = 0
    for (a, b), (f, g) in zip(_neighbours(labels), _neighbours(face_id), strict=True):
        shown = (f >= 0) & (g >= 0)
        border = shown & (a != b) & (a >= 0) & (b >= 0)
        borders, within = borders + int(border.sum()), within + int((border & (f == g)).sum())
        pairs, same = pairs + int(shown.sum()), same + int((shown & (f == g)).sum())
        for outside, inside, label in ((f, g, a), (g, f, b)):
            edge = (outside < 0) & (inside >= 0)
            ground, spill = ground + int(edge.sum()), spill + int((edge & (label > 0)).sum())
    expected = borders * same / max(1, pairs)
    return within <= _MAX_INEXACT_SHARE * expected and spill <= _MAX_SPILL_SHARE * ground


def _find_rest(labels: Array, visible: Array, reach: float) -> Array:
    """Return a mask (h, w) of the unmarked pixels that are the rest of the object: large, and off all paint."""
    from scipy.ndimage import distance_transform_edt, label

    far = visible & (labels == 0) & (distance_transform_edt(labels <= 0) > reach)
    regions, count = label(far, np.ones((3, 3)))
    large = np.bincount(regions.ravel(), minlength=count + 1) >= _MIN_REST_SHARE * visible.sum()
    large[0] = False
    return np.asarray(large[regions])


def _fill(labels: Array, gap: Array) -> Array:
    """Return labels (h, w) with the nearest label in the gaps."""
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(labels < 0, return_distances=False, return_indices=True)
    return np.where(gap, labels[tuple(nearest)], labels)


def _certainty(labels: Array, painted: Array, gap: Array, band: float) -> Array:
    """Return the weight (h, w) of every pixel: 1 off borders between two labels, falling towards them.

    Parameters
    ----------
    labels : (h, w) int32
        Labels, with gaps filled.
    painted : (h, w) bool
        Pixels that hold paint, or are the rest.
    gap : (h, w) bool
    band : float
        Pixels from a border to certainty.
    """
    from scipy.ndimage import distance_transform_edt, label

    weight = np.zeros(labels.shape, np.float32)
    for value in np.unique(labels[labels >= 0]):
        own = labels == value
        other = (labels >= 0) & ~own
        distance = distance_transform_edt(~other)
        touched = distance_transform_edt(~(other & painted))
        regions, count = label(own, np.ones((3, 3)))
        largest = np.zeros(count + 1)
        np.maximum.at(largest, regions[own], distance[own])
        local = np.minimum(band, _MAX_BAND_SHARE * largest)[regions]
        soft = np.minimum(1, distance / np.maximum(local, 1e-9)) ** 2
        sure = np.minimum(1, touched / np.maximum(local, 1e-9)) ** 2
        weight[own] = np.where(gap, np.minimum(soft, _MAX_GAP_WEIGHT), sure)[own]
    return weight


def _doubt_faces(weight: Array, painted: Array, face_id: Array) -> Array:
    """Return the weight (h, w) with no certain pixel on faces of which few painted pixels are certain.

    A large face, wholly inside a part, gets little but spill of its neighbour if the brush just passes its border.
    """
    count = int(face_id.max()) + 1
    certain = np.bincount(face_id[painted & (weight >= 1)], minlength=count)
    doubtful = certain < _MIN_CERTAIN_SHARE * np.bincount(face_id[painted], minlength=count)
    return np.where((face_id >= 0) & doubtful[face_id.clip(0)], weight.clip(max=_MAX_DOUBTFUL_WEIGHT), weight)
