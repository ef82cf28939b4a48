"""Shading of fragments: clay, vertex colours, texture, normals, depth or labels, lit from the camera."""

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
_CLAY_RGB = np.array([200.0, 196.0, 190.0])
_AMBIENT_SHARE = 0.35
_CREASE_RADIANS = 0.5  # sharper edges stay sharp, as smooth normals would round off boxes


def shade(
    fragments: Fragments, mesh: Mesh, cameras: Cameras, mode: str = "auto", corner_normals: Array | None = None
) -> Array:
    """Shade fragments to images.

    Parameters
    ----------
    fragments : Fragments
    mesh : Mesh
    cameras : Cameras
        Cameras of the fragments.
    mode : str
        An entry of :data:`SHADINGS`. ``auto`` uses the richest colours of the file.
    corner_normals : (F, 3, 3) float64, optional
        Result of :func:`lighting_normals`, to save time if a mesh is shaded often.

    Returns
    -------
    (N, h, w, 3) uint8

    Raises
    ------
    ConfigError
        The mode is unknown, or the mesh lacks its data.
    """
    kind = mesh.appearance.kind
    mode = kind if mode == "auto" else mode
    if mode not in SHADINGS:
        raise ConfigError(f"--shading must be one of {', '.join(SHADINGS)}, got {mode!r}")
    if (mode == "textured" and kind != "textured") or (mode == "vertex" and mesh.appearance.colors is None):
        raise ConfigError(f"--shading {mode}: this mesh has no such colours; use clay or auto")
    if mode == "depth":
        return _shade_depth(fragments)
    if mode == "normal":
        colors: Callable[[Array, Array], Array] = _barycentric_colors
    elif mode == "clay":
        colors = _clay_colors
    else:
        colors = _file_colors(mesh, textured=mode == "textured")
    return _shade_lit(fragments, mesh, cameras, colors, normals=mode == "normal", corner_normals=corner_normals)


def shade_colors(
    fragments: Fragments, mesh: Mesh, cameras: Cameras, face_colors: Array, corner_normals: Array | None = None
) -> Array:
    """Shade fragments with a colour for each face.

    Parameters
    ----------
    fragments : Fragments
    mesh : Mesh
    cameras : Cameras
        Cameras of the fragments.
    face_colors : (F, 3)
        RGB, 0..255.
    corner_normals : (F, 3, 3) float64, optional
        Result of :func:`lighting_normals`, to save time if a mesh is shaded often.

    Returns
    -------
    (N, h, w, 3) uint8
    """
    table = face_colors.astype(np.float64)
    return _shade_lit(
        fragments, mesh, cameras, lambda face, _bary: table[face], normals=False, corner_normals=corner_normals
    )


def face_colors(mesh: Mesh) -> Array | None:
    """Return the file's colours (F, 3) uint8 at the centroids of faces, None if it has no colours."""
    if mesh.appearance.kind == "clay":
        return None
    count = len(mesh.faces)
    colors = _file_colors(mesh, textured=True)(np.arange(count), np.full((count, 3), 1 / 3))
    return np.asarray(colors.round().clip(0, 255), np.uint8)


def lighting_normals(mesh: Mesh) -> Array:
    """Compute smooth normals (F, 3, 3) at the corners of faces, with sharp edges preserved."""
    return mesh.corner_normals(_CREASE_RADIANS)


def surface_colors(mesh: Mesh, face: Array, bary: Array) -> Array | None:
    """Return the file's colours of surface points.

    Parameters
    ----------
    mesh : Mesh
    face : (S,) int
        Face of every point.
    bary : (S, 3) float64
        Barycentric coordinates.

    Returns
    -------
    (S, 3) float64 or None
        RGB, 0..1. None if the file has no colours.
    """
    kind = mesh.appearance.kind
    if kind == "clay":
        return None
    return _file_colors(mesh, textured=kind == "textured")(face, bary) / 255


def _shade_lit(
    fragments: Fragments,
    mesh: Mesh,
    cameras: Cameras,
    colors: Callable[[Array, Array], Array],
    *,
    normals: bool,
    corner_normals: Array | None = None,
) -> Array:
    """Shade visible pixels by Lambert's law with ambient light, or by the normals in camera coordinates."""
    if corner_normals is None:
        corner_normals = lighting_normals(mesh)
    eyes = cameras.eyes()
    out = np.full((*fragments.face_id.shape, 3), 255, np.uint8)
    for view, ids in enumerate(fragments.face_id):
        visible = ids >= 0
        face, bary = ids[visible], fragments.bary[view][visible].astype(np.float64)
        normal = np.einsum("pc,pcd->pd", bary, corner_normals[face])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-12)
        to_eye = eyes[view] - np.einsum("pc,pcd->pd", bary, mesh.vertices[mesh.faces[face]])
        to_eye /= np.linalg.norm(to_eye, axis=1, keepdims=True).clip(1e-12)
        cosine = np.einsum("pd,pd->p", normal, to_eye)
        if normals:
            local = (normal * np.where(cosine < 0, -1, 1)[:, None]) @ cameras.pose[view, :3, :3].T
            value = (local * 0.5 + 0.5) * 255
        else:
            value = colors(face, bary) * (_AMBIENT_SHARE + (1 - _AMBIENT_SHARE) * np.abs(cosine))[:, None]
        out[view][visible] = value.round().clip(0, 255).astype(np.uint8)
    return out


def _barycentric_colors(face: Array, bary: Array) -> Array:
    """Return a placeholder for normals, which need no colours."""
    return bary


def _clay_colors(face: Array, bary: Array) -> Array:
    """Return the colour of clay for all pixels (P, 3)."""
    return np.broadcast_to(_CLAY_RGB, (len(face), 3))


def _file_colors(mesh: Mesh, *, textured: bool) -> Callable[[Array, Array], Array]:
    """Return a function from faces (P,) and barycentric coordinates (P, 3) to RGB (P, 3), 0..255."""
    appearance = mesh.appearance

    def colors(face: Array, bary: Array) -> Array:
        out = np.full((len(face), 3), 255.0)
        if appearance.colors is not None:
            out = np.einsum("pc,pcd->pd", bary, appearance.colors[face].astype(np.float64))
        if textured and appearance.uv is not None:
            uv = np.einsum("pc,pcd->pd", bary, appearance.uv[face].astype(np.float64))
            for index, image in enumerate(appearance.images):
                textured_here = appearance.texture[face] == index
                out[textured_here] *= _sample_texture(image, uv[textured_here]) / 255
        return out

    return colors


def _sample_texture(image: Array, uv: Array) -> Array:
    """Sample a repeating texture bilinearly at coordinates (P, 2), with v upwards and texel centres at +0.5."""
    h, w = image.shape[:2]
    x, y = (uv[:, 0] % 1) * w - 0.5, ((1 - uv[:, 1]) % 1) * h - 0.5
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    top = image[y0 % h, x0 % w] * (1 - fx) + image[y0 % h, (x0 + 1) % w] * fx
    low = image[(y0 + 1) % h, x0 % w] * (1 - fx) + image[(y0 + 1) % h, (x0 + 1) % w] * fx
    return np.asarray(top * (1 - fy) + low * fy)


def _shade_depth(fragments: Fragments) -> Array:
    """Shade depth from light (near) to dark (far) on a scale common to all views, with a white background."""
    visible = fragments.face_id >= 0
    out = np.full((*visible.shape, 3), 255, np.uint8)
    if visible.any():
        depth = fragments.depth[visible]
        near, far = float(depth.min()), float(depth.max())
        share = (depth - near) / max(far - near, 1e-12)
        out[visible] = (240 - 220 * share).round().astype(np.uint8)[:, None]
    return out
