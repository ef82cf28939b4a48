"""Random scenes: a background with clutter, things that move over it, a camera, a light.

Dead leaves: every surface hides what was painted before. Objects are single leaves, clusters of leaves,
jointed figures and turning balls; some are twins of another object (distractors) or wear the background's
texture (camouflage).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from training.layers import Leaf, Surface
from training.motion import Motion, affine, rotation
from training.objects import Studio, add_ball, add_figure, add_leaves, placed
from training.shapes import random_silhouette
from training.textures import TextureBank

__all__ = ["Scene", "SceneSettings", "sample_scene"]


@dataclass(frozen=True)
class SceneSettings:
    """How hard scenes are.

    Attributes
    ----------
    reach : (float, float)
        Range of the motion scale per scene, drawn log-uniformly; 1 is moves of up to about 40 % of the frame.
    objects : (int, int)
        Fewest and most foreground objects.
    clutter : int
        Most leaves that belong to the background.
    smallest : float
        Least radius of an object, share of the frame's side.
    twin : float
        Chance that an object gets a look-alike.
    camouflage : float
        Chance that an object wears the background's texture.
    light : float
        Largest change of light and tone between the frames, 1 for another hour of the day; most pairs change far less.
    collages : float
        Share of the materials that are collages: dead leaves of all sizes in a few colours.
    ground : (float, float)
        Range of the background patch's half side, share of the frame's: small is fine-grained, and mirrored beyond.
    defocus : float
        Chance that the background is out of focus.
    least_clutter : float
        Least radius of the background's leaves, share of the frame's side.
    haze : float
        Chance of haze, that is of low contrast.
    """

    reach: tuple[float, float] = (0.08, 1.0)
    objects: tuple[int, int] = (1, 5)
    clutter: int = 20
    smallest: float = 0.035
    twin: float = 0.25
    camouflage: float = 0.1
    light: float = 1.0
    collages: float = 0.4
    ground: tuple[float, float] = (0.45, 0.95)
    defocus: float = 0.3
    least_clutter: float = 0.025
    haze: float = 0.3


@dataclass(frozen=True, eq=False)
class Scene:
    """Surfaces in painting order and one light per frame, ``lights`` (frames, 4); see ``Surface.paint``."""

    surfaces: list[Surface]
    lights: np.ndarray
    size: int


def _backdrop(studio: Studio, settings: SceneSettings) -> None:
    """Add the endless background and the leaves that lie on it, with a little parallax."""
    rng, size = studio.rng, studio.size
    rgba = np.dstack([studio.background, np.full(studio.background.shape[:2], 255, np.uint8)])
    still = Motion(np.zeros(2), 0.0, 0.0, 0.0, 0.0)
    span = size * np.exp(rng.uniform(*np.log(settings.ground)))
    poses = studio.poses(np.zeros(2), still, affine(rotation(rng.uniform(0, 2 * np.pi)) * span, np.zeros(2)))
    waves = studio.waves(0.25 * studio.reach)
    studio.surfaces.append(Leaf(rgba=rgba, normals=None, poses=poses, object_id=0, endless=True, waves=waves))
    parallax = Motion.draw(rng, size, 0.15 * studio.reach)
    for _ in range(int(rng.integers(0, settings.clutter + 1))):
        place, radius = placed(rng, size, settings.least_clutter, 0.45)
        local = affine(rotation(rng.uniform(0, 2 * np.pi)) * radius, np.zeros(2))
        side = studio.resolution(radius)
        poses = studio.poses(place * 1.6, parallax, local)
        studio.surfaces.append(studio.leaf(poses, studio.texture(side), random_silhouette(rng, side), 0, 0.0))


def _scenery(rng: np.random.Generator, bank: TextureBank) -> np.ndarray:
    """Draw the texture of the backdrop: one material, or two that meet along a ragged line."""
    first = bank.crop(rng, 256, whole=bool(rng.random() < 0.6))
    if rng.random() < 0.5:
        return first
    second = bank.crop(rng, 256, whole=True)
    line = np.linspace(-1, 1, 256, dtype=np.float32)
    slope, bend = rng.normal(0, 1.0), rng.uniform(0.02, 0.25)
    ragged = line[:, None] + slope * line[None, :] + bend * np.sin(rng.uniform(2, 12) * line[None, :])
    share = np.clip(ragged * rng.uniform(2, 60) + 0.5, 0, 1)[..., None]
    return (first * share + second * (1 - share)).astype(np.uint8)


def _lights(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    direction = np.array([*rng.normal(0, 0.7, 2), rng.uniform(0.4, 1.2)])
    change = rng.normal(0, 0.2, 3)
    ambient = rng.uniform(0.25, 0.7)
    lights = []
    for time in times:
        now = direction + change * time
        lights.append([*(now / np.linalg.norm(now)), ambient])
    return np.array(lights)


def sample_scene(
    rng: np.random.Generator, bank: TextureBank, size: int, times: np.ndarray, settings: SceneSettings
) -> Scene:
    """Draw a scene and its motion.

    Parameters
    ----------
    rng : numpy.random.Generator
    bank : TextureBank
    size : int
        Side of the square frames, pixels.
    times : (frames,) float
        When the frames are taken, 0 (rest) to 1 (full motion); ``[0, 1]`` makes a pair.
    settings : SceneSettings

    Returns
    -------
    Scene
    """
    low, high = settings.reach
    reach = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    travel = Motion.draw(rng, size, reach)
    centre = affine(np.eye(2), np.full(2, size / 2))
    camera = [centre @ travel.at(time) for time in times]
    background = _scenery(rng, bank)
    if rng.random() < settings.defocus:
        background = cv2.GaussianBlur(background, (0, 0), rng.uniform(0.7, 3.0))
    studio = Studio(rng, bank, size, np.asarray(times, float), reach, settings.smallest, camera, background)
    _backdrop(studio, settings)
    object_id = 1
    for _ in range(int(rng.integers(settings.objects[0], settings.objects[1] + 1))):
        camouflage, kind = rng.random() < settings.camouflage, rng.random()
        if kind < 0.5:
            twin = rng.random() < settings.twin
            add_leaves(studio, object_id, camouflage, twin)
            object_id += 1 + twin
        elif kind < 0.82:
            add_figure(studio, object_id, camouflage)
            object_id += 1
        else:
            add_ball(studio, object_id, camouflage)
            object_id += 1
    return Scene(studio.surfaces, _lights(rng, studio.times), size)
