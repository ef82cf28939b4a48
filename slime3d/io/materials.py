"""Colours of a mesh: textures, vertex colours and material colours from trimesh's visuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from slimecore.array_types import Array

__all__ = ["Appearance", "appearance_of"]

_MOST_PIXELS = 100_000_000  # of a texture; larger ones would take minutes and gigabytes
_LINEAR_LEVELS = np.arange(256) / 255
_SRGB_FROM_LINEAR = np.where(
    _LINEAR_LEVELS <= 0.0031308, 12.92 * _LINEAR_LEVELS, 1.055 * _LINEAR_LEVELS ** (1 / 2.4) - 0.055
)
_SRGB_TABLE = (_SRGB_FROM_LINEAR * 255).round().astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """Colours of a mesh, in the order of its faces.

    Parameters
    ----------
    colors : (F, 3, 3) uint8 or None
        RGB at the corners of every face (vertex, face or material colour), None if the file has none.
    uv : (F, 3, 2) float32 or None
        Texture coordinates at the corners, with v upwards.
    texture : (F,) int32
        Index into `images`, -1 = no texture.
    images : tuple of (h, w, 3) uint8
    alphas : tuple of (h, w) uint8 or None
        Opacity of every image, None = opaque. Rendered views ignore it, and a GLB with textures keeps it.
    """

    colors: Array | None
    uv: Array | None
    texture: Array
    images: tuple[Array, ...]
    alphas: tuple[Array | None, ...] = ()

    @property
    def kind(self) -> str:
        """Return the kind of colours in the file: ``textured``, ``vertex`` or ``clay`` (none)."""
        return "textured" if self.images else "clay" if self.colors is None else "vertex"


def appearance_of(
    geometries: list[Any], faces: list[Array], *, linear: bool, problems: list[str] | None = None
) -> Appearance:
    """Collect the appearance of trimesh geometries, in the given order.

    Parameters
    ----------
    geometries : list of trimesh.Trimesh
    faces : list of (n, 3) int64
        Vertex indices of the faces of every geometry.
    linear : bool
        Vertex and material colours are linear, as in glTF, and are converted to sRGB. Textures are always sRGB.
    problems : list of str, optional
        Receives a clause for every image that cannot be decoded and is left out.

    Returns
    -------
    Appearance
    """
    pictures: list[Any] = []
    index_of: dict[int, int] = {}  # geometries may share an image
    problems = [] if problems is None else problems
    pieces = [_visual_colors(*pair, pictures, index_of, problems) for pair in zip(geometries, faces, strict=True)]
    colored, mapped = any(p[0] is not None for p in pieces), any(p[1] is not None for p in pieces)
    counts = [len(f) for f in faces]
    white = [np.full((n, 3, 3), 255, np.uint8) for n in counts]
    colors = [w if p[0] is None else p[0] for p, w in zip(pieces, white, strict=True)]
    uv = [np.zeros((n, 3, 2), np.float32) if p[1] is None else p[1] for p, n in zip(pieces, counts, strict=True)]
    texture = [np.full(n, p[2], np.int32) for p, n in zip(pieces, counts, strict=True)]
    corners = np.concatenate(colors) if colored else None
    return Appearance(
        _SRGB_TABLE[corners] if linear and corners is not None else corners,
        np.concatenate(uv) if mapped else None,
        np.concatenate(texture),
        tuple(_rgb(picture) for picture in pictures),
        tuple(_alpha(picture) for picture in pictures),
    )


def _rgb(picture: Any) -> Array:
    """Convert a Pillow image to (h, w, 3) uint8."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) >> 8).astype(np.uint8))
    return np.array(picture.convert("RGB"))


def _alpha(picture: Any) -> Array | None:
    """Return the opacity (h, w) uint8 of a Pillow image, None if it is opaque."""
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return None
    alpha = np.array(picture.convert("RGBA"))[..., 3]
    return alpha if (alpha < 255).any() else None


def _visual_colors(
    geometry: Any, faces: Array, pictures: list[Any], index_of: dict[int, int], problems: list[str]
) -> tuple[Array | None, Array | None, int]:
    """Return corner colours, texture coordinates and image index (-1 = none) of a geometry."""
    visual = geometry.visual
    if visual.kind == "vertex":
        return np.asarray(visual.vertex_colors)[faces][..., :3].astype(np.uint8), None, -1
    if visual.kind == "face":
        return np.repeat(np.asarray(visual.face_colors)[:, None, :3], 3, 1).astype(np.uint8), None, -1
    if visual.kind != "texture":
        return None, None, -1
    colors = _material_color(visual.material, faces)
    attribute = visual.vertex_attributes.get("color")  # glTF multiplies vertex colours with the material colour
    if attribute is not None and len(attribute) == len(geometry.vertices):
        vertex_colors = _to_uint8(np.asarray(attribute))[faces][..., :3]
        colors = vertex_colors if colors is None else (vertex_colors * (colors / 255)).round().astype(np.uint8)
    image = getattr(visual.material, "baseColorTexture", None) or getattr(visual.material, "image", None)
    if image is None or visual.uv is None or len(visual.uv) != len(geometry.vertices):
        if image is not None:
            problems.append("a texture without texture coordinates is left out")
        return colors, None, -1
    if id(image) not in index_of and not _is_readable(image, problems):
        return colors, None, -1
    if id(image) not in index_of:
        index_of[id(image)] = len(pictures)
        pictures.append(image)
    return colors, np.asarray(visual.uv, np.float32)[faces], index_of[id(image)]


def _is_readable(image: Any, problems: list[str]) -> bool:
    """Return whether Pillow can decode an image, which it does on first use."""
    try:
        if image.width * image.height > _MOST_PIXELS:
            raise OSError(f"{image.width} x {image.height} pixels are too many")
        image.load()
    except Exception as error:  # noqa: BLE001  # Pillow raises many types for damaged images
        problem = f"failed to load image ({' '.join(str(error).split())[:120]}); going on without it"
        if problem not in problems:
            problems.append(problem)
        return False
    return True


def _material_color(material: Any, faces: Array) -> Array | None:
    """Return the base colour of a material at all corners (F, 3, 3) uint8, None if it has none."""
    color = getattr(material, "baseColorFactor", None)
    if color is None and getattr(material, "image", None) is None:
        color = getattr(material, "diffuse", None)
    if color is None:
        return None
    return np.broadcast_to(_to_uint8(np.asarray(color))[:3], (*faces.shape, 3)).astype(np.uint8)


def _to_uint8(color: Array) -> Array:
    """Convert colours of 0..1, 0..255, or normalised uint16 to uint8."""
    if color.dtype == np.uint16:  # normalised integers of glTF
        color = color / 65535
    scaled = color * 255.0 if np.issubdtype(color.dtype, np.floating) and color.max(initial=0) <= 1 else color
    return np.asarray(np.asarray(scaled, np.float64).round().clip(0, 255), np.uint8)
