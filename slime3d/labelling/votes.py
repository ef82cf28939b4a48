"""Votes of several sources for the part of every face, summed before labels are decided (docs/adr/0012)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimecore.array_types import Array

__all__ = ["FaceVotes", "cast_votes"]


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


def cast_votes(face_id: Array, soft: Array, faces: int) -> Array:
    """Sum the labels of all pixels that show a face to votes (F, P).

    Parameters
    ----------
    face_id : (N, h, w) int32
        Face shown by every pixel, -1 = none.
    soft : (N, P, h, w) float, or (N, h, w) int
        Probabilities of P parts, or part rows with -1 for unlabelled pixels.
    faces : int
        F.

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
        flat = np.bincount(ids[labelled].astype(np.int64) * parts + rows[labelled], minlength=faces * parts)
        return flat.reshape(faces, parts).astype(np.float64)
    return np.stack([np.bincount(ids, soft[:, p][visible], minlength=faces) for p in range(soft.shape[1])], 1)
