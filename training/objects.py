"""What moves in a scene: leaves and clusters of leaves, their twins, turning balls and jointed figures."""

from dataclasses import dataclass, field

import numpy as np

from training.layers import Ball, Leaf, Surface
from training.motion import Motion, about, affine, rotation
from training.shapes import capsule, dome_normals, random_silhouette
from training.textures import TextureBank

__all__ = ["Studio", "add_ball", "add_figure", "add_leaves", "placed"]


@dataclass(eq=False)
class Studio:
    """What the builders below share; they append to ``surfaces`` in painting order."""

    rng: np.random.Generator
    bank: TextureBank
    size: int
    times: np.ndarray
    reach: float
    smallest: float
    camera: list[np.ndarray]
    background: np.ndarray
    surfaces: list[Surface] = field(default_factory=list)

    def poses(self, place: np.ndarray, motion: Motion, local: np.ndarray | list[np.ndarray]) -> np.ndarray:
        """Patch -> frame maps: ``local`` (one or per frame), the motion about ``place``, then the camera."""
        out = []
        for i, time in enumerate(self.times):
            inner = local[i] if isinstance(local, list) else local
            out.append((self.camera[i] @ affine(np.eye(2), place) @ motion.at(time) @ inner)[:2])
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
        """Choose the side of a patch that is ``radius`` pixels large on screen."""
        return int(np.clip(radius * 2.2, 40, 224))

    def texture(self, side: int, camouflage: bool = False) -> np.ndarray:
        """Cut a texture (side, side, 3) uint8 from the bank, or from the background."""
        if camouflage:
            side_bg = self.background.shape[0]
            side_cut = min(side, side_bg)
            row, col = self.rng.integers(0, side_bg - side_cut + 1, 2)
            cut = self.background[row : row + side_cut, col : col + side_cut]
            reps = -(-side // side_cut)
            return np.tile(cut, (reps, reps, 1))[:side, :side]
        return self.bank.crop(self.rng, side)

    def leaf(self, poses: np.ndarray, rgb: np.ndarray, mask: np.ndarray, object_id: int, soft: float) -> Leaf:
        """Build a leaf, rounded in two cases of three; ``soft`` scales how much it bends."""
        bulge = self.rng.uniform(0.2, 1.1) if self.rng.random() < 0.65 else 0.0
        return Leaf(
            rgba=np.dstack([rgb, mask]),
            normals=dome_normals(mask, bulge) if bulge else None,
            poses=poses,
            object_id=object_id,
            waves=self.waves(soft),
        )


def placed(rng: np.random.Generator, size: int, low: float, high: float) -> tuple[np.ndarray, float]:
    """Draw a place (xy from the centre, pixels) and a radius between shares of the size."""
    radius = size * np.exp(rng.uniform(np.log(low), np.log(high)))
    return rng.normal(0, 0.26, 2) * size, radius


def add_leaves(studio: Studio, object_id: int, camouflage: bool, twin: bool) -> None:
    """Add one leaf, or a cluster of leaves that move as one."""
    rng = studio.rng
    place, radius = placed(rng, studio.size, studio.smallest, 0.5)
    motion = Motion.draw(rng, studio.size, studio.reach)
    parts = 1 if rng.random() < 0.6 else int(rng.integers(2, 5))
    start = len(studio.surfaces)
    for part in range(parts):
        small = radius * (1.0 if part == 0 else rng.uniform(0.3, 0.7))
        offset = np.zeros(2) if part == 0 else rng.normal(0, 0.5, 2) * radius
        local = affine(rotation(rng.uniform(0, 2 * np.pi)) * small, offset)
        side = studio.resolution(small)
        rgb, mask = studio.texture(side, camouflage), random_silhouette(rng, side)
        studio.surfaces.append(studio.leaf(studio.poses(place, motion, local), rgb, mask, object_id, studio.reach))
    if twin:
        _twin(studio, start, object_id + 1)


def _twin(studio: Studio, start: int, object_id: int) -> None:
    """Add copies of the last object's surfaces under another pose and motion."""
    move, motion = (
        studio.rng.normal(0, 0.3, 2) * studio.size,
        Motion.draw(studio.rng, studio.size, studio.reach),
    )
    turn = affine(rotation(studio.rng.normal(0, 0.6)) * np.exp(studio.rng.normal(0, 0.2)), np.zeros(2))
    for surface in studio.surfaces[start:]:
        base = np.linalg.inv(studio.camera[0]) @ np.vstack([surface.poses[0], [0, 0, 1]])
        poses = studio.poses(move, motion, turn @ base)
        waves = studio.waves(studio.reach)
        studio.surfaces.append(
            Leaf(rgba=surface.rgba, normals=surface.normals, poses=poses, object_id=object_id, waves=waves)
        )


def add_ball(studio: Studio, object_id: int, camouflage: bool) -> None:
    """Add an ellipsoid that turns about a random axis."""
    rng = studio.rng
    place, radius = placed(rng, studio.size, studio.smallest, 0.4)
    motion = Motion.draw(rng, studio.size, studio.reach)
    local = affine(rotation(rng.uniform(0, np.pi)) @ np.diag([1.0, rng.uniform(0.55, 1.0)]) * radius, np.zeros(2))
    side = 160
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    start, sweep = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.9) * studio.reach
    spins = np.stack([about(axis, start + sweep * time) for time in studio.times])
    rgba = np.dstack([studio.texture(side, camouflage), np.full((side, side), 255, np.uint8)])
    poses = studio.poses(place, motion, local)
    studio.surfaces.append(Ball(rgba=rgba, normals=None, poses=poses, object_id=object_id, spins=spins))


def add_figure(studio: Studio, object_id: int, camouflage: bool) -> None:
    """Add a body with head and jointed limbs; every part swings about its joint."""
    rng = studio.rng
    place, radius = placed(rng, studio.size, 1.4 * studio.smallest, 0.45)
    motion = Motion.draw(rng, studio.size, studio.reach)
    stance = rotation(rng.normal(0, 0.5)) @ np.diag([rng.choice([-1.0, 1.0]), 1.0]) * radius
    side = studio.resolution(radius)
    coat = studio.texture(side, camouflage)
    shared = rng.random() < 0.6
    slim = rng.uniform(0.28, 0.7)
    lying = rng.random() < 0.5

    def dress() -> np.ndarray:
        return coat if shared or rng.random() < 0.3 else studio.texture(side, camouflage)

    def add(chain: list[np.ndarray], mask: np.ndarray) -> None:
        local = [affine(stance, np.zeros(2)) @ matrix for matrix in chain]
        studio.surfaces.append(
            studio.leaf(studio.poses(place, motion, local), dress(), mask, object_id, 0.5 * studio.reach)
        )

    def limb(joint: np.ndarray, angle: float, length: float, width: float, segments: int) -> None:
        chain = [affine(np.eye(2), joint) for _ in studio.times]
        for _ in range(segments):
            swing = rng.normal(0, 0.7) * min(1.0, studio.reach + 0.2)
            chain = [
                m @ affine(rotation(angle + swing * t), np.zeros(2)) for m, t in zip(chain, studio.times, strict=True)
            ]
            bar = affine(np.eye(2) * length / 2, np.array([length / 2, 0.0]))
            add([m @ bar for m in chain], capsule(side, width, rng.uniform(0.6, 1.0)))
            chain = [m @ affine(np.eye(2), np.array([length * 0.88, 0.0])) for m in chain]
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
    body = affine(np.eye(2) if lying else rotation(np.pi / 2), np.zeros(2))
    add([body] * len(studio.times), capsule(side, slim, rng.uniform(0.7, 1.2)))
    neck = np.array([0.85, -slim * 0.3]) if lying else np.array([0.0, -0.9])
    nod = rng.normal(0, 0.35) * studio.reach
    span = rng.uniform(0.25, 0.42)
    look = [affine(rotation(nod * t) * span, neck + np.array([0.15 if lying else 0.0, -0.2])) for t in studio.times]
    add(look, random_silhouette(rng, side))
    for number, joint, angle in spans[behind:]:
        limb(joint, angle, length, width, 1 + number % 2)
