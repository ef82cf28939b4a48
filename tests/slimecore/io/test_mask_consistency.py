"""Masks of several files agree."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slimecore.errors import InputError
from slimecore.io.mask_consistency import harmonize_values
from slimecore.io.masks import read_mask

RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)


def drawing(path: Path, *colors: tuple[int, int, int], mode: str = "RGB") -> Path:
    """A black picture with a square of each colour."""
    rgb = np.zeros((20, 20 * len(colors) + 10, 3), np.uint8)
    for i, color in enumerate(colors):
        rgb[5:15, 20 * i + 10 : 20 * i + 20] = color
    image = Image.fromarray(rgb)
    (image.quantize(len(colors) + 1) if mode == "P" else image).save(path)
    return path


def test_equal_colours_get_equal_numbers(tmp_path: Path) -> None:
    """Masks in colours agree by colour, white among them."""
    paths = [
        drawing(tmp_path / "a.png", RED, GREEN),
        drawing(tmp_path / "b.png", GREEN, (255, 255, 255)),
        drawing(tmp_path / "c.png", (255, 255, 255)),
    ]
    masks, notes = harmonize_values([read_mask(p) for p in paths], [p.name for p in paths])
    first, second, third = (mask.labels[10, 15::20].tolist() for mask in masks)
    assert first[1] == second[0]
    assert second[1] == third[0]
    assert len({*first, *second}) == 3
    assert "numbered over all masks" in notes[-1]


def test_palettes_in_other_orders_agree(tmp_path: Path) -> None:
    """Indexed masks whose palettes hold the same colours in other orders agree by colour."""
    paths = []
    for name, order in (("a", (0, 1, 2)), ("b", (0, 2, 1))):
        colors = [(0, 0, 0), RED, GREEN]
        indices = np.kron(np.array([[0, order.index(1), order.index(2)]]), np.ones((9, 9), int)).astype(np.uint8)
        image = Image.fromarray(indices, mode="P")
        image.putpalette([c for i in order for c in colors[i]])
        image.save(tmp_path / f"{name}.png")
        paths.append(tmp_path / f"{name}.png")
    masks, _ = harmonize_values([read_mask(p) for p in paths], ["a", "b"])
    assert np.array_equal(masks[0].labels, masks[1].labels)


def test_indexed_beside_colours_refused(tmp_path: Path) -> None:
    """Indices and colours are not mixed."""
    indexed = Image.fromarray(np.kron(np.array([[0, 1]], np.uint8), np.ones((9, 9), np.uint8)), mode="P")
    indexed.putpalette([0, 0, 0, *RED])
    indexed.save(tmp_path / "a.png")
    masks = [read_mask(tmp_path / "a.png"), read_mask(drawing(tmp_path / "b.png", BLUE))]
    with pytest.raises(InputError, match=r"a\.png: its values cannot be matched"):
        harmonize_values(masks, ["a.png", "b.png"])


def test_value_that_results_cannot_hold(tmp_path: Path) -> None:
    """A part value that an indexed PNG cannot hold is refused in one line."""
    np.save(tmp_path / "a.npy", np.array([[0, 300]]))
    with pytest.raises(InputError, match=r"part value 300 does not fit an indexed PNG; use values 1\.\.254"):
        harmonize_values([read_mask(tmp_path / "a.npy")], ["a.npy"])
