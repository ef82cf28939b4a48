"""Image pairs: the same seed gives the same bytes, and the ground truth is exact."""

from dataclasses import fields

import numpy as np
import pytest

from training.layers import Ball, Leaf
from training.pairs import CELL, Clip, make_batch, make_clip, match
from training.scene import Scene, SceneSettings
from training.textures import TextureBank

BANK = TextureBank((0,), count=4, size=96)


def test_batch_depends_on_seed_and_step():
    """The same step gives the same bytes, another step gives other bytes.

    A batch is a function of seed and step.
    """
    first, again, other = (make_batch(3, step, 1, 64, SceneSettings()) for step in (5, 5, 6))
    for entry in fields(first):
        np.testing.assert_array_equal(getattr(first, entry.name), getattr(again, entry.name))
    assert (first.rgb != other.rgb).any()


def test_batch_shapes_and_ranges():
    """A batch has the documented shapes and ranges.

    Cells are 8 pixels, ids are not negative, and every pixel was painted.
    """
    batch = make_batch(0, 0, 2, 64, SceneSettings())
    cells = (64 // CELL) ** 2
    assert batch.rgb.shape == (2, 2, 64, 64, 3)
    assert batch.rgb.dtype == np.uint8
    assert batch.objects.shape == batch.parts.shape == batch.visible.shape == (2, 2, cells)
    assert batch.positions.shape == (2, 2, cells, 2)
    assert batch.objects.min() >= 0
    assert batch.parts.min() >= 0


def _static_scene(shift: float) -> Clip:
    """One endless texture that moves by ``shift`` pixels to the right."""
    poses = np.stack([[[32.0, 0, 32 + dx], [0, 32.0, 32]] for dx in (0.0, shift)])
    rgba = np.dstack([BANK.textures[0], np.full((96, 96), 255, np.uint8)])
    leaf = Leaf(rgba=rgba, normals=None, poses=poses, object_id=0, endless=True, waves=np.zeros((2, 2, 3)))
    scene = Scene([leaf], np.array([[0, 0, 1, 1.0]] * 2), 64)
    return _render(scene)


def _render(scene: Scene) -> Clip:
    from training.layers import Canvas

    frames = []
    for frame in (0, 1):
        canvas = Canvas.blank(scene.size, scene.size)
        for index, surface in enumerate(scene.surfaces):
            surface.paint(frame, canvas, index, scene.lights[frame])
        frames.append((canvas.rgb, canvas.layer, canvas.coords))
    rgb, layer, coords = (np.stack(column) for column in zip(*frames, strict=True))
    return Clip(rgb, layer, layer, coords, scene)


def test_match_of_shifted_texture_is_shift():
    """The correspondence of a shifted texture is the shift.

    Every pixel lies 5 pixels to the right in the same colour, and is hidden only beyond the rim.
    """
    clip = _static_scene(5.0)
    y, x = (axis.ravel() for axis in np.mgrid[:64, :64])
    positions, visible = match(clip, 0, 1, x, y)
    np.testing.assert_allclose(positions, np.stack([x + 5.5, y + 0.5], 1), atol=1e-3)
    np.testing.assert_array_equal(visible, x + 5 < 64)
    col, row = (np.floor(positions[visible]).astype(int)).T
    np.testing.assert_allclose(clip.rgb[0, y[visible], x[visible]], clip.rgb[1, row, col], atol=1.0)


def test_hidden_points_not_visible():
    """Hidden points are not visible.

    A square that jumps in hides the pixels it covers in the second frame and nothing else.
    """
    clip = _static_scene(0.0)
    poses = np.stack([[[8.0, 0, cx], [0, 8.0, 32]] for cx in (200.0, 32.0)])
    square = Leaf(
        rgba=np.full((16, 16, 4), 255, np.uint8),
        normals=None,
        poses=poses,
        object_id=1,
        waves=np.zeros((2, 2, 3)),
    )
    clip = _render(Scene([*clip.scene.surfaces, square], clip.scene.lights, 64))
    y, x = (axis.ravel() for axis in np.mgrid[:64, :64])
    _, visible = match(clip, 0, 1, x, y)
    covered = (clip.parts[1] == 1).ravel()
    assert covered.sum() == 16 * 16
    np.testing.assert_array_equal(visible, ~covered)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_match_there_and_back(seed):
    """Matching there and back is the identity.

    Visible points of a random scene come back to where they started.
    """
    clip = make_clip(np.random.default_rng(seed), BANK, 64, np.array([0.0, 1.0]), SceneSettings(reach=(0.5, 1.0)))
    y, x = (axis.ravel() for axis in np.mgrid[:64, :64])
    positions, visible = match(clip, 0, 1, x, y)
    surfaces = clip.scene.surfaces
    for index in np.unique(clip.parts[0, y, x][visible]):
        rows = visible & (clip.parts[0, y, x] == index)
        coords = surfaces[index].unproject(1, positions[rows, 0], positions[rows, 1])
        back, _ = surfaces[index].project(0, coords)
        # a ball is steep at its rim, where float32 coordinates lose digits
        limit = 0.5 if isinstance(surfaces[index], Ball) else 0.01
        np.testing.assert_allclose(back, np.stack([x[rows] + 0.5, y[rows] + 0.5], 1), atol=limit)
