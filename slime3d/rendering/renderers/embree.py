"""Ray casting with Intel Embree, through trimesh and ``embreex``: good for millions of faces in large pictures."""

from __future__ import annotations

import numpy as np

from slime3d.rendering.cameras import Cameras
from slime3d.rendering.renderers import Fragments, fragments_of
from slimecore.array_types import Array

__all__ = ["Embree", "build"]


class Embree:
    """One ray a pixel centre."""

    def rasterize(self, vertices: Array, faces: Array, cameras: Cameras) -> Fragments:
        """See :class:`slime3d.rendering.renderers.Renderer`."""
        import trimesh
        from trimesh.ray.ray_pyembree import RayMeshIntersector

        scene = RayMeshIntersector(trimesh.Trimesh(vertices, faces, process=False))
        h, w = cameras.size
        y, x = np.mgrid[:h, :w] + 0.5
        out = np.full((len(cameras), h, w), -1, np.int32)
        for view, (pose, eye) in enumerate(zip(cameras.pose, cameras.eyes(), strict=True)):
            cx, cy = cameras.centre[view]
            local = np.stack([(x - cx) / cameras.focal, (cy - y) / cameras.focal, np.full((h, w), -1.0)], -1)
            rays = local.reshape(-1, 3) @ pose[:3, :3]
            out[view] = scene.intersects_first(np.broadcast_to(eye, rays.shape), rays).reshape(h, w)
        return fragments_of(out, vertices, faces, cameras)


def build() -> Embree:
    """The renderer; ImportError without ``embreex``."""
    import embreex  # noqa: F401

    return Embree()
