"""Rasteriser of PyTorch3D, for CUDA. On a CPU it tests every face at every pixel, thousands of times slower."""

from __future__ import annotations

import numpy as np

from slime3d.rendering.cameras import Cameras
from slime3d.rendering.renderers import Fragments, fragments_of
from slimecore.array_types import Array
from slimecore.errors import ConfigError

__all__ = ["PyTorch3D", "build"]

_MAX_CPU_FACES = 2000


class PyTorch3D:
    """GPU rasteriser that processes views in sequence.

    Cameras of PyTorch3D have x left, y up, z forward, and multiply row vectors.
    """

    def rasterize(self, vertices: Array, faces: Array, cameras: Cameras) -> Fragments:
        """See :class:`slime3d.rendering.renderers.Renderer`.

        Raises
        ------
        ConfigError
            The mesh has many faces and no GPU is available.
        """
        import torch
        from pytorch3d.renderer import PerspectiveCameras, RasterizationSettings
        from pytorch3d.renderer.mesh.rasterizer import MeshRasterizer
        from pytorch3d.structures import Meshes

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if device.type == "cpu" and len(faces) > _MAX_CPU_FACES:
            raise ConfigError(
                f"pytorch3d without a GPU would take hours for {len(faces)} faces; use --renderer zbuffer"
            )
        h, w = cameras.size
        half_side = min(h, w) / 2
        settings = RasterizationSettings(
            image_size=(h, w), blur_radius=0.0, faces_per_pixel=1, bin_size=0 if device.type == "cpu" else None
        )
        points = torch.as_tensor(vertices, dtype=torch.float32, device=device)
        mesh = Meshes([points], [torch.as_tensor(faces, device=device)])
        axis_signs = np.diag([-1.0, 1.0, -1.0])
        face_id = np.full((len(cameras), h, w), -1, np.int32)
        for view, pose in enumerate(cameras.pose):
            # Normalised coordinates of PyTorch3D: x left, y up, 1 at half the shorter side from the image centre.
            offset = (np.array([w / 2, h / 2]) - cameras.centre[view]) / half_side
            camera = PerspectiveCameras(
                focal_length=cameras.focal / half_side,
                principal_point=torch.tensor(offset[None], dtype=torch.float32),
                R=torch.tensor((axis_signs @ pose[:3, :3]).T[None], dtype=torch.float32),
                T=torch.tensor((axis_signs @ pose[:3, 3])[None], dtype=torch.float32),
                device=device,
            )
            fragments = MeshRasterizer(cameras=camera, raster_settings=settings)(mesh)
            face_id[view] = fragments.pix_to_face[0, ..., 0].cpu().numpy()
        return fragments_of(face_id, vertices, faces, cameras)


def build() -> PyTorch3D:
    """Build the renderer. Raises ImportError without ``pytorch3d``."""
    import pytorch3d  # noqa: F401

    return PyTorch3D()
