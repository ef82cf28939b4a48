"""Votes of several sources for the part of every face, summed before labels are decided (docs/adr/0012)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimecore.array_types import Array

__all__ = ["FaceVotes", "annotation_votes", "cast_votes"]

_DOUBTFUL_WEIGHT = 0.01  # of a face that shows doubtful pixels alone, times their mean weight, beside edge weights


@dataclass(frozen=True, slots=True, eq=False)
class FaceVotes:
    """Soft votes of a single source of evidence.

    Parameters
    ----------
    votes : (F, P) float64
        Non-negative votes of every face for every part row. A face without votes has a row of zeros.
    is_fixed : bool
        True: voted faces keep these votes (an annotation). False: votes pull a face with their weight, against the
        weights of the edges to its neighbours (symmetry, appearance).
    """

    votes: Array
    is_fixed: bool


def cast_votes(face_id: Array, soft: Array, faces: int, weight: Array | None = None) -> Array:
    """Sum the labels of all pixels that show a face to votes (F, P).

    Parameters
    ----------
    face_id : (N, h, w) int32
        Face shown by every pixel, -1 = none.
    soft : (N, P, h, w) float, or (N, h, w) int
        Probabilities of P parts, or part rows with -1 for unlabelled pixels.
    faces : int
        F.
    weight : (N, h, w) float, optional
        Weight of every pixel, for rows. The default is 1.

    Returns
    -------
    (F, P) float64
        Pixel counts or sums of probabilities. P is the largest row plus one if `soft` holds rows.

    Notes
    -----
    Pixel counts carry the cosine of the viewing angle already. A further normal weight lowers the IoU.
    """
    visible = face_id >= 0
    ids = face_id[visible]
    if soft.ndim == 3:
        rows = soft[visible]
        labelled = rows >= 0
        parts = int(soft.max()) + 1
        cells = ids[labelled].astype(np.int64) * parts + rows[labelled]
        flat = np.bincount(cells, None if weight is None else weight[visible][labelled], minlength=faces * parts)
        return flat.reshape(faces, parts).astype(np.float64)
    return np.stack([np.bincount(ids, soft[:, p][visible], minlength=faces) for p in range(soft.shape[1])], 1)


def annotation_votes(face_id: Array, rows: Array, weight: Array | None, shape: tuple[int, int]) -> list[FaceVotes]:
    """Cast the votes of annotated views: fixed ones of certain pixels, soft ones of faces with doubtful pixels alone.

    Parameters
    ----------
    face_id : (A, h, w) int32
        Face shown by every pixel, -1 = none.
    rows : (A, h, w) int
        Part row at every pixel, -1 = unlabelled.
    weight : (A, h, w) float32, optional
        Certainty of every pixel, 0..1. The default is 1.
    shape : (int, int)
        F and P.

    Returns
    -------
    list of FaceVotes
        Fixed votes (F, P), and soft votes (F, P) if a pixel is doubtful.
    """
    faces, parts = shape
    certain = rows if weight is None else np.where(weight >= 1, rows, -1)
    fixed = _padded(cast_votes(face_id, certain, faces), parts)
    if weight is None or (weight >= 1).all():
        return [FaceVotes(fixed, is_fixed=True)]
    soft = _padded(cast_votes(face_id, rows, faces, weight), parts)
    soft[fixed.any(1)] = 0
    soft *= _DOUBTFUL_WEIGHT / np.bincount(face_id[face_id >= 0], minlength=faces).clip(1)[:, None]
    return [FaceVotes(fixed, is_fixed=True), FaceVotes(soft, is_fixed=False)]


def _padded(votes: Array, parts: int) -> Array:
    """Return votes (F, P) with zeros for the last parts, of which no pixel votes."""
    return np.pad(votes, ((0, 0), (0, parts - votes.shape[1])))
