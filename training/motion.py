"""Affine motion: how surfaces and the camera move between the frames of a clip."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Motion", "about", "affine", "rotation"]


@dataclass(eq=False)
class Motion:
    """Affine motion at full time: shift in pixels, log zoom, turn, log stretch along an axis."""

    shift: np.ndarray
    zoom: float
    turn: float
    stretch: float
    axis: float

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int, reach: float) -> "Motion":
        """Draw a motion for frames of ``size`` pixels; ``reach`` 1 is the wildest."""
        shift = rng.normal(0, 0.16, 2) * size * reach
        return cls(
            np.clip(shift, -0.4 * size, 0.4 * size),
            float(np.clip(rng.normal(0, 0.22) * reach, -0.5, 0.47)),
            float(rng.normal(0, 0.28) * reach),
            float(np.clip(rng.normal(0, 0.16) * reach, -0.5, 0.5)),
            rng.uniform(0, np.pi),
        )

    def at(self, time: float) -> np.ndarray:
        """Give the (3, 3) map at a time in [0, 1]; 0 is the identity."""
        grow = rotation(self.axis) @ np.diag([np.exp(self.stretch * time), 1.0]) @ rotation(-self.axis)
        return affine(np.exp(self.zoom * time) * rotation(self.turn * time) @ grow, self.shift * time)


def rotation(angle: float) -> np.ndarray:
    """Rotate the plane by an angle in radians: (2, 2)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def affine(linear: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Join a (2, 2) linear part and a shift to a (3, 3) matrix."""
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, shift
    return matrix


def about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotate space about a unit axis by an angle in radians (Rodrigues): (3, 3)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
