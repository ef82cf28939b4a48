"""Evidence: what several sources say about the part of every face, added up before anything is decided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimecore.array_types import Array

__all__ = ["FaceVotes", "cast_votes"]


@dataclass(frozen=True, slots=True, eq=False)
class FaceVotes:
    """Soft votes of one source.

    Parameters
    ----------
    votes : (F, P) float64
        Votes >= 0 of every face for every part row; a face without votes has a row of zeros.
    certain : bool
        The faces it votes on keep its verdict (an annotation). False: they are drawn to it, as strongly as the votes
        weigh against the bonds to the neighbours (appearance).
    """

    votes: Array
    is_fixed: bool


def cast_votes(face_id: Array, soft: Array, faces: int) -> Array:
    """Votes (F, P) of soft labels, summed over the pixels that show a face.

    Parameters
    ----------
    face_id : (N, h, w) int32
        -1 = none.
    soft : (N, P, h, w) float, or (N, h, w) int
        Probabilities, or rows with -1 for pixels that say nothing.
    faces : int
        F.

    Notes
    -----
    Pixel counts carry the cosine of the viewing angle already; a further normal weight makes things worse.
    """
    shown = face_id >= 0
    ids = face_id[shown]
    if soft.ndim == 3:
        rows = soft[shown]
        says = rows >= 0
        parts = int(soft.max()) + 1
        flat = np.bincount(ids[says].astype(np.int64) * parts + rows[says], minlength=faces * parts)
        return flat.reshape(faces, parts).astype(np.float64)
    return np.stack([np.bincount(ids, soft[:, p][shown], minlength=faces) for p in range(soft.shape[1])], 1)
