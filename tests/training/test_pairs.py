"""The procedural generator: the same seed gives the same bytes, and its ground truth is exact."""

from dataclasses import fields, replace

import numpy as np
import pytest

from training.layers import Ball, Leaf, invert_affine
from training.pairs import CELL, Clip, make_batch, make_clip, match
from training.photometry import Grade, develop
from training.scene import Scene, SceneSettings
from training.shapes import capsule, dome_normals, random_silhouette
from training.textures import FAMILIES, TextureBank, collage, draw_texture, power_noise

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


def test_project_inverts_unproject():
    """Shears are undone exactly.

    ``project`` inverts ``unproject`` with strong waves.
    """
    waves = np.array([[[0.2, 2.0, 0.3], [0.15, 3.0, 1.0]]])
    pose = np.array([[[20.0, 3.0, 30.0], [-4.0, 25.0, 28.0]]])
    leaf = Leaf(rgba=np.zeros((4, 4, 4), np.uint8), normals=None, poses=pose, object_id=1, waves=waves)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 64, (50, 2)).astype(np.float32)
    back, _ = leaf.project(0, leaf.unproject(0, points[:, 0], points[:, 1]))
    np.testing.assert_allclose(back, points, atol=1e-3)


def test_half_turned_ball_hides_front():
    """A ball turned half way hides its front.

    The side that faced the viewer faces away after half a turn about the vertical.
    """
    turn = np.stack([np.eye(3), np.diag([-1.0, 1.0, -1.0])])
    pose = np.stack([[[20.0, 0, 32], [0, 20.0, 32]]] * 2)
    ball = Ball(rgba=np.zeros((4, 4, 4), np.uint8), normals=None, poses=pose, object_id=1, spins=turn)
    coords = ball.unproject(0, np.array([32.0]), np.array([32.0]))
    assert ball.project(0, coords)[1].tolist() == [True]
    assert ball.project(1, coords)[1].tolist() == [False]


def test_invert_affine():
    """A pose times its inverse is the identity."""
    pose = np.array([[2.0, 1.0, 5.0], [-1.0, 3.0, 7.0]])
    both = np.vstack([pose, [0, 0, 1]]) @ np.vstack([invert_affine(pose), [0, 0, 1]])
    np.testing.assert_allclose(both, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_texture_family_fills_unit_range(family):
    """Every texture family fills the unit range.

    Fields are float32 in [0, 1] and not constant.
    """
    field = FAMILIES[family][0](np.random.default_rng(1), 48)
    assert field.shape == (48, 48)
    assert field.dtype == np.float32
    assert field.min() >= 0
    assert field.max() <= 1
    assert field.std() > 0


def test_power_noise_is_normal():
    """Power noise has zero mean and unit variance."""
    field = power_noise(np.random.default_rng(0), 64, 1.0)
    np.testing.assert_allclose([field.mean(), field.std()], [0, 1], atol=1e-4)


def test_silhouettes_leave_border_free():
    """Silhouettes leave the border free.

    No leaf is cut by its patch, and a limb has the requested width.
    """
    for seed in range(20):
        mask = random_silhouette(np.random.default_rng(seed), 48)
        assert mask.max() == 255
        assert mask[[0, -1]].max() == mask[:, [0, -1]].max() == 0
    assert abs(int((capsule(100, 0.4, 1.0)[:, 50] > 127).sum()) - 40) <= 1


def test_dome_normals_point_outwards():
    """Dome normals point outwards.

    Left of the middle they point left, right of it right.
    """
    normals = dome_normals(capsule(64, 0.6, 1.0), 1.0)
    assert normals[32, 4, 0] < -0.05
    assert normals[32, 59, 0] > 0.05


def test_collage_seeded_with_all_leaf_sizes():
    """A collage is seeded and has large and small leaves.

    Neighbouring pixels agree far more often than far pixels, at every distance: no size is special.
    """
    first, again, other = (collage(np.random.default_rng(seed), 128) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == other.shape == (128, 128, 3)
    assert first.dtype == np.uint8
    assert (first != other).any()
    pictures = [collage(np.random.default_rng(seed), 128).astype(float) for seed in range(8)]
    change = [np.mean([np.abs(p[:, d:] - p[:, :-d]).mean() / p.std() for p in pictures]) for d in (1, 4, 16, 64)]
    assert change == sorted(change)
    assert change[0] < 0.5 * change[-1]
    assert change[2] > 1.2 * change[1]


def test_texture_bank_collage_share():
    """The texture bank draws collages at the requested rate, all or none here."""
    rng = np.random.default_rng((7,))
    rng.random()  # the draw that decides
    np.testing.assert_array_equal(TextureBank((7,), 1, 64, collages=1.0).textures[0], collage(rng, 64))
    np.testing.assert_array_equal(TextureBank((7,), 2, 64).textures[0], draw_texture(np.random.default_rng((7,)), 64))


def test_haze_moves_colours_towards_veil():
    """Haze draws colours towards the veil.

    At contrast 1/4 black and white keep a quarter of their distance, around the veil.
    """
    rng = np.random.default_rng(0)
    plain = replace(Grade.draw(rng), gamma=1.0, gain=np.ones(3), saturation=1.0, noise=0.0, uneven=np.zeros((3, 3)))
    plain = replace(plain, blur=0.0, quality=0)
    rgb = np.zeros((8, 8, 3), np.float32)
    rgb[4:] = 200
    hazy = replace(plain, contrast=0.25, veil=np.full(3, 100, np.float32))
    clear, dim = (develop(rng, rgb, grade, np.zeros((8, 8, 3), np.float32), shaken=0.0) for grade in (plain, hazy))
    assert (clear.min(), clear.max()) == (0, 200)
    np.testing.assert_allclose((dim.min(), dim.max()), (75, 125), atol=1)
    assert Grade.draw(np.random.default_rng(1), haze=0.0).contrast == 1
    assert Grade.draw(np.random.default_rng(1), haze=1.0).contrast < 1
