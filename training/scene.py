"""Random scenes: a background with clutter, things that move over it, a camera, a light.

Dead leaves: every surface hides what was painted before. Objects are single leaves, clusters of leaves,
jointed figures and turning balls; some are twins of another object (distractors) or wear the background's
texture (camouflage).
"""

from dataclasses import dataclass, field

import numpy as np

from training.layers import Ball, Leaf, Surface
from training.shapes import capsule, dome_normals, random_silhouette
from training.textures import TextureBank

__all__ = ["Scene", "SceneSettings", "sample_scene"]

_STILL = np.zeros((2, 3))


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
    """

    reach: tuple[float, float] = (0.08, 1.0)
    objects: tuple[int, int] = (1, 5)
    clutter: int = 12
    smallest: float = 0.07
    twin: float = 0.25
    camouflage: float = 0.1


@dataclass(frozen=True, eq=False)
class Scene:
    """Surfaces in painting order and one light per frame, ``lights`` (frames, 4); see ``Surface.paint``."""

    surfaces: list[Surface]
    lights: np.ndarray
    size: int


@dataclass(eq=False)
class _Motion:
    """Affine motion at full time: shift in pixels, log zoom, turn, log stretch along an axis."""

    shift: np.ndarray
    zoom: float
    turn: float
    stretch: float
    axis: float

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int, reach: float) -> "_Motion":
        shift = rng.normal(0, 0.16, 2) * size * reach
        return cls(
            np.clip(shift, -0.4 * size, 0.4 * size),
            float(np.clip(rng.normal(0, 0.22) * reach, -0.5, 0.47)),
            float(rng.normal(0, 0.28) * reach),
            float(np.clip(rng.normal(0, 0.16) * reach, -0.5, 0.5)),
            rng.uniform(0, np.pi),
        )

    def at(self, time: float) -> np.ndarray:
        grow = _rotation(self.axis) @ np.diag([np.exp(self.stretch * time), 1.0]) @ _rotation(-self.axis)
        return _affine(np.exp(self.zoom * time) * _rotation(self.turn * time) @ grow, self.shift * time)


def _rotation(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def _affine(linear: np.ndarray, shift: np.ndarray) -> np.ndarray:
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, shift
    return matrix


@dataclass(eq=False)
class _Studio:
    """What the builders below share."""

    rng: np.random.Generator
    bank: TextureBank
    size: int
    times: np.ndarray
    reach: float
    smallest: float
    camera: list[np.ndarray]
    background: np.ndarray
    surfaces: list[Surface] = field(default_factory=list)

    def poses(self, place: np.ndarray, motion: _Motion, local: np.ndarray | list[np.ndarray]) -> np.ndarray:
        """Patch -> frame maps: ``local`` (one or per frame), the motion about ``place``, then the camera."""
        out = []
        for i, time in enumerate(self.times):
            inner = local[i] if isinstance(local, list) else local
            out.append((self.camera[i] @ _affine(np.eye(2), place) @ motion.at(time) @ inner)[:2])
        return np.stack(out)

    def waves(self, strength: float) -> np.ndarray:
        """Draw shears, (frames, 2, 3), at rest in the first frame; amplitude times wave number below 0.5."""
        out = np.zeros((len(self.times), 2, 3))
        out[:, :, 1] = self.rng.uniform(1.2, 4.5, 2)
        out[:, :, 2] = self.rng.uniform(0, 2 * np.pi, 2)
        peak = np.clip(self.rng.normal(0, 0.22, 2) * strength, -0.45, 0.45)
        out[:, :, 0] = self.times[:, None] * peak / out[:, :, 1]
        return out

    def resolution(self, radius: float) -> int:
        return int(np.clip(radius * 2.2, 40, 224))

    def texture(self, side: int, camouflage: bool = False) -> np.ndarray:
        if camouflage:
            side_bg = self.background.shape[0]
            side_cut = min(side, side_bg)
            row, col = self.rng.integers(0, side_bg - side_cut + 1, 2)
            cut = self.background[row : row + side_cut, col : col + side_cut]
            reps = -(-side // side_cut)
            return np.tile(cut, (reps, reps, 1))[:side, :side]
        return self.bank.crop(self.rng, side)

    def leaf(self, poses: np.ndarray, rgb: np.ndarray, mask: np.ndarray, object_id: int, soft: float) -> Leaf:
        bulge = self.rng.uniform(0.2, 1.1) if self.rng.random() < 0.65 else 0.0
        return Leaf(
            rgba=np.dstack([rgb, mask]),
            normals=dome_normals(mask, bulge) if bulge else None,
            poses=poses,
            object_id=object_id,
            waves=self.waves(soft),
        )


def _placed(rng: np.random.Generator, size: int, low: float, high: float) -> tuple[np.ndarray, float]:
    radius = size * np.exp(rng.uniform(np.log(low), np.log(high)))
    return rng.normal(0, 0.26, 2) * size, radius


def _single(studio: _Studio, object_id: int, camouflage: bool, twin: bool) -> None:
    """Add one leaf, or a cluster of leaves that move as one."""
    rng = studio.rng
    place, radius = _placed(rng, studio.size, studio.smallest, 0.5)
    motion = _Motion.draw(rng, studio.size, studio.reach)
    parts = 1 if rng.random() < 0.6 else int(rng.integers(2, 5))
    start = len(studio.surfaces)
    for part in range(parts):
        small = radius * (1.0 if part == 0 else rng.uniform(0.3, 0.7))
        offset = np.zeros(2) if part == 0 else rng.normal(0, 0.5, 2) * radius
        local = _affine(_rotation(rng.uniform(0, 2 * np.pi)) * small, offset)
        side = studio.resolution(small)
        rgb, mask = studio.texture(side, camouflage), random_silhouette(rng, side)
        studio.surfaces.append(studio.leaf(studio.poses(place, motion, local), rgb, mask, object_id, studio.reach))
    if twin:
        _twin(studio, start, object_id + 1)


def _twin(studio: _Studio, start: int, object_id: int) -> None:
    """Add copies of the last object's surfaces under another pose and motion."""
    move, motion = (
        studio.rng.normal(0, 0.3, 2) * studio.size,
        _Motion.draw(studio.rng, studio.size, studio.reach),
    )
    turn = _affine(_rotation(studio.rng.normal(0, 0.6)) * np.exp(studio.rng.normal(0, 0.2)), np.zeros(2))
    for surface in studio.surfaces[start:]:
        base = np.linalg.inv(studio.camera[0]) @ np.vstack([surface.poses[0], [0, 0, 1]])
        poses = studio.poses(move, motion, turn @ base)
        waves = studio.waves(studio.reach)
        studio.surfaces.append(
            Leaf(rgba=surface.rgba, normals=surface.normals, poses=poses, object_id=object_id, waves=waves)
        )


def _ball(studio: _Studio, object_id: int, camouflage: bool) -> None:
    rng = studio.rng
    place, radius = _placed(rng, studio.size, studio.smallest, 0.4)
    motion = _Motion.draw(rng, studio.size, studio.reach)
    local = _affine(_rotation(rng.uniform(0, np.pi)) @ np.diag([1.0, rng.uniform(0.55, 1.0)]) * radius, np.zeros(2))
    side = 160
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    start, sweep = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.9) * studio.reach
    spins = np.stack([_about(axis, start + sweep * time) for time in studio.times])
    rgba = np.dstack([studio.texture(side, camouflage), np.full((side, side), 255, np.uint8)])
    poses = studio.poses(place, motion, local)
    studio.surfaces.append(Ball(rgba=rgba, normals=None, poses=poses, object_id=object_id, spins=spins))


def _about(axis: np.ndarray, angle: float) -> np.ndarray:
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _figure(studio: _Studio, object_id: int, camouflage: bool) -> None:
    """Add a body with head and jointed limbs; every part swings about its joint."""
    rng = studio.rng
    place, radius = _placed(rng, studio.size, 1.4 * studio.smallest, 0.45)
    motion = _Motion.draw(rng, studio.size, studio.reach)
    stance = _rotation(rng.normal(0, 0.5)) @ np.diag([rng.choice([-1.0, 1.0]), 1.0]) * radius
    side = studio.resolution(radius)
    coat = studio.texture(side, camouflage)
    shared = rng.random() < 0.6
    slim = rng.uniform(0.28, 0.7)
    lying = rng.random() < 0.5

    def dress() -> np.ndarray:
        return coat if shared or rng.random() < 0.3 else studio.texture(side, camouflage)

    def add(chain: list[np.ndarray], mask: np.ndarray) -> None:
        local = [_affine(stance, np.zeros(2)) @ matrix for matrix in chain]
        studio.surfaces.append(
            studio.leaf(studio.poses(place, motion, local), dress(), mask, object_id, 0.5 * studio.reach)
        )

    def limb(joint: np.ndarray, angle: float, length: float, width: float, segments: int) -> None:
        chain = [_affine(np.eye(2), joint) for _ in studio.times]
        for _ in range(segments):
            swing = rng.normal(0, 0.7) * min(1.0, studio.reach + 0.2)
            chain = [
                m @ _affine(_rotation(angle + swing * t), np.zeros(2)) for m, t in zip(chain, studio.times, strict=True)
            ]
            bar = _affine(np.eye(2) * length / 2, np.array([length / 2, 0.0]))
            add([m @ bar for m in chain], capsule(side, width, rng.uniform(0.6, 1.0)))
            chain = [m @ _affine(np.eye(2), np.array([length * 0.88, 0.0])) for m in chain]
            angle = rng.normal(0, 0.5)

    limbs = int(rng.integers(2, 6))
    behind = int(rng.integers(0, limbs + 1))
    spans = []
    for number in range(limbs):
        along = rng.uniform(-0.6, 0.6)
        joint = np.array([along, slim * 0.3]) if lying else np.array([slim * 0.4 * np.sign(along), along])
        outward = np.pi / 2 if lying else (0.0 if along > 0 else np.pi)
        spans.append((number, joint, outward + rng.normal(0, 0.4)))
    length, width = rng.uniform(0.45, 0.9), rng.uniform(0.16, 0.36)
    for number, joint, angle in spans[:behind]:
        limb(joint, angle, length, width, 1 + number % 2)
    body = _affine(np.eye(2) if lying else _rotation(np.pi / 2), np.zeros(2))
    add([body] * len(studio.times), capsule(side, slim, rng.uniform(0.7, 1.2)))
    neck = np.array([0.85, -slim * 0.3]) if lying else np.array([0.0, -0.9])
    nod = rng.normal(0, 0.35) * studio.reach
    span = rng.uniform(0.25, 0.42)
    look = [_affine(_rotation(nod * t) * span, neck + np.array([0.15 if lying else 0.0, -0.2])) for t in studio.times]
    add(look, random_silhouette(rng, side))
    for number, joint, angle in spans[behind:]:
        limb(joint, angle, length, width, 1 + number % 2)


def _backdrop(studio: _Studio, clutter: int) -> None:
    rng, size = studio.rng, studio.size
    rgba = np.dstack([studio.background, np.full(studio.background.shape[:2], 255, np.uint8)])
    still = _Motion(np.zeros(2), 0.0, 0.0, 0.0, 0.0)
    poses = studio.poses(np.zeros(2), still, _affine(_rotation(rng.uniform(0, 2 * np.pi)) * size * 0.95, np.zeros(2)))
    waves = studio.waves(0.25 * studio.reach)
    studio.surfaces.append(Leaf(rgba=rgba, normals=None, poses=poses, object_id=0, endless=True, waves=waves))
    parallax = _Motion.draw(rng, size, 0.15 * studio.reach)
    for _ in range(int(rng.integers(0, clutter + 1))):
        place, radius = _placed(rng, size, 0.06, 0.45)
        local = _affine(_rotation(rng.uniform(0, 2 * np.pi)) * radius, np.zeros(2))
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
    travel = _Motion.draw(rng, size, reach)
    centre = _affine(np.eye(2), np.full(2, size / 2))
    camera = [centre @ travel.at(time) for time in times]
    background = _scenery(rng, bank)
    studio = _Studio(rng, bank, size, np.asarray(times, float), reach, settings.smallest, camera, background)
    _backdrop(studio, settings.clutter)
    object_id = 1
    for _ in range(int(rng.integers(settings.objects[0], settings.objects[1] + 1))):
        camouflage, kind = rng.random() < settings.camouflage, rng.random()
        if kind < 0.5:
            twin = rng.random() < settings.twin
            _single(studio, object_id, camouflage, twin)
            object_id += 1 + twin
        elif kind < 0.82:
            _figure(studio, object_id, camouflage)
            object_id += 1
        else:
            _ball(studio, object_id, camouflage)
            object_id += 1
    return Scene(studio.surfaces, _lights(rng, studio.times), size)
