"""Material files (``.mtl``) of OBJ meshes."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slime3d.io.regular_files import decode_text, read_beside

__all__ = ["Material", "read_materials"]

# number of values of the options before the file name of a texture; -s, -o and -t have one to three
_OPTION_VALUES = {
    "-blendu": 1,
    "-blendv": 1,
    "-bm": 1,
    "-boost": 1,
    "-cc": 1,
    "-clamp": 1,
    "-imfchan": 1,
    "-mm": 2,
    "-texres": 1,
    "-type": 1,
}
_VECTOR_OPTIONS = {"-s": (1.0, 1.0), "-o": (0.0, 0.0), "-t": (0.0, 0.0)}
_MOST_PIXELS = 100_000_000


@dataclass(slots=True)
class Material:
    """Colour and texture of a material.

    Parameters
    ----------
    color : tuple of 3 floats or None
        Diffuse colour, ``Kd``.
    image : PIL.Image.Image or None
    scale, offset : tuple of 2 floats
        Applied to texture coordinates, ``-s`` and ``-o``.
    """

    color: tuple[float, float, float] | None = None
    image: Any = None
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


def read_materials(path: Path, libraries: Iterable[str]) -> tuple[dict[str, Material], list[str]]:
    """Read the materials of all ``mtllib`` statements of an OBJ.

    Parameters
    ----------
    path : Path
        The OBJ file.
    libraries : iterable of str
        What stands behind ``mtllib``: one file name with blanks, or several names.

    Returns
    -------
    materials : dict of str to Material
    problems : list of str
        Files that cannot be loaded, a clause each.
    """
    materials: dict[str, Material] = {}
    problems: list[str] = []
    for statement in dict.fromkeys(libraries):
        for name in _file_names(path, statement):
            try:
                text = decode_text(read_beside(path, name))
            except OSError as error:
                problems.append(f"unable to load materials from: {name} ({error})")
                continue
            for key, material in _parse(path, text, problems).items():
                materials.setdefault(key, material)  # the first definition counts
    return materials, problems


def _file_names(path: Path, statement: str) -> list[str]:
    """Return the statement as a single name if there is such a file, else its words."""
    words = statement.split()
    if len(words) > 1:
        try:
            read_beside(path, statement)
        except OSError:
            return words
    return [statement]


def _parse(path: Path, text: str, problems: list[str]) -> dict[str, Material]:
    materials: dict[str, Material] = {}
    material = Material()
    for line in text.split("\n"):
        words = line.split()
        if len(words) < 2 or words[0].startswith("#"):
            continue
        key = words[0].lower()
        if key == "newmtl":
            material = materials[" ".join(words[1:])] = Material()
        elif key == "kd":
            try:
                values = [float(word) for word in words[1:4]]
            except ValueError:
                problems.append(f"unable to load the material colour '{line.strip()}'")
                continue
            red, green, blue = values if len(values) == 3 else [values[0]] * 3
            material.color = (red, green, blue)
        elif key == "map_kd":
            name = _texture_name(line.split(None, 1)[1], material)
            material.image = _load_image(path, name, problems)
    return materials


def _texture_name(statement: str, material: Material) -> str:
    """Take the options from a texture statement and return its file name."""
    rest = statement.strip()
    while rest.startswith("-"):
        option, *more = rest.split()
        option = option.lower()
        if option in _VECTOR_OPTIONS:
            numbers: list[float] = []
            while len(numbers) < min(3, len(more) - 1) and _is_number(more[len(numbers)]):
                numbers.append(float(more[len(numbers)]))
            taken = len(numbers)
            pair = (*numbers, *_VECTOR_OPTIONS[option][len(numbers) :])[:2]
            if option == "-s":
                material.scale = (pair[0], pair[1])
            elif option == "-o":
                material.offset = (pair[0], pair[1])
        elif option in _OPTION_VALUES:
            taken = _OPTION_VALUES[option]
        else:
            break
        for _ in range(1 + taken):
            rest = rest.split(None, 1)[1] if len(rest.split(None, 1)) > 1 else ""
    return rest


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _load_image(path: Path, name: str, problems: list[str]) -> Any:
    """Return the image of a texture, None with a problem if it cannot be read."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(read_beside(path, name)))
        if image.width * image.height > _MOST_PIXELS:
            raise OSError(f"{image.width} x {image.height} pixels are too many")
        image.load()
    except Exception as error:  # noqa: BLE001  # Pillow raises many types for damaged images
        problems.append(f"failed to load image {name} ({' '.join(str(error).split())})")
        return None
    return image
