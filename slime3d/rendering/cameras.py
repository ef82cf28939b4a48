"""Pinhole cameras around a mesh: deterministic views, framed on the projected object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimecore.array_types import Array
from slimecore.errors import ConfigError, InputError
from slimecore.user_files import read_json

__all__ = ["UP_AXES", "Cameras", "cameras_entry", "orbit_cameras", "read_cameras", "turntable_views", "up_axes"]

UP_AXES = ("x", "y", "z", "-x", "-y", "-z")
_FOV_DEGREES = 40.0  # field of view before framing
_DISTANCE_RADII = 3.0  # distance of the camera from the centre, in radii of the bounding sphere
_FRAME_MARGIN = 1.1  # enlargement of the projected object's bounding box
_RING_DEGREES, _ABOVE_DEGREES, _BELOW_DEGREES = 20.0, 55.0, -35.0  # elevations


@dataclass(frozen=True, slots=True, eq=False)
class Cameras:
    """Pinhole cameras with a common image size, in the coordinate frames of docs/reference/conventions.md.

    Parameters
    ----------
    pose : (N, 4, 4) float64
        World to camera: x right, y up, looking along -z.
    focal : float
        Focal length in pixels, common to all views.
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

    def __getitem__(self, index: slice) -> Cameras:
        return Cameras(self.pose[index], self.focal, self.centre[index], self.size)

    def at(self, indices: Sequence[int]) -> Cameras:
        """Return the cameras of the given view numbers, in this order."""
        views = list(indices)
        return Cameras(self.pose[views], self.focal, self.centre[views], self.size)

    def project(self, vertices: Array) -> tuple[Array, Array]:
        """Project world points (V, 3) to pixel positions (N, V, 2) and depths (N, V) along the camera axis.

        Positions behind the camera are NaN.
        """
        in_camera = np.einsum("nij,vj->nvi", self.pose[:, :3, :3], vertices) + self.pose[:, None, :3, 3]
        depth = -in_camera[..., 2]
        positive_depth = np.where(depth > 0, depth, np.nan)
        x = self.centre[:, None, 0] + self.focal * in_camera[..., 0] / positive_depth
        y = self.centre[:, None, 1] - self.focal * in_camera[..., 1] / positive_depth
        return np.stack([x, y], -1), depth

    def eyes(self) -> Array:
        """Return the positions (N, 3) of the cameras in world coordinates."""
        return np.asarray(-np.einsum("nji,nj->ni", self.pose[:, :3, :3], self.pose[:, :3, 3]))


def orbit_cameras(vertices: Array, views: int = 12, size: int = 512, up: str = "y") -> Cameras:
    """Place cameras all around a mesh, without randomness.

    A quarter of the views lies above, a quarter below, and the rest on a ring slightly above the equator. View 0 shows
    the front from an angle of 30 degrees. The common focal length makes the object fill the image in the view with its
    largest projection.

    Parameters
    ----------
    vertices : (V, 3) float64
        Vertices that belong to faces.
    views : int
        Number of views, 1 .. 1000.
    size : int
        Side of the square images in pixels, 16 .. 8192.
    up : str
        Up axis of the file: x, y, z, -x, -y or -z.

    Returns
    -------
    Cameras

    Raises
    ------
    ConfigError
        A value out of range.
    """
    if not 1 <= views <= 1000:
        raise ConfigError(f"--views must be 1 .. 1000, got {views}")
    quarter = views // 4
    rings = [
        (views - 2 * quarter, _RING_DEGREES, 30.0),
        (quarter, _ABOVE_DEGREES, 90.0),
        (quarter, _BELOW_DEGREES, 30.0),
    ]
    angles = [(start + 360 * i / count, elevation) for count, elevation, start in rings for i in range(count)]
    return _frame_cameras(vertices, angles, size, up)


def turntable_views(vertices: Array, frames: int, size: int, up: str = "y") -> Cameras:
    """Place cameras on a full turn, beginning at the azimuth of view 0.

    Parameters
    ----------
    vertices : (V, 3) float64
    frames : int
        Number of views.
    size : int
        Side of the square images in pixels, 16 .. 8192.
    up : str
        Up axis of the file.

    Returns
    -------
    Cameras
    """
    return _frame_cameras(vertices, [(30.0 + 360 * i / frames, _RING_DEGREES) for i in range(frames)], size, up)


def _frame_cameras(vertices: Array, angles: list[tuple[float, float]], size: int, up: str) -> Cameras:
    """Aim cameras at (azimuth, elevation) in degrees, and zoom and centre them on the projected object."""
    if not 16 <= size <= 8192:
        raise ConfigError(f"--size must be 16 .. 8192 pixels, got {size}")
    centre_point = (vertices.min(0) + vertices.max(0)) / 2
    radius = float(np.linalg.norm(vertices - centre_point, axis=1).max())
    axes = up_axes(up)
    pose = np.stack(
        [_pose(axes, centre_point, _DISTANCE_RADII * radius, math.radians(a), math.radians(e)) for a, e in angles]
    )
    focal = size / 2 / math.tan(math.radians(_FOV_DEGREES / 2))
    unframed = Cameras(pose, focal, np.full((len(pose), 2), size / 2), (size, size))
    low, high = np.zeros((len(pose), 2)), np.zeros((len(pose), 2))
    for i in range(len(pose)):  # a view at a time, to save memory on large meshes
        pixels = unframed[i : i + 1].project(vertices)[0][0]
        low[i], high[i] = pixels.min(0), pixels.max(0)
    zoom = size / (_FRAME_MARGIN * float((high - low).max()))
    centre = size / 2 - ((low + high) / 2 - size / 2) * zoom
    return Cameras(pose, focal * zoom, centre, (size, size))


def up_axes(up: str) -> Array:
    """Return the matrix (3, 3) with rows right, up and front of the object.

    The front is +z, or -y if z is up, as is common.
    """
    if up not in UP_AXES:
        raise ConfigError(f"--up must be one of {', '.join(UP_AXES)}, got {up!r}")
    sign = -1.0 if up.startswith("-") else 1.0
    up_axis = np.zeros(3)
    up_axis["xyz".index(up[-1])] = sign
    front = np.array([0.0, -1.0, 0.0]) if up[-1] == "z" else np.array([0.0, 0.0, 1.0])
    return np.stack([np.cross(up_axis, front), up_axis, front])


def _pose(axes: Array, target: Array, distance: float, azimuth: float, elevation: float) -> Array:
    """Return the world-to-camera matrix (4, 4) of a camera aimed at `target`, with angles in radians."""
    direction = np.array(
        [math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)]
    )
    back = direction @ axes  # from the object to the camera
    right = np.cross(axes[1], back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back])
    pose[:3, 3] = -pose[:3, :3] @ (target + distance * back)
    return pose


def cameras_entry(cameras: Cameras, **more: Any) -> dict[str, Any]:
    """Return the content of ``cameras.json``: poses, focal length, principal points, and further entries."""
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


def read_cameras(path: Path | str) -> Cameras:
    """Read the cameras of a ``cameras.json``.

    Raises
    ------
    InputError
        The file is missing or invalid.
    """
    path = Path(path)
    try:
        raw = read_json(path)
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
    rotation = pose[:, :3, :3]
    rigid = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max((1, 2)) < 1e-3
    for view in np.flatnonzero(~rigid | (np.linalg.det(rotation) < 0)):
        raise InputError(
            f"{path}: the pose of view {view} is no rotation and shift; it takes world to camera (x right, y up, "
            "looking along -z)"
        )
    return cameras
