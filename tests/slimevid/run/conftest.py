"""A clip of odd file names, and a run that stopped."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from slimecore.io.masks import write_mask


@pytest.fixture
def clip(tmp_path, two_tone):
    """Four frames with odd names in natural order, and the mask of the first, whose part is 3."""
    rgb, mask = two_tone
    folder = tmp_path / "my clip"
    folder.mkdir()
    for i, name in enumerate(("a 2.png", "a 10.jpg", "a 11.bmp", "b.png")):
        Image.fromarray(np.roll(rgb, 5 * i, 1)).save(folder / name)
    write_mask(tmp_path / "ref.png", mask * 3)
    return folder


@pytest.fixture
def stopped(command, slide, tmp_path, capsys):
    """A run that stopped at frame 8, which is broken."""
    broken = slide / "008.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:30])
    assert command("--ref", tmp_path / "ref_0.png") == 2
    capsys.readouterr()
    broken.write_bytes(whole)
    return tmp_path / "out"
