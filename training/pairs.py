"""Training samples: two frames of a procedural clip and where every place of one lies in the other."""

from dataclasses import dataclass

import numpy as np

from training.layers import Canvas
from training.photometry import Grade, develop
from training.scene import Scene, SceneSettings, sample_scene
from training.textures import TextureBank

__all__ = ["CELL", "Batch", "Clip", "make_batch", "make_clip", "match"]

CELL = 8
"""Side of a descriptor cell, pixels."""
_BANK_LIFE = 24  # batches that share a texture bank


@dataclass(frozen=True, eq=False)
class Clip:
    """Rendered frames with exact ground truth.

    Attributes
    ----------
    rgb : (frames, h, w, 3) uint8
    objects : (frames, h, w) int16
        Object ids, 0 is background.
    parts : (frames, h, w) int16
        Index of the surface seen, unique in the scene; the backdrop is 0.
    coords : (frames, h, w, 3) float32
        Coordinates on that surface.
    scene : Scene
    """

    rgb: np.ndarray
    objects: np.ndarray
    parts: np.ndarray
    coords: np.ndarray
    scene: Scene


def make_clip(
    rng: np.random.Generator,
    bank: TextureBank,
    size: int,
    times: np.ndarray,
    settings: SceneSettings,
    photometric: bool = True,
) -> Clip:
    """Sample and render a clip; see ``sample_scene``. ``photometric`` False leaves the painted colours."""
    scene = sample_scene(rng, bank, size, times, settings)
    owner = np.array([s.object_id for s in scene.surfaces], np.int16)
    # Neighbouring frames of a film are lit alike: what is trained to ignore colour cannot match by it.
    grade, change = Grade.draw(rng, settings.haze), settings.light * rng.random() ** 3
    frames = []
    for frame in range(len(times)):
        canvas = Canvas.blank(size, size)
        for index, surface in enumerate(scene.surfaces):
            surface.paint(frame, canvas, index, scene.lights[frame])
        now = grade.changed(rng, change if frame else 0.0)
        rgb = develop(rng, canvas.rgb, now, bank.noise) if photometric else np.clip(canvas.rgb, 0, 255).astype(np.uint8)
        frames.append((rgb, owner[canvas.layer], canvas.layer, canvas.coords))
    rgb, objects, parts, coords = (np.stack(column) for column in zip(*frames, strict=True))
    return Clip(rgb, objects, parts, coords, scene)


def match(clip: Clip, source: int, target: int, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points seen in one frame lie in another.

    Parameters
    ----------
    clip : Clip
    source, target : int
        Frames.
    x, y : (n,) int
        Pixels (column, row) of the source frame, meant at their centres.

    Returns
    -------
    positions : (n, 2) float32
        xy in the target frame, half-pixel centres; exact even where hidden.
    visible : (n,) bool
        Inside the target frame and not hidden there.
    """
    size = clip.scene.size
    layer, coords = clip.parts[source, y, x], clip.coords[source, y, x]
    positions = np.zeros((len(x), 2), np.float32)
    facing = np.zeros(len(x), bool)
    for index in np.unique(layer):
        rows = layer == index
        positions[rows], facing[rows] = clip.scene.surfaces[index].project(target, coords[rows])
    inside = facing & (positions >= 0).all(1) & (positions < size).all(1)
    nearest = np.clip(np.floor(positions), 0, size - 1).astype(int)
    return positions, inside & (clip.parts[target, nearest[:, 1], nearest[:, 0]] == layer)


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of frame pairs; cells are the ``n = (size / 8)**2`` places of the descriptor grid, row-major.

    Attributes
    ----------
    rgb : (b, 2, size, size, 3) uint8
        Frames A and B.
    objects, parts : (b, 2, n) int16
        Ids at the cell centres.
    positions : (b, 2, n, 2) float32
        xy in the other frame, pixels, of every cell centre of A and of B.
    visible : (b, 2, n) bool
    """

    rgb: np.ndarray
    objects: np.ndarray
    parts: np.ndarray
    positions: np.ndarray
    visible: np.ndarray


def _sample(clip: Clip) -> tuple[np.ndarray, ...]:
    line = np.arange(CELL // 2, clip.scene.size, CELL)
    y, x = (axis.ravel() for axis in np.meshgrid(line, line, indexing="ij"))
    there = [match(clip, source, 1 - source, x, y) for source in (0, 1)]
    positions, visible = (np.stack(column) for column in zip(*there, strict=True))
    return clip.rgb, clip.objects[:, y, x], clip.parts[:, y, x], positions, visible


_BANKS: dict[tuple[tuple[int, ...], float], TextureBank] = {}


def _bank(key: tuple[int, ...], collages: float) -> TextureBank:
    if (key, collages) not in _BANKS:
        _BANKS.clear()
        _BANKS[key, collages] = TextureBank(key, collages=collages)
    return _BANKS[key, collages]


def make_batch(seed: int, step: int, count: int, size: int, settings: SceneSettings) -> Batch:
    """Draw the batch of a training step: the same arguments give the same bytes.

    Parameters
    ----------
    seed, step : int
    count : int
        Pairs in the batch.
    size : int
        Side of the frames, pixels, a multiple of 16.
    settings : SceneSettings

    Returns
    -------
    Batch
    """
    bank = _bank((seed, 1, step // _BANK_LIFE), settings.collages)
    samples = []
    for item in range(count):
        rng = np.random.default_rng((seed, 2, step, item))
        samples.append(_sample(make_clip(rng, bank, size, np.array([0.0, 1.0]), settings)))
    return Batch(*(np.stack(column) for column in zip(*samples, strict=True)))
