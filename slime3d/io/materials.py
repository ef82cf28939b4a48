"""What meshes look like: textures, vertex colours and material colours, taken from trimesh's visuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from slimecore.array_types import Array

__all__ = ["Appearance", "appearance_of"]

_LINEAR = np.arange(256) / 255
_CURVE = np.where(_LINEAR <= 0.0031308, 12.92 * _LINEAR, 1.055 * _LINEAR ** (1 / 2.4) - 0.055)
_TO_SRGB = (_CURVE * 255).round().astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """Colours of a mesh; all arrays follow its faces.

    Parameters
    ----------
    colors : (F, 3, 3) uint8 or None
        RGB at the corners of every face (vertex, face or material colour); None where the file says none.
    uv : (F, 3, 2) float32 or None
        Texture coordinates at the corners; v points up.
    texture : (F,) int32
        Index into `images`; -1 = no texture.
    images : tuple of (h, w, 3) uint8
    alphas : tuple of (h, w) uint8 or None
        Opacity of every image; None where it is opaque. Views ignore it, a GLB that keeps textures does not.
    """

    colors: Array | None
    uv: Array | None
    texture: Array
    images: tuple[Array, ...]
    alphas: tuple[Array | None, ...] = ()

    @property
    def kind(self) -> str:
        """What the file offers: ``textured``, ``vertex`` or ``clay`` (nothing)."""
        return "textured" if self.images else "clay" if self.colors is None else "vertex"


def appearance_of(geometries: list[Any], faces: list[Array], *, linear: bool) -> Appearance:
    """Appearance of trimesh geometries, in the order given.

    Parameters
    ----------
    geometries : list of trimesh.Trimesh
    faces : list of (n, 3) int64
        Their vertices, in the order in which corners are wanted.
    linear : bool
        Vertex and material colours are linear light, as glTF says, and are brought to sRGB. Textures are sRGB anyway.
    """
    pictures: list[Any] = []
    known: dict[int, int] = {}  # one picture may serve many geometries
    pieces = [_one(*one, pictures, known) for one in zip(geometries, faces, strict=True)]
    colored, mapped = any(p[0] is not None for p in pieces), any(p[1] is not None for p in pieces)
    counts = [len(f) for f in faces]
    white = [np.full((n, 3, 3), 255, np.uint8) for n in counts]
    colors = [w if p[0] is None else p[0] for p, w in zip(pieces, white, strict=True)]
    uv = [np.zeros((n, 3, 2), np.float32) if p[1] is None else p[1] for p, n in zip(pieces, counts, strict=True)]
    texture = [np.full(n, p[2], np.int32) for p, n in zip(pieces, counts, strict=True)]
    corners = np.concatenate(colors) if colored else None
    return Appearance(
        _TO_SRGB[corners] if linear and corners is not None else corners,
        np.concatenate(uv) if mapped else None,
        np.concatenate(texture),
        tuple(_rgb(picture) for picture in pictures),
        tuple(_alpha(picture) for picture in pictures),
    )


def _rgb(picture: Any) -> Array:
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) >> 8).astype(np.uint8))
    return np.array(picture.convert("RGB"))


def _alpha(picture: Any) -> Array | None:
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return None
    alpha = np.array(picture.convert("RGBA"))[..., 3]
    return alpha if (alpha < 255).any() else None


def _one(
    geometry: Any, faces: Array, pictures: list[Any], known: dict[int, int]
) -> tuple[Array | None, Array | None, int]:
    visual = geometry.visual
    if visual.kind == "vertex":
        return np.asarray(visual.vertex_colors)[faces][..., :3].astype(np.uint8), None, -1
    if visual.kind == "face":
        return np.repeat(np.asarray(visual.face_colors)[:, None, :3], 3, 1).astype(np.uint8), None, -1
    if visual.kind != "texture":
        return None, None, -1
    colors = _material_color(visual.material, faces)
    extra = visual.vertex_attributes.get("color")  # glTF: vertex colours are multiplied with those of the material
    if extra is not None and len(extra) == len(geometry.vertices):
        own = _eight_bit(np.asarray(extra))[faces][..., :3]
        colors = own if colors is None else (own * (colors / 255)).round().astype(np.uint8)
    image = getattr(visual.material, "baseColorTexture", None) or getattr(visual.material, "image", None)
    if image is None or visual.uv is None or len(visual.uv) != len(geometry.vertices):
        return colors, None, -1
    if id(image) not in known:
        known[id(image)] = len(pictures)
        pictures.append(image)
    return colors, np.asarray(visual.uv, np.float32)[faces], known[id(image)]


def _material_color(material: Any, faces: Array) -> Array | None:
    color = getattr(material, "baseColorFactor", None)
    if color is None and getattr(material, "image", None) is None:
        color = getattr(material, "diffuse", None)
    if color is None:
        return None
    return np.broadcast_to(_eight_bit(np.asarray(color))[:3], (*faces.shape, 3)).astype(np.uint8)


def _eight_bit(color: Array) -> Array:
    if color.dtype == np.uint16:  # normalised, as glTF has them
        color = color / 65535
    wide = color * 255.0 if np.issubdtype(color.dtype, np.floating) and color.max(initial=0) <= 1 else color
    return np.asarray(np.asarray(wide, np.float64).round().clip(0, 255), np.uint8)
