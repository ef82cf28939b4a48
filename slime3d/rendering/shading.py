"""Pictures from fragments: clay, vertex colours, texture, normals, depth, labels. The light moves with the camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from slime3d.io.mesh import Mesh
from slime3d.rendering.cameras import Cameras
from slime3d.rendering.renderers import Fragments
from slimecore.array_types import Array
from slimecore.errors import ConfigError

__all__ = ["SHADINGS", "face_colors", "lighting_normals", "shade", "shade_colors", "surface_colors"]

SHADINGS = ("auto", "textured", "vertex", "clay", "normal", "depth")
_CLAY = np.array([200.0, 196.0, 190.0])
_AMBIENT = 0.35
_CREASE = 0.5  # radians: sharper edges stay sharp, as smooth normals would round off boxes


def shade(
    fragments: Fragments, mesh: Mesh, cameras: Cameras, mode: str = "auto", corner_normals: Array | None = None
) -> Array:
    """(N, h, w, 3) uint8 pictures of fragments.

    Parameters
    ----------
    fragments : Fragments
    mesh : Mesh
    cameras : Cameras
        Those the fragments were made with.
    mode : str
        One of :data:`SHADINGS`; ``auto`` takes what the file offers.
    corner_normals : (F, 3, 3) float64, optional
        What :func:`lighting_normals` gave, to save time where a mesh is shaded often.

    Raises
    ------
    ConfigError
        An unknown mode, or one the mesh has no data for.
    """
    kind = mesh.appearance.kind
    mode = kind if mode == "auto" else mode
    if mode not in SHADINGS:
        raise ConfigError(f"--shading must be one of {', '.join(SHADINGS)}, got {mode!r}")
    if (mode == "textured" and kind != "textured") or (mode == "vertex" and mesh.appearance.colors is None):
        raise ConfigError(f"--shading {mode}: this mesh has no such colours; use clay or auto")
    if mode == "depth":
        return _depth(fragments)
    if mode == "normal":
        colors: Callable[[Array, Array], Array] = _no_colors
    elif mode == "clay":
        colors = _clay
    else:
        colors = _file_colors(mesh, textured=mode == "textured")
    return _lit(fragments, mesh, cameras, colors, normals=mode == "normal", corner_normals=corner_normals)


def shade_colors(
    fragments: Fragments, mesh: Mesh, cameras: Cameras, face_colors: Array, corner_normals: Array | None = None
) -> Array:
    """(N, h, w, 3) uint8 pictures of faces in colours (F, 3) of their own, lit as clay is.

    `corner_normals`, what :func:`lighting_normals` gave, saves time where a mesh is shaded often.
    """
    table = face_colors.astype(np.float64)
    return _lit(fragments, mesh, cameras, lambda face, _bary: table[face], normals=False, corner_normals=corner_normals)


def face_colors(mesh: Mesh) -> Array | None:
    """(F, 3) uint8 colours the file gives the middles of faces; None where it gives none."""
    if mesh.appearance.kind == "clay":
        return None
    count = len(mesh.faces)
    colors = _file_colors(mesh, textured=True)(np.arange(count), np.full((count, 3), 1 / 3))
    return np.asarray(colors.round().clip(0, 255), np.uint8)


def lighting_normals(mesh: Mesh) -> Array:
    """(F, 3, 3) normals at the corners of faces; sharp edges stay sharp."""
    return mesh.corner_normals(_CREASE)


def surface_colors(mesh: Mesh, face: Array, bary: Array) -> Array | None:
    """(S, 3) float64 RGB 0..1 that the file gives to points in faces (S,) at (S, 3); None where it gives none."""
    kind = mesh.appearance.kind
    if kind == "clay":
        return None
    return _file_colors(mesh, textured=kind == "textured")(face, bary) / 255


def _lit(
    fragments: Fragments,
    mesh: Mesh,
    cameras: Cameras,
    colors: Callable[[Array, Array], Array],
    *,
    normals: bool,
    corner_normals: Array | None = None,
) -> Array:
    if corner_normals is None:
        corner_normals = lighting_normals(mesh)
    eyes = cameras.eyes()
    out = np.full((*fragments.face_id.shape, 3), 255, np.uint8)
    for view, ids in enumerate(fragments.face_id):
        shown = ids >= 0
        face, bary = ids[shown], fragments.bary[view][shown].astype(np.float64)
        normal = np.einsum("pc,pcd->pd", bary, corner_normals[face])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-12)
        to_eye = eyes[view] - np.einsum("pc,pcd->pd", bary, mesh.vertices[mesh.faces[face]])
        to_eye /= np.linalg.norm(to_eye, axis=1, keepdims=True).clip(1e-12)
        facing = np.einsum("pd,pd->p", normal, to_eye)
        if normals:
            local = (normal * np.where(facing < 0, -1, 1)[:, None]) @ cameras.pose[view, :3, :3].T
            value = (local * 0.5 + 0.5) * 255
        else:
            value = colors(face, bary) * (_AMBIENT + (1 - _AMBIENT) * np.abs(facing))[:, None]
        out[view][shown] = value.round().clip(0, 255).astype(np.uint8)
    return out


def _no_colors(face: Array, bary: Array) -> Array:
    return bary


def _clay(face: Array, bary: Array) -> Array:
    return np.broadcast_to(_CLAY, (len(face), 3))


def _file_colors(mesh: Mesh, *, textured: bool) -> Callable[[Array, Array], Array]:
    look = mesh.appearance

    def colors(face: Array, bary: Array) -> Array:
        out = np.full((len(face), 3), 255.0)
        if look.colors is not None:
            out = np.einsum("pc,pcd->pd", bary, look.colors[face].astype(np.float64))
        if textured and look.uv is not None:
            uv = np.einsum("pc,pcd->pd", bary, look.uv[face].astype(np.float64))
            for index, image in enumerate(look.images):
                here = look.texture[face] == index
                out[here] *= _sample(image, uv[here]) / 255
        return out

    return colors


def _sample(image: Array, uv: Array) -> Array:
    """Texture values (P, 3) at (P, 2) coordinates, bilinear, repeating; v points up, texel centres at +0.5."""
    h, w = image.shape[:2]
    x, y = (uv[:, 0] % 1) * w - 0.5, ((1 - uv[:, 1]) % 1) * h - 0.5
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    top = image[y0 % h, x0 % w] * (1 - fx) + image[y0 % h, (x0 + 1) % w] * fx
    low = image[(y0 + 1) % h, x0 % w] * (1 - fx) + image[(y0 + 1) % h, (x0 + 1) % w] * fx
    return np.asarray(top * (1 - fy) + low * fy)


def _depth(fragments: Fragments) -> Array:
    """Near is light, far is dark, nothing is white; one scale for all views."""
    shown = fragments.face_id >= 0
    out = np.full((*shown.shape, 3), 255, np.uint8)
    if shown.any():
        depth = fragments.depth[shown]
        near, far = float(depth.min()), float(depth.max())
        share = (depth - near) / max(far - near, 1e-12)
        out[shown] = (240 - 220 * share).round().astype(np.uint8)[:, None]
    return out
