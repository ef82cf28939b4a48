"""Textures of a glTF document: their images, coordinates and transforms made plain."""

from __future__ import annotations

from typing import Any

import numpy as np

from slime3d.io.gltf_document import read_uri
from slime3d.io.gltf_editor import GltfEditor

__all__ = ["load_images", "plain_textures", "repair_colors"]

_UNSIGNED_SHORT = 5123
_POINTS_AND_LINES = {0, 1, 2, 3}
_IMAGE_EXTENSIONS = ("KHR_texture_basisu", "EXT_texture_webp", "EXT_texture_avif", "MSFT_texture_dds")
_TRANSFORM, _GLOSSINESS = "KHR_texture_transform", "KHR_materials_pbrSpecularGlossiness"


def plain_textures(editor: GltfEditor) -> None:
    """Give every primitive the texture coordinates that the texture of its material asks for."""
    materials = editor.document.entries("materials")
    for entry in editor.document.entries("textures"):
        _choose_image(editor, entry)
    for mesh in editor.document.entries("meshes"):
        for primitive in mesh["primitives"]:
            if "material" not in primitive or primitive.get("mode", 4) in _POINTS_AND_LINES:
                continue
            texture = _base_texture(materials[primitive["material"]])
            if texture is None:
                continue
            _set_coordinates(editor, primitive, texture)
    for material in materials:
        if texture := _base_texture(material):
            texture.pop("texCoord", None)
            (texture.get("extensions") or {}).pop(_TRANSFORM, None)


def _choose_image(editor: GltfEditor, texture: dict[str, Any]) -> None:
    """Take the image of a texture from its extensions, where the texture itself has none."""
    extensions = texture.get("extensions") or {}
    for name in _IMAGE_EXTENSIONS:
        source = (extensions.get(name) or {}).get("source")
        if source is not None and "source" not in texture and name != "KHR_texture_basisu":
            texture["source"] = source
            editor.changed = True
    if "source" not in texture and "KHR_texture_basisu" in extensions:
        editor.note("textures in KTX2 (KHR_texture_basisu) cannot be read and are left out")


def _set_coordinates(editor: GltfEditor, primitive: dict[str, Any], texture: dict[str, Any]) -> None:
    transform = (texture.get("extensions") or {}).get(_TRANSFORM) or {}
    channel = transform.get("texCoord", texture.get("texCoord", 0))
    moved = any(key in transform for key in ("offset", "rotation", "scale"))
    attributes = primitive["attributes"]
    if not moved and channel == 0:
        return
    if f"TEXCOORD_{channel}" not in attributes:
        editor.note(f"texture coordinates {channel} are missing; their texture is left out")
        attributes.pop("TEXCOORD_0", None)
        editor.changed = True
        return
    uv = editor.values(attributes[f"TEXCOORD_{channel}"])
    if moved:
        angle = transform.get("rotation", 0.0)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        uv = (uv * transform.get("scale", [1, 1])) @ turn.T + transform.get("offset", [0, 0])
    attributes["TEXCOORD_0"] = editor.add_floats(uv)


def repair_colors(editor: GltfEditor) -> None:
    """Give 16-bit vertex colours a material, as trimesh truncates them to their low bytes without one."""
    accessors, plain = editor.document.entries("accessors"), None
    for mesh in editor.document.entries("meshes"):
        for primitive in mesh["primitives"]:
            color = primitive["attributes"].get("COLOR_0")
            if "material" in primitive or color is None or accessors[color]["componentType"] != _UNSIGNED_SHORT:
                continue
            if plain is None:
                materials = editor.head.setdefault("materials", [])
                plain = len(materials)
                materials.append({})
            primitive["material"] = plain
            editor.changed = True


def load_images(editor: GltfEditor) -> None:
    """Put images beside the file into it, and drop images that cannot be read."""
    lost = set()
    for index, image in enumerate(editor.document.entries("images")):
        if "uri" not in image:
            continue
        uri = image.pop("uri")
        try:
            data = read_uri(editor.document.path, uri)
        except (OSError, ValueError) as error:
            lost.add(index)
            reason = " ".join(str(error).split())
            editor.notes.append(f"unable to load image {index} ({reason[:120]}); going on without it")
            continue
        image["bufferView"] = editor.add_bytes(data)
        image.setdefault("mimeType", "image/png")
    if not lost:
        return
    images = editor.document.entries("images")
    kept = [index for index in range(len(images)) if index not in lost]
    for texture in editor.document.entries("textures"):
        if "source" in texture:
            source = texture.pop("source")
            if source in kept:
                texture["source"] = kept.index(source)
    editor.head["images"] = [images[index] for index in kept]
    editor.changed = True
    _drop_textures(editor)


def _drop_textures(editor: GltfEditor) -> None:
    """Take textures without an image from all materials."""
    textures = editor.document.entries("textures")
    for material in editor.document.entries("materials"):
        for holder in (material, material.get("pbrMetallicRoughness") or {}):
            for key in [k for k in holder if k.endswith("Texture")]:
                if "source" not in textures[holder[key]["index"]]:
                    del holder[key]


def _base_texture(material: dict[str, Any]) -> dict[str, Any] | None:
    """Return the texture reference that gives a material its colour."""
    glossy = (material.get("extensions") or {}).get(_GLOSSINESS) or {}
    texture = glossy.get("diffuseTexture") or (material.get("pbrMetallicRoughness") or {}).get("baseColorTexture")
    return texture if isinstance(texture, dict) else None
