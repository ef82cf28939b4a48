"""PyTorch3D's rasteriser, for CUDA: on a CPU it tests every face at every pixel, thousands of times slower."""

from __future__ import annotations

import numpy as np

from slime3d.rendering.cameras import Cameras
from slime3d.rendering.renderers import Fragments, fragments_of
from slimecore.array_types import Array
from slimecore.errors import ConfigError

__all__ = ["PyTorch3D", "build"]

_CPU_FACES = 2000


class PyTorch3D:
    """One view after the other on the GPU; its camera is x left, y up, z forward, with row vectors."""

    def rasterize(self, vertices: Array, faces: Array, cameras: Cameras) -> Fragments:
        """See :class:`slime3d.rendering.renderers.Renderer`.

        Raises
        ------
        ConfigError
            Many faces and no GPU.
        """
        import torch
        from pytorch3d.renderer import PerspectiveCameras, RasterizationSettings
        from pytorch3d.renderer.mesh.rasterizer import MeshRasterizer
        from pytorch3d.structures import Meshes

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if device.type == "cpu" and len(faces) > _CPU_FACES:
            raise ConfigError(
                f"pytorch3d without a GPU would take hours for {len(faces)} faces; use --renderer zbuffer"
            )
        h, w = cameras.size
        half = min(h, w) / 2
        settings = RasterizationSettings(
            image_size=(h, w), blur_radius=0.0, faces_per_pixel=1, bin_size=0 if device.type == "cpu" else None
        )
        points = torch.as_tensor(vertices, dtype=torch.float32, device=device)
        mesh = Meshes([points], [torch.as_tensor(faces, device=device)])
        flip = np.diag([-1.0, 1.0, -1.0])
        out = np.full((len(cameras), h, w), -1, np.int32)
        for view, pose in enumerate(cameras.pose):
            # Its normalised coordinates: x left, y up, 1 at half the shorter side from the middle of the picture.
            offset = (np.array([w / 2, h / 2]) - cameras.centre[view]) / half
            camera = PerspectiveCameras(
                focal_length=cameras.focal / half,
                principal_point=torch.tensor(offset[None], dtype=torch.float32),
                R=torch.tensor((flip @ pose[:3, :3]).T[None], dtype=torch.float32),
                T=torch.tensor((flip @ pose[:3, 3])[None], dtype=torch.float32),
                device=device,
            )
            found = MeshRasterizer(cameras=camera, raster_settings=settings)(mesh)
            out[view] = found.pix_to_face[0, ..., 0].cpu().numpy()
        return fragments_of(out, vertices, faces, cameras)


def build() -> PyTorch3D:
    """The renderer; ImportError without ``pytorch3d``."""
    import pytorch3d  # noqa: F401

    return PyTorch3D()
