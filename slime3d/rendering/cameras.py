"""Where meshes are looked at from: deterministic views, framed on the projected object."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimecore.array_types import Array
from slimecore.errors import ConfigError, InputError

__all__ = ["UP_AXES", "Cameras", "cameras_entry", "orbit_cameras", "read_cameras", "turntable_views", "up_axes"]

UP_AXES = ("x", "y", "z", "-x", "-y", "-z")
_FOV = 40.0  # degrees; of the sphere around the mesh, before framing
_DISTANCE = 3.0  # of the camera from the centre, in radii of that sphere
_MARGIN = 1.1  # the projected object's box is enlarged by this factor
_RING, _ABOVE, _BELOW = 20.0, 55.0, -35.0  # degrees of elevation


@dataclass(frozen=True, slots=True, eq=False)
class Cameras:
    """Pinhole cameras that share one picture size; frames are described in docs/conventions.md.

    Parameters
    ----------
    pose : (N, 4, 4) float64
        World to camera: x right, y up, looking along -z.
    focal : float
        Focal length in pixels, one for all views.
    centre : (N, 2) float64
        Principal point (x, y) in pixels.
    size : (int, int)
        ``(h, w)`` in pixels.
    """

    pose: Array
    focal: float
    centre: Array
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.pose)

    def __getitem__(self, which: slice) -> Cameras:
        return Cameras(self.pose[which], self.focal, self.centre[which], self.size)

    def at(self, which: Sequence[int]) -> Cameras:
        """Some of them, in any order."""
        chosen = list(which)
        return Cameras(self.pose[chosen], self.focal, self.centre[chosen], self.size)

    def project(self, vertices: Array) -> tuple[Array, Array]:
        """Pixel positions (N, V, 2) and depths (N, V) along the camera axis of world points (V, 3)."""
        seen = np.einsum("nij,vj->nvi", self.pose[:, :3, :3], vertices) + self.pose[:, None, :3, 3]
        depth = -seen[..., 2]
        safe = np.where(depth > 0, depth, np.nan)
        x = self.centre[:, None, 0] + self.focal * seen[..., 0] / safe
        y = self.centre[:, None, 1] - self.focal * seen[..., 1] / safe
        return np.stack([x, y], -1), depth

    def eyes(self) -> Array:
        """(N, 3) positions of the cameras in the world."""
        return np.asarray(-np.einsum("nji,nj->ni", self.pose[:, :3, :3], self.pose[:, :3, 3]))


def orbit_cameras(vertices: Array, views: int = 12, size: int = 512, up: str = "y") -> Cameras:
    """Cameras all around a mesh, from below too, none of them random.

    A quarter of the views looks from above, a quarter from below, the rest from a ring slightly above the waist; view 0
    looks at the front from the side. All share one focal length, such that the object fills the picture of the view it
    appears largest in.

    Parameters
    ----------
    vertices : (V, 3) float64
        Those that faces use.
    views : int
        1 .. 1000.
    size : int
        Side of the square pictures in pixels, 16 .. 8192.
    up : str
        Axis of the file that points up: x, y, z, -x, -y or -z.

    Raises
    ------
    ConfigError
        A value out of range.
    """
    if not 1 <= views <= 1000:
        raise ConfigError(f"--views must be 1 .. 1000, got {views}")
    quarter = views // 4
    rings = [(views - 2 * quarter, _RING, 30.0), (quarter, _ABOVE, 90.0), (quarter, _BELOW, 30.0)]
    angles = [(start + 360 * i / count, elevation) for count, elevation, start in rings for i in range(count)]
    return _framed(vertices, angles, size, up)


def turntable_views(vertices: Array, frames: int, size: int, up: str = "y") -> Cameras:
    """Cameras on one full turn, beginning at view 0's side."""
    return _framed(vertices, [(30.0 + 360 * i / frames, _RING) for i in range(frames)], size, up)


def _framed(vertices: Array, angles: list[tuple[float, float]], size: int, up: str) -> Cameras:
    if not 16 <= size <= 8192:
        raise ConfigError(f"--size must be 16 .. 8192 pixels, got {size}")
    middle = (vertices.min(0) + vertices.max(0)) / 2
    radius = float(np.linalg.norm(vertices - middle, axis=1).max())
    axes = up_axes(up)
    pose = np.stack([_pose(axes, middle, _DISTANCE * radius, math.radians(a), math.radians(e)) for a, e in angles])
    focal = size / 2 / math.tan(math.radians(_FOV / 2))
    wide = Cameras(pose, focal, np.full((len(pose), 2), size / 2), (size, size))
    low, high = np.zeros((len(pose), 2)), np.zeros((len(pose), 2))
    for i in range(len(pose)):  # one view at a time: a big mesh's positions in all views are many
        pixels = wide[i : i + 1].project(vertices)[0][0]
        low[i], high[i] = pixels.min(0), pixels.max(0)
    zoom = size / (_MARGIN * float((high - low).max()))
    centre = size / 2 - ((low + high) / 2 - size / 2) * zoom
    return Cameras(pose, focal * zoom, centre, (size, size))


def up_axes(up: str) -> Array:
    """Rows right, up, front of the object; the front is +z, or -y where z is up, as is common."""
    if up not in UP_AXES:
        raise ConfigError(f"--up must be one of {', '.join(UP_AXES)}, got {up!r}")
    sign = -1.0 if up.startswith("-") else 1.0
    top = np.zeros(3)
    top["xyz".index(up[-1])] = sign
    front = np.array([0.0, -1.0, 0.0]) if up[-1] == "z" else np.array([0.0, 0.0, 1.0])
    return np.stack([np.cross(top, front), top, front])


def _pose(axes: Array, middle: Array, distance: float, azimuth: float, elevation: float) -> Array:
    local = np.array(
        [math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)]
    )
    back = local @ axes  # from the object to the camera
    right = np.cross(axes[1], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back])
    pose[:3, 3] = -pose[:3, :3] @ (middle + distance * back)
    return pose


def cameras_entry(cameras: Cameras, **more: Any) -> dict[str, Any]:
    """What ``cameras.json`` holds: poses, focal length and principal points, and what else is given."""
    return {
        "convention": "pose: world to camera, x right, y up, looking along -z; pixel (0, 0) top left, centres at +0.5",
        "size": list(cameras.size),
        "focal": cameras.focal,
        "views": [
            {"pose": pose.tolist(), "centre": centre.tolist()}
            for pose, centre in zip(cameras.pose, cameras.centre, strict=True)
        ],
        **more,
    }


def read_cameras(path: Path) -> Cameras:
    """Cameras of a ``cameras.json``.

    Raises
    ------
    InputError
        Missing, or not such a file.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        pose = np.array([view["pose"] for view in raw["views"]], np.float64).reshape(-1, 4, 4)
        centre = np.array([view["centre"] for view in raw["views"]], np.float64).reshape(-1, 2)
        size = (int(raw["size"][0]), int(raw["size"][1]))
        cameras = Cameras(pose, float(raw["focal"]), centre, size)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(f"{path} is no cameras.json of slime3d render ({type(error).__name__}: {error})") from error
    if not (len(pose) and np.isfinite(pose).all() and np.isfinite(centre).all() and cameras.focal > 0):
        raise InputError(f"{path}: no views, or poses that are no numbers; render the mesh again")
    if not all(16 <= side <= 8192 for side in size):
        raise InputError(f"{path}: pictures must be 16 .. 8192 pixels high and wide, got {size[0]} x {size[1]}")
    turn = pose[:, :3, :3]
    rigid = np.abs(turn @ turn.transpose(0, 2, 1) - np.eye(3)).max((1, 2)) < 1e-3
    for view in np.flatnonzero(~rigid | (np.linalg.det(turn) < 0)):
        raise InputError(
            f"{path}: the pose of view {view} is no rotation and shift; it takes world to camera (x right, y up, "
            "looking along -z)"
        )
    return cameras
