"""One drawn batch, several lessons: mirrored, transposed, with other colour channels and the frames exchanged.

Drawing takes longer than a step of the descriptor, and a mirrored clip is as good a clip as the one that was drawn.
"""

import numpy as np

from training.pairs import CELL, Batch

__all__ = ["varied"]


def _mirror(planes: list[np.ndarray], positions: np.ndarray, axis: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Mirror frames (b, 2, rows, columns, ...) along rows (2) or columns (3), and where their places lie."""
    size = positions.shape[2] * CELL
    xy = 1 if axis == 2 else 0
    positions = np.flip(positions, axis).copy()
    positions[..., xy] = size - positions[..., xy]
    return [np.flip(plane, axis) for plane in planes], positions


def varied(batch: Batch, rng: np.random.Generator) -> Batch:
    """Exchange frames and channels, mirror and transpose by chance; the ground truth goes along.

    Parameters
    ----------
    batch : Batch
    rng : numpy.random.Generator

    Returns
    -------
    Batch
        Of the same shapes; the correspondence stays exact.
    """
    side = batch.rgb.shape[2] // CELL
    flat = (batch.objects, batch.parts, batch.visible)
    planes = [batch.rgb[..., rng.permutation(3)], *(a.reshape(*a.shape[:2], side, side) for a in flat)]
    positions = batch.positions.reshape(*batch.positions.shape[:2], side, side, 2)
    exchange, *mirrors, transpose = rng.integers(0, 2, 4)
    if exchange:
        planes, positions = [plane[:, ::-1] for plane in planes], positions[:, ::-1]
    for axis, wanted in zip((2, 3), mirrors, strict=True):
        if wanted:
            planes, positions = _mirror(planes, positions, axis)
    if transpose:
        planes, positions = [plane.swapaxes(2, 3) for plane in planes], positions.swapaxes(2, 3)[..., ::-1]
    rgb, objects, parts, visible = (np.ascontiguousarray(plane) for plane in planes)
    return Batch(
        rgb,
        objects.reshape(batch.objects.shape),
        parts.reshape(batch.parts.shape),
        np.ascontiguousarray(positions).reshape(batch.positions.shape),
        visible.reshape(batch.visible.shape),
    )
