"""Masks painted by hand on a view: what their borders and unmarked pixels are worth (docs/adr/0012).

A mask whose borders coincide with borders of faces is exact, and every pixel of it counts. Other masks were painted:
pixels near a border between parts are doubtful, and unmarked pixels near paint are unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimecore.array_types import Array
from slimecore.io.masks import IGNORE

__all__ = ["PaintedMask", "interpret_mask"]

_MAX_INEXACT_SHARE = 0.1  # share of border pixels within faces, beside the share of any two neighbours; exact below
_MAX_SPILL_SHARE = 0.1  # share of the ground along the silhouette that is marked; exact below
_BAND_PIXELS = 8.0  # at 512 pixels: nearer to a border between two parts, a pixel is doubtful
_REACH_PIXELS = 12.0  # at 512 pixels: unmarked pixels up to here from paint are unknown
_MAX_BAND_SHARE = 0.5  # of the largest distance to the border in a painted region: thin regions keep a core
_MIN_REST_SHARE = 0.005  # share of the visible object; smaller unmarked regions beyond the reach are unknown
_VIEW_PIXELS = 512


@dataclass(frozen=True, slots=True, eq=False)
class PaintedMask:
    """A mask with the certainty of its pixels.

    Parameters
    ----------
    labels : (h, w) int32
        Part values, 0 = the rest of the object, `IGNORE` = unknown.
    weight : (h, w) float32
        Certainty of the label, 0..1.
    is_exact : bool
        Borders coincide with borders of faces. All weights are 1, no label is changed.
    unknown_share : float
        Share of the visible object that is unmarked and taken as unknown.
    """

    labels: Array
    weight: Array
    is_exact: bool
    unknown_share: float


def interpret_mask(labels: Array, face_id: Array) -> PaintedMask:
    """Find what is certain in a mask.

    Parameters
    ----------
    labels : (h, w) int32
        Part values, 0 = unmarked, `IGNORE` = unknown.
    face_id : (h, w) int32
        Face shown by every pixel, -1 = none.

    Returns
    -------
    PaintedMask
    """
    visible = face_id >= 0
    if _is_exact(labels, face_id):
        return PaintedMask(labels, np.ones(labels.shape, np.float32), is_exact=True, unknown_share=0.0)
    scale = max(labels.shape) / _VIEW_PIXELS
    unmarked = visible & (labels == 0)
    rest = _find_rest(labels, visible, _REACH_PIXELS * scale)
    found = np.where(unmarked & ~rest, IGNORE, labels)
    weight = _certainty(np.where(visible, found, IGNORE), _BAND_PIXELS * scale)
    unknown = float((unmarked & ~rest).sum() / max(1, visible.sum()))
    return PaintedMask(found, weight, is_exact=False, unknown_share=unknown)


def _neighbours(values: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return the values of all horizontal and of all vertical neighbours."""
    return (values[:, :-1], values[:, 1:]), (values[:-1], values[1:])


def _is_exact(labels: Array, face_id: Array) -> bool:
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

    unmarked = visible & (labels == 0)
    far = unmarked & (distance_transform_edt(labels <= 0) > reach)
    regions, count = label(far, np.ones((3, 3)))
    large = np.bincount(regions.ravel(), minlength=count + 1) >= _MIN_REST_SHARE * visible.sum()
    large[0] = False
    return np.asarray(large[regions])


def _certainty(labels: Array, band: float) -> Array:
    """Return the weight (h, w) of every pixel: 1 off borders between two labels, falling towards them.

    Unknown pixels belong to the nearest label, so that two paints with a gap between them have their border in the
    middle of the gap.
    """
    from scipy.ndimage import distance_transform_edt, label

    weight = np.zeros(labels.shape, np.float32)
    for value in np.unique(labels[labels >= 0]):
        own = labels == value
        distance = distance_transform_edt((labels == value) | (labels == IGNORE))
        regions, count = label(own, np.ones((3, 3)))
        largest = np.zeros(count + 1)
        np.maximum.at(largest, regions[own], distance[own])
        local = np.minimum(band, _MAX_BAND_SHARE * largest)[regions[own]]
        weight[own] = np.minimum(1, distance[own] / np.maximum(local, 1e-9)) ** 2
    return weight
