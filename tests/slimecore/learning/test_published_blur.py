"""The blur of the published augmentation, against kornia's separable filter."""

from __future__ import annotations

import numpy as np
import torch
from kornia.filters import filter2d_separable
from kornia.filters.kernels import get_pascal_kernel_1d

from slimecore.learning.faithful_config import AugmentConfig
from slimecore.learning.published_augmentation import published_view
from slimecore.types import Annotation, Parts


def test_blur_equals_kornia() -> None:
    """OpenCV's kernels of side 3 and 5 are binomial; every side up to the largest is drawn."""
    rgb = np.random.default_rng(0).integers(0, 256, (30, 41, 3)).astype(np.uint8)
    parts = Parts((0, 1), ("background", "wheel"), ((0, 0, 0), (255, 0, 0)))
    annotation = Annotation(rgb, np.ones((30, 41), np.int16), parts)
    config = AugmentConfig(mirror=0, blur=1, blur_size=5, crop=1.0, rotate=0)
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    expected = {1: rgb.astype(np.float32)}
    for side in (3, 5):
        kernel = get_pascal_kernel_1d(side, norm=True)[None]
        blurred = filter2d_separable(image, kernel, kernel, border_type="reflect")
        expected[side] = blurred[0].permute(1, 2, 0).numpy()
    drawn = set()
    for seed in range(12):
        view, _ = published_view(annotation, (30, 41), config, 1, np.random.default_rng(seed))
        worst = {side: np.abs(view - image).max() for side, image in expected.items()}
        side = min(worst, key=worst.__getitem__)
        assert worst[side] <= 1
        drawn.add(side)
    assert drawn == {1, 3, 5}
