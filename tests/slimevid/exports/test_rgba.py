"""Cut-outs with an alpha channel."""

from __future__ import annotations

import numpy as np
from PIL import Image

from slimecore.io.images import read_rgb
from slimecore.io.masks import read_mask


def test_rgba_cutouts_match_masks(command, slide, tmp_path):
    """RGBA cut-outs match the masks."""
    assert command("--ref", tmp_path / "ref_0.png", "--export", "rgba", "--stride", 4) == 0
    files = sorted((tmp_path / "out" / "rgba").iterdir())
    assert [p.name for p in files] == ["000.png", "004.png", "008.png"]
    for path in files:
        rgba = np.asarray(Image.open(path))
        inside = read_mask(tmp_path / "out" / "masks" / path.name).labels > 0
        assert rgba.shape == (48, 64, 4)
        assert np.array_equal(rgba[..., 3], np.where(inside, 255, 0))
        assert np.array_equal(rgba[inside][:, :3], read_rgb(slide / path.name)[inside])
        assert not rgba[~inside].any()
