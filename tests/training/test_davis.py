"""Label propagation and its protocol on cases with a known answer."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from training.davis import Settings, mean_j, propagate, search, search_near
from training.encoder import lab_patches


def test_search_matches_naive():
    """Search finds the same cells as a naive loop.

    The loop visits every cell, and every cell of the search window. k may exceed the window.
    """
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.nn.functional.normalize(torch.randn(4, 5, 3, generator=generator), dim=-1) for _ in "qk")
    cases = [(9, search(query, key, 3)), (1, search_near(query, key, 3, 1)), (9, search_near(query, key, 3, 9))]
    for radius, found in cases:
        for number in range(20):
            row, column = divmod(number, 5)
            scores = {
                r * 5 + c: float(query[row, column] @ key[r, c])
                for r in range(4)
                for c in range(5)
                if abs(r - row) <= radius and abs(c - column) <= radius
            }
            best = sorted(scores, key=scores.__getitem__, reverse=True)[:3]
            assert found[1][number].tolist() == best
            assert found[0][number].tolist() == pytest.approx([scores[b] for b in best], abs=1e-5)


def test_corner_has_no_outside_votes():
    """A corner without enough neighbours does not vote for cells outside.

    Cells beyond the border of a search window have no weight.
    """
    values, _ = search_near(torch.ones(2, 2, 1), torch.ones(2, 2, 1), 4, 1)
    assert torch.isfinite(values).all()
    values, places = search_near(torch.ones(3, 3, 1), torch.ones(3, 3, 1), 9, 1)
    assert torch.isfinite(values).sum(1).tolist() == [4, 6, 4, 6, 9, 6, 4, 6, 4]
    assert set(places[0][torch.isfinite(values[0])].tolist()) == {0, 1, 3, 4}


def test_propagate_follows_moving_square():
    """Colour follows a moving square.

    A red square on green ground that moves by 16 pixels per frame is found again.
    """
    frames, masks = [], []
    for step in range(3):
        frame = np.zeros((128, 128, 3), np.uint8)
        frame[..., 1] = 160
        mask = np.zeros((128, 128), bool)
        mask[32:80, 16 + 16 * step : 64 + 16 * step] = True
        frame[mask] = (200, 30, 30)
        frames.append(frame)
        masks.append(mask)
    found = list(propagate(frames, masks[0], lab_patches, Settings(short_side=128, radius=48, taus=(0.01, 0.02))))
    for got, truth in zip(found, masks[1:], strict=True):
        assert got.shape == (2, 128, 128)
        assert ((got & truth).sum((1, 2)) / (got | truth).sum((1, 2)) > 0.8).all()
    alone = propagate(frames, masks[0], lab_patches, Settings(short_side=128, radius=48, taus=(0.02,)))
    assert all(np.array_equal(one[0], both[1]) for one, both in zip(alone, found, strict=True))


def test_mean_j_skips_last_frame(tmp_path):
    """Whole clips leave the last frame out.

    The protocol does not score it. The first frames of a clip are scored to their last.
    """
    pictures, masks = (tmp_path / kind / "480p" / "a" for kind in ("JPEGImages", "Annotations"))
    pictures.mkdir(parents=True)
    masks.mkdir(parents=True)
    for number in range(5):
        frame, mask = np.full((64, 64, 3), 90, np.uint8), np.zeros((64, 64), np.uint8)
        frame[16:48, 16:48] = (20, 30, 200)
        mask[16:48, 16:48] = 255 * (number < 4)  # a lie about the last frame
        cv2.imwrite(str(pictures / f"{number:05d}.jpg"), frame)
        cv2.imwrite(str(masks / f"{number:05d}.png"), mask)
    whole = Settings(short_side=64, frames=None, recent=2, taus=(0.0002,), radius=16)
    assert mean_j(tmp_path, ["a"], lab_patches, whole)["a"][0] == pytest.approx(1.0, abs=0.05)
    assert mean_j(tmp_path, ["a"], lab_patches, replace(whole, frames=5))["a"][0] == pytest.approx(0.75, abs=0.05)
