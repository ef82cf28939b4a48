"""Surfaces that a scene is made of: where each of their points lies in every frame, and how they are painted.

Two kinds share one interface. A ``Leaf`` is a flat patch under an affine pose and two shear waves; a
``Ball`` is an ellipsoid that may turn about any axis. Both maps, frame -> surface and surface -> frame, are
closed forms, so the correspondence between two frames is exact wherever both see the point.

Frame positions are xy in pixels, pixel ``(row, col)`` having its centre at ``(col + 0.5, row + 0.5)``.
"""

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Ball", "Canvas", "Leaf", "Surface", "invert_affine"]


def invert_affine(pose: np.ndarray) -> np.ndarray:
    """Inverse of a (2, 3) affine map."""
    linear = np.linalg.inv(pose[:, :2])
    return np.hstack([linear, -linear @ pose[:, 2:]])


def _apply(pose: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pose = pose.astype(np.float32)
    return (pose[0, 0] * x + pose[0, 1] * y + pose[0, 2], pose[1, 0] * x + pose[1, 1] * y + pose[1, 2])


@dataclass(eq=False)
class Canvas:
    """One frame while it is painted.

    Attributes
    ----------
    rgb : (h, w, 3) float32 in [0, 255]
    layer : (h, w) int16
        Index of the surface seen; -1 where nothing was painted.
    coords : (h, w, 3) float32
        Surface coordinates of the point seen.
    """

    rgb: np.ndarray
    layer: np.ndarray
    coords: np.ndarray

    @classmethod
    def blank(cls, height: int, width: int) -> "Canvas":
        """Black, nothing painted."""
        return cls(
            np.zeros((height, width, 3), np.float32),
            np.full((height, width), -1, np.int16),
            np.zeros((height, width, 3), np.float32),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Surface:
    """What all surfaces share.

    Attributes
    ----------
    rgba : (p, p, 4) uint8
        Colours and silhouette of the patch, which spans [-1, 1] x [-1, 1].
    normals : (p, p, 2) float32 or None
        x and y of the unit normals; None is flat and unshaded.
    poses : (frames, 2, 3) float64
        Patch -> frame affine maps.
    object_id : int
        0 is background.
    endless : bool
        The texture goes on, mirrored, beyond the patch (backgrounds).
    """

    rgba: np.ndarray
    normals: np.ndarray | None
    poses: np.ndarray
    object_id: int
    endless: bool = False

    reach = 1.15

    def window(self, frame: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Rows and columns (top, bottom, left, right) that may show the surface; empty if bottom <= top."""
        if self.endless:
            return 0, height, 0, width
        corner = self.reach
        x, y = _apply(
            self.poses[frame],
            np.array([-corner, corner, corner, -corner], np.float32),
            np.array([-corner, -corner, corner, corner], np.float32),
        )
        top, bottom = int(np.floor(y.min())), int(np.ceil(y.max()))
        left, right = int(np.floor(x.min())), int(np.ceil(x.max()))
        return max(top, 0), min(bottom, height), max(left, 0), min(right, width)

    def unproject(self, frame: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Frame positions -> surface coordinates, (..., 3) float32."""
        raise NotImplementedError

    def project(self, frame: int, coords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Surface coordinates (n, 3) -> frame positions (n, 2) and whether they face the viewer (n,) bool."""
        raise NotImplementedError

    def _patch(self, coords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return coords[..., 0], coords[..., 1]

    def _silhouette(self, frame: int, x: np.ndarray, y: np.ndarray, rgba: np.ndarray) -> np.ndarray:
        return rgba[..., 3] * np.float32(1 / 255)

    def _shade(self, frame: int, x: np.ndarray, y: np.ndarray, maps: tuple, light: np.ndarray) -> np.ndarray | None:
        if self.normals is None:
            return None
        turn = self.poses[frame, :, :2] / max(np.sqrt(abs(np.linalg.det(self.poses[frame, :, :2]))), 1e-6)
        local = turn.T @ light[:2]
        normal = cv2.remap(self.normals, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        flat = np.sqrt(np.clip(1 - normal[..., 0] ** 2 - normal[..., 1] ** 2, 0, 1))
        return normal[..., 0] * local[0] + normal[..., 1] * local[1] + flat * light[2]

    def paint(self, frame: int, canvas: Canvas, index: int, light: np.ndarray) -> None:
        """Draw over what the canvas holds.

        Parameters
        ----------
        frame : int
        canvas : Canvas
            Changed in place.
        index : int
            Number to write where the surface is seen.
        light : (4,) float
            Unit direction towards the light (x, y, z to the viewer) and the ambient share in [0, 1].
        """
        height, width = canvas.layer.shape
        top, bottom, left, right = self.window(frame, height, width)
        if bottom <= top or right <= left:
            return
        x = np.broadcast_to(np.arange(left, right, dtype=np.float32) + 0.5, (bottom - top, right - left))
        y = np.broadcast_to((np.arange(top, bottom, dtype=np.float32) + 0.5)[:, None], x.shape)
        coords = self.unproject(frame, x, y)
        u, v = self._patch(coords)
        side = self.rgba.shape[0]
        maps = (
            ((u + 1) * (side / 2) - 0.5).astype(np.float32),
            ((v + 1) * (side / 2) - 0.5).astype(np.float32),
        )
        border = cv2.BORDER_REFLECT if self.endless else cv2.BORDER_CONSTANT
        rgba = cv2.remap(self.rgba, *maps, cv2.INTER_LINEAR, borderMode=border)
        alpha = self._silhouette(frame, x, y, rgba)
        colour = rgba[..., :3].astype(np.float32)
        shade = self._shade(frame, x, y, maps, light)
        if shade is not None:
            colour *= (light[3] + (1 - light[3]) * 1.3 * np.clip(shade, 0, None)).astype(np.float32)[..., None]
        target = canvas.rgb[top:bottom, left:right]
        target += (colour - target) * alpha[..., None]
        seen = alpha > 0.5
        canvas.layer[top:bottom, left:right][seen] = index
        canvas.coords[top:bottom, left:right][seen] = coords[seen]


@dataclass(frozen=True, eq=False, kw_only=True)
class Leaf(Surface):
    """A flat patch that bends in its plane.

    Attributes
    ----------
    waves : (frames, 2, 3) float64
        Two shears, first of x along y, then of y along x: amplitude, wave number, phase.
    """

    waves: np.ndarray

    def unproject(self, frame: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See ``Surface.unproject``; the third coordinate is 0."""
        u, v = _apply(invert_affine(self.poses[frame]), x, y)
        (a0, k0, p0), (a1, k1, p1) = self.waves[frame].astype(np.float32)
        if a0 or a1:
            u = u + a0 * np.sin(k0 * v + p0)
            v = v + a1 * np.sin(k1 * u + p1)
        return np.stack([u, v, np.zeros_like(u)], axis=-1)

    def project(self, frame: int, coords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See ``Surface.project``; undoes the shears in the other order."""
        (a0, k0, p0), (a1, k1, p1) = self.waves[frame].astype(np.float32)
        u = coords[:, 0]
        v = coords[:, 1] - a1 * np.sin(k1 * u + p1)
        u = u - a0 * np.sin(k0 * v + p0)
        return np.stack(_apply(self.poses[frame], u, v), axis=-1), np.ones(len(coords), bool)


@dataclass(frozen=True, eq=False, kw_only=True)
class Ball(Surface):
    """An ellipsoid that turns; its far side comes into view.

    Attributes
    ----------
    spins : (frames, 3, 3) float64
        Rotations surface -> viewer.
    """

    spins: np.ndarray

    reach = 1.0

    def unproject(self, frame: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See ``Surface.unproject``; coordinates are points of the unit sphere."""
        u, v = _apply(invert_affine(self.poses[frame]), x, y)
        radius = np.sqrt(u**2 + v**2)
        scale = np.where(radius > 1, 1 / np.maximum(radius, 1e-6), 1)
        u, v = u * scale, v * scale
        near = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
        return np.stack([u, v, near], axis=-1) @ self.spins[frame].astype(np.float32)

    def project(self, frame: int, coords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See ``Surface.project``."""
        turned = coords @ self.spins[frame].astype(np.float32).T
        return np.stack(_apply(self.poses[frame], turned[:, 0], turned[:, 1]), axis=-1), turned[:, 2] > 0.05

    def _patch(self, coords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        longitude = np.arctan2(coords[..., 0], coords[..., 2]) / np.pi
        latitude = np.arcsin(np.clip(coords[..., 1], -1, 1)) / np.pi
        return longitude * np.float32(0.98), latitude

    def _silhouette(self, frame: int, x: np.ndarray, y: np.ndarray, rgba: np.ndarray) -> np.ndarray:
        u, v = _apply(invert_affine(self.poses[frame]), x, y)
        pixel = np.sqrt(abs(np.linalg.det(self.poses[frame, :, :2])))
        return np.clip((1 - np.sqrt(u**2 + v**2)) * pixel + 0.5, 0, 1).astype(np.float32)

    def _shade(self, frame: int, x: np.ndarray, y: np.ndarray, maps: tuple, light: np.ndarray) -> np.ndarray:
        u, v = _apply(invert_affine(self.poses[frame]), x, y)
        return u * light[0] + v * light[1] + np.sqrt(np.clip(1 - u**2 - v**2, 0, 1)) * light[2]
