"""Ray casting with Intel Embree by trimesh and ``embreex``, for millions of faces in large images."""

from __future__ import annotations

import numpy as np

from slime3d.rendering.cameras import Cameras
from slime3d.rendering.renderers import Fragments, fragments_of
from slimecore.array_types import Array

__all__ = ["Embree", "build"]


class Embree:
    """Ray caster with a ray through every pixel centre."""

    def rasterize(self, vertices: Array, faces: Array, cameras: Cameras) -> Fragments:
        """See :class:`slime3d.rendering.renderers.Renderer`."""
        import trimesh
        from trimesh.ray.ray_pyembree import RayMeshIntersector

        scene = RayMeshIntersector(trimesh.Trimesh(vertices, faces, process=False))
        h, w = cameras.size
        y, x = np.mgrid[:h, :w] + 0.5
        face_id = np.full((len(cameras), h, w), -1, np.int32)
        for view, (pose, eye) in enumerate(zip(cameras.pose, cameras.eyes(), strict=True)):
            cx, cy = cameras.centre[view]
            directions = np.stack([(x - cx) / cameras.focal, (cy - y) / cameras.focal, np.full((h, w), -1.0)], -1)
            rays = directions.reshape(-1, 3) @ pose[:3, :3]
            face_id[view] = scene.intersects_first(np.broadcast_to(eye, rays.shape), rays).reshape(h, w)
        return fragments_of(face_id, vertices, faces, cameras)


def build() -> Embree:
    """Build the renderer. Raises ImportError without ``embreex``."""
    import embreex  # noqa: F401

    return Embree()
