"""Draw the rooms of the three packages as an SVG: layers of the import contracts, modules per room."""

from __future__ import annotations

import tomllib
from pathlib import Path

__all__ = ["house_svg"]

_ROW, _GAP, _PAD, _TITLE = 42, 6, 14, 30  # pixels
_COLORS = {"slimevid": "#e3f2fd", "slime3d": "#e8f5e9", "slimecore": "#fff8e1"}


def _layers(root: Path) -> dict[str, list[list[str]]]:
    """Return the layers of each package, from the highest to the lowest, as the import contracts list them."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    return {
        contract["containers"][0]: [[room.strip() for room in layer.split("|")] for layer in contract["layers"]]
        for contract in contracts
        if contract.get("containers")
    }


def _modules(folder: Path) -> int:
    """Count the modules of a room, those of folders inside it included."""
    return sum(path.name != "__init__.py" for path in folder.rglob("*.py"))


def _package(name: str, layers: list[list[str]], folder: Path, x: int, y: int, width: int) -> tuple[list[str], int]:
    """Draw a package at (x, y). Return the elements and the height."""
    height = _TITLE + len(layers) * (_ROW + _GAP) + _PAD - _GAP
    shapes = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="#ffffff" stroke="#37474f"/>',
        f'<text x="{x + _PAD}" y="{y + 21}" font-size="16" font-weight="bold" fill="#212121">{name}</text>',
    ]
    for level, rooms in enumerate(layers):
        each = (width - 2 * _PAD - (len(rooms) - 1) * _GAP) / len(rooms)
        top = y + _TITLE + level * (_ROW + _GAP)
        for number, room in enumerate(rooms):
            left = x + _PAD + number * (each + _GAP)
            path = folder / room
            count = f"{_modules(path)} modules" if path.is_dir() else "a module"
            middle = left + each / 2
            box = f'x="{left:.1f}" y="{top}" width="{each:.1f}" height="{_ROW}" rx="6"'
            shapes.append(f'<rect {box} fill="{_COLORS[name]}" stroke="#90a4ae"/>')
            for text, size, color, y_text in ((room, 13, "#212121", top + 18), (count, 10, "#546e7a", top + 33)):
                where = f'x="{middle:.1f}" y="{y_text}" text-anchor="middle"'
                shapes.append(f'<text {where} font-size="{size}" fill="{color}">{text}</text>')
    return shapes, height


def house_svg(root: Path) -> str:
    """Return the figure: both applications above, the core below. Imports go downward only.

    Parameters
    ----------
    root : Path
        Folder of the repository.
    """
    layers, width = _layers(root), 470
    video, video_height = _package("slimevid", layers["slimevid"], root / "slimevid", 10, 10, width)
    mesh, mesh_height = _package("slime3d", layers["slime3d"], root / "slime3d", 30 + width, 10, width)
    below = 30 + max(video_height, mesh_height)
    core, core_height = _package(
        "slimecore", layers["slimecore"], root / "common" / "slimecore", 10, below, 2 * width + 20
    )
    total_width, total_height = 2 * width + 40, below + core_height + 10
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total_width} {total_height}" width="{total_width}" '
        f'height="{total_height}" role="img" aria-label="Rooms of the packages" '
        'font-family="Helvetica, Arial, sans-serif">'
    )
    background = f'<rect width="{total_width}" height="{total_height}" fill="#fafafa"/>'
    return (
        "\n".join([head, "<title>Packages and their rooms</title>", background, *video, *mesh, *core, "</svg>"]) + "\n"
    )
