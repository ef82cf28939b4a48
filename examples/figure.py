"""The walker of the example clip: a jointed, furred animal built from tubes along splines.

Every part is one or more tubes: a smooth centre line with a radius on each of its two sides. A pixel's
nearest point on the centre line gives a signed distance (the anti-aliased edge and the exact mask), a surface
normal (the shading) and two coat coordinates, so that stripes and spots bend with the skin.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

PARTS = {1: "head", 2: "body", 3: "tail", 4: "forelegs", 5: "hindlegs"}
SPEED, PERIOD, DUTY = (
    7.2,
    22.0,
    0.62,
)  # px per frame, frames per stride, share of a stride a foot is on the ground
LIGHT = np.array([0.5, -0.68, 0.54]) / np.linalg.norm([0.5, -0.68, 0.54])
# Lengths between the knots at rest: they, not those of the moment, place the coat, so that it does not slide.
REST = {3: np.full(13, 10.5), 4: np.array([22, 22, 44, 18, 12.0]), 5: np.array([23, 23, 45, 28, 12.0])}

Coat = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def linear(*srgb: float) -> np.ndarray:
    """Linear-light (3,) float32 colour of an sRGB triple in 0..255."""
    return (np.array(srgb, np.float32) / 255) ** 2.2


RUSSET, UMBER, DARK = linear(206, 104, 44), linear(104, 50, 28), linear(46, 28, 24)
CREAM, SAND = linear(246, 222, 184), linear(226, 158, 92)


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """Cubic step, 0 below ``low`` and 1 above ``high`` (reversed when ``low > high``); same shape as `x`."""
    s = np.clip((x - low) / (high - low), 0, 1)
    return s * s * (3 - 2 * s)


def mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Blend colours `a` and `b`, each (3,) or (h, w, 3), by an (h, w) `weight` of `b`."""
    return a + (b - a) * weight[..., None]


def fractal(rng: np.random.Generator, shape: tuple[int, ...], beta: float, low: float = 0.0) -> np.ndarray:
    """Tileable 1/f**beta noise with zero mean and unit deviation.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        One or two axes.
    beta : float
        Slope of the amplitude spectrum.
    low : float
        Frequencies (cycles per tile) below this one are left out.

    Returns
    -------
    numpy.ndarray
        Float32 of `shape`.
    """
    axes = np.meshgrid(*[np.fft.fftfreq(n) * max(shape) for n in shape], indexing="ij")
    f = np.sqrt(sum(a * a for a in axes))
    gain = np.where(f > low, np.maximum(f, 1) ** -beta, 0)
    out = np.fft.ifftn(np.fft.fftn(rng.standard_normal(shape)) * gain).real
    return ((out - out.mean()) / out.std()).astype(np.float32)


def lookup(texture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples of a tileable (n, m) float32 `texture` at coordinates of any equal (h, w) shape."""
    n, m = texture.shape[:2]
    x, y = np.mod(x, m).astype(np.float32), np.mod(y, n).astype(np.float32)
    return cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def spline(knots: np.ndarray, per: int = 5) -> np.ndarray:
    """Catmull-Rom curve through (n, k) `knots`, `per` pieces between two: ((n - 1) * per + 1, k) float64."""
    p = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    s = np.linspace(0, 1, per, endpoint=False)[:, None]
    rows = [0.5 * (2 * b + (c - a) * s + (2 * a - 5 * b + 4 * c - d) * s**2 + (3 * b - a - 3 * c + d) * s**3)
            for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False)]  # fmt: skip
    return np.vstack([*rows, knots[-1:]])


def two_bones(top: np.ndarray, end: np.ndarray, upper: float, lower: float, bend: int) -> np.ndarray:
    """Middle joint (2,) of a two-bone limb from `top` to `end`; `bend` +1 puts it forward, -1 backward."""
    d = end - top
    n = min(float(np.hypot(*d)), 0.995 * (upper + lower))
    along = (upper**2 - lower**2 + n * n) / (2 * n)
    d = d / np.hypot(*d)
    return top + along * d + bend * np.sqrt(max(upper**2 - along**2, 0)) * np.array([d[1], -d[0]])


class Walker:
    """The animal: its coat textures, its gait and its drawing.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the coat.
    start : tuple of float
        Ground point under the middle of the body at time 0, in pixels of the walker's plane.
    """

    def __init__(self, rng: np.random.Generator, start: tuple[float, float]) -> None:
        self.start = np.array(start)
        self.warp = fractal(rng, (256, 256), 2.0, 3)
        self.fur = fractal(rng, (256, 256), 0.6, 12)

    def leg(self, time: float, hind: bool, near: bool) -> tuple[np.ndarray, np.ndarray, float]:
        """Pose of one leg.

        Parameters
        ----------
        time : float
            In frames.
        hind, near : bool
            Which of the four.

        Returns
        -------
        knots : numpy.ndarray
            (6, 2) float64, hip to claws, relative to the ground point.
        toe : numpy.ndarray
            (2,) float64, where it stands or hovers.
        lift : float
            Height of the toe above the ground, in pixels.
        """
        phase = (self.stride(time) + (0.0 if hind else 0.25) + (0.0 if near else 0.5) + 0.1) % 1
        reach, swing = SPEED * DUTY * PERIOD / 2, max(0.0, (phase - DUTY) / (1 - DUTY))
        ease = swing * swing * (3 - 2 * swing)
        along = reach * (1 - 2 * phase / DUTY) if phase < DUTY else reach * (2 * ease - 1)
        lift = (15 if hind else 19) * np.sin(np.pi * swing) ** 1.5
        bob = self.bob(time)
        top = np.array([-58, -92 + bob] if hind else [54, -88 + bob])
        toe = np.array([top[0] + along + (-4 if hind else 4) + (0 if near else 5), -6 - lift - (0 if near else 7)])
        curl = np.sin(np.pi * swing) if swing > 0 else 0.0
        tilt = np.radians(8 + 30 * np.cos(2 * np.pi * phase) + 8 * curl if hind else -10 * phase - 48 * curl)
        ankle = toe + (28 if hind else 18) * np.array([-np.sin(tilt), -np.cos(tilt)])
        knee = two_bones(top, ankle, 46 if hind else 43, 45 if hind else 44, 1 if hind else -1)
        pitch = 0.75 * curl
        claws = toe + 12 * np.array([np.cos(pitch), np.sin(pitch)]) + (0, 1)
        return (
            np.array([top, (top + knee) / 2 + ((3, 0) if hind else (1, 0)), knee, ankle, toe, claws]),
            toe,
            lift,
        )

    @staticmethod
    def stride(time: float) -> float:
        """Strides made at `time`, in frames."""
        return time / PERIOD + 0.6

    def bob(self, time: float) -> float:
        """Rise and fall of the trunk at `time`, in pixels."""
        return 2.2 * np.cos(4 * np.pi * self.stride(time))

    def ground(self, time: float) -> np.ndarray:
        """Ground point (2,) under the body at `time`."""
        return self.start + np.array([SPEED * time, 0])

    def draw(self, time: float, view: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Draw the animal alone.

        Parameters
        ----------
        time : float
            In frames.
        view : numpy.ndarray
            (2, 3) similarity from the walker's plane to the screen.
        size : tuple of int
            Width and height of the screen.

        Returns
        -------
        rgba : numpy.ndarray
            (h, w, 4) float32, linear light, premultiplied.
        ids : numpy.ndarray
            (h, w) uint8, the foremost part where it covers at least half of the pixel, else 0.
        """
        self.rgba = np.zeros((size[1], size[0], 4), np.float32)
        self.ids = np.zeros((size[1], size[0]), np.uint8)
        foot = self.ground(time)
        self.view = np.hstack([view[:, :2], (view[:, :2] @ foot + view[:, 2])[:, None]])
        wave, bob = 2 * np.pi * self.stride(time), self.bob(time)
        sway, nod = np.sin(wave), np.sin(2 * wave + 0.6)

        for hind in (True, False):
            self.draw_leg(time, hind, near=False)
        angle = np.radians(196 + np.cumsum(np.r_[0, 2, 4, 8, 13, 17, 19, 17, 11, 2, -9, -18, -24]))
        angle = angle + 0.16 * np.sin(wave - 0.42 * np.arange(13)) * np.linspace(0.3, 1.7, 13)
        steps = 10.5 * np.column_stack([np.cos(angle), np.sin(angle)])
        tail = np.array([-78, -108 + bob + 1.5 * sway]) + np.vstack([[0, 0], np.cumsum(steps, 0)])
        girth = np.interp(np.arange(14), [0, 2, 6, 10, 12, 13], [8, 8, 12, 13.5, 10, 3.5])
        self.tube(3, tail, girth, girth, self.tail_coat, fuzz=1.5)

        spine = np.array(
            [
                [-84, -104],
                [-64, -109],
                [-28, -105],
                [8, -101],
                [44, -106],
                [70, -112],
                [90, -131],
                [101, -146],
            ]
        )
        spine = spine + np.array([0, bob]) + np.outer([-1, -0.8, 0.3, 1.2, 0.4, -0.5, 0, 0], [0.8 * sway, 2.2 * nod])
        spine[-2:] += [[0.7 * nod, 1.2 * nod], [1.5 * nod, 2.5 * nod]]
        back = np.array([17, 27, 29, 27, 31, 28, 20, 17])
        belly = np.array([17, 27, 29, 33, 35, 28, 20, 17])
        self.tube(2, spine, back, belly, self.body_coat, fuzz=1.0, dusk=0.5)
        for hind in (True, False):
            self.draw_leg(time, hind, near=True)

        turn = np.radians(6 + 4 * nod)
        pose = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        place = np.array([113 + 1.8 * nod, -157 + bob + 3.2 * nod])
        self.into_head = (np.linalg.inv(pose), place)
        for knots, left, right, shade in (
            ([[3, -10], [5, -24], [9, -39]], [8, 8.5, 1.5], [7, 7, 1.5], 0.6),
            (
                [[-17, 4], [-6, -2], [6, -2], [17, 2], [28, 7], [37, 9]],
                [15, 20, 20, 14, 8, 6],
                [15, 20, 19, 13, 9, 6],
                1,
            ),
            ([[-2, 7], [-9, 12], [-19, 18]], [10, 8, 1.5], [10, 8, 1.5], 1),
            ([[-10, -10], [-14, -25], [-18, -44]], [8, 9, 1.5], [9, 9, 1.5], 1),
        ):
            self.tube(
                1,
                np.array(knots) @ pose.T + place,
                np.array(left),
                np.array(right),
                self.head_coat,
                shade,
                dusk=0.35,
            )
        return self.rgba, self.ids

    def draw_leg(self, time: float, hind: bool, near: bool) -> None:
        """Draw one leg (see `leg`) over what is there."""
        knots = self.leg(time, hind, near)[0]
        front = np.array([24, 23, 13, 8, 7, 5] if hind else [18, 17.5, 12, 8.5, 7, 5])
        rear = np.array([24, 21, 12.5, 7.5, 7, 5] if hind else [18, 17, 12.5, 8.5, 7, 5])
        coat = self.hind_coat if hind else self.fore_coat
        self.tube(5 if hind else 4, knots, front, rear, coat, 1.0 if near else 0.5, 0.6, 0.55 if near else 0)

    def tube(self, part: int, knots: np.ndarray, left: np.ndarray, right: np.ndarray, coat: Coat,
             shade: float = 1.0, fuzz: float = 0.5, dusk: float = 0.0) -> None:  # fmt: skip
        """Draw one tube over the figure.

        Parameters
        ----------
        part : int
            Id it writes.
        knots : numpy.ndarray
            (n, 2) centre line, relative to the ground point.
        left, right : numpy.ndarray
            (n,) radii on the two sides (left is up for a tube that runs to the right).
        coat : callable
            ``coat(u, v, x, y)``: (h, w, 3) colour from the length along the tube in pixels, the place
            across it in radians (-pi/2..pi/2) and the position relative to the ground point.
        shade : float
            Factor on the light.
        fuzz : float
            Height of the fur on the outline, in pixels.
        dusk : float
            Strength of the soft shadow cast on the parts drawn before.
        """
        rest = np.r_[0, np.cumsum(REST.get(part, np.full(len(knots) - 1, 24.0)))]
        line = spline(np.column_stack([knots, left, right, rest]))
        scale = float(np.sqrt(np.linalg.det(self.view[:, :2])))
        pts = line[:, :2] @ self.view[:, :2].T + self.view[:, 2]
        radii, pad = line[:, 2:4] * scale, (line[:, 2:4].max() + 12) * scale
        (x0, y0), (x1, y1) = np.floor(pts.min(0) - pad).astype(int), np.ceil(pts.max(0) + pad).astype(int)
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, self.ids.shape[1]), min(y1, self.ids.shape[0])
        if x0 >= x1 or y0 >= y1:
            return
        gx, gy = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
        sd = np.full(gx.shape, 1e9, np.float32)
        u, v, wx, wy = (np.zeros(gx.shape, np.float32) for _ in range(4))
        last = len(pts) - 2
        for i, (a, b, ra, rb, ua, ub) in enumerate(
            zip(pts, pts[1:], radii, radii[1:], line[:, 4], line[1:, 4], strict=False)
        ):
            dx, dy = (float(c) for c in b - a)
            beyond = ((gx - a[0]) * dx + (gy - a[1]) * dy) / (dx * dx + dy * dy)
            t = np.clip(beyond, 0, 1)
            along = np.clip(beyond, -99 if i == 0 else 0, 99 if i == last else 1)  # the coat runs on over the ends
            ex, ey = gx - a[0] - t * dx, gy - a[1] - t * dy
            side = (ex * dy - ey * dx) / np.hypot(dx, dy)
            r = np.where(side > 0, ra[0] + t * (rb[0] - ra[0]), ra[1] + t * (rb[1] - ra[1]))
            d = np.hypot(ex, ey)
            new = d - r < sd
            for target, value in (
                (sd, d - r),
                (u, ua + along * (ub - ua)),
                (v, side / r),
                (wx, ex / r),
                (wy, ey / r),
            ):
                np.copyto(target, value.astype(np.float32), where=new)

        v = np.arcsin(np.clip(v, -1, 1))
        sd += fuzz * scale * 0.6 * lookup(self.fur, 2.2 * u, 14 * v)
        cover = np.clip(0.5 - sd, 0, 1)
        nz = np.sqrt(np.clip(1 - wx * wx - wy * wy, 0, 1))
        sun = np.clip(0.86 * (wx * LIGHT[0] + wy * LIGHT[1] + nz * LIGHT[2]) + 0.14, 0, 1)
        sky = 0.5 - 0.5 * wy
        light = mix(linear(150, 112, 84) * 0.7, linear(150, 170, 196) * 1.1, sky) + mix(
            np.zeros(3), linear(255, 236, 200), sun
        )
        inverse = cv2.invertAffineTransform(self.view)
        x, y = (m[0] * gx + m[1] * gy + m[2] for m in inverse)
        rgb = coat(u, v, x, y) * light * (1 + 0.13 * lookup(self.fur, 1.1 * u, 26 * v))[..., None]
        rgb = rgb * shade + ((1 - nz) ** 3 * np.clip(sun - 0.3, 0, 1) * 0.3 * shade)[..., None] * linear(255, 214, 150)

        rgba, ids = self.rgba[y0:y1, x0:x1], self.ids[y0:y1, x0:x1]
        rgba[..., :3] *= (1 - dusk * np.exp(-((np.maximum(sd, 0) / (7 * scale)) ** 2)))[..., None]
        rgba *= 1 - cover[..., None]
        rgba[..., :3] += np.clip(rgb, 0, None) * cover[..., None]
        rgba[..., 3] += cover
        ids[cover >= 0.5] = part

    def body_coat(self, u: np.ndarray, v: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Warped stripes on russet, cream below (see `tube`)."""
        n, m = lookup(self.warp, 0.9 * u, 30 * v), lookup(self.warp, 90 + 1.7 * u, 50 * v)
        rgb = mix(mix(CREAM, RUSSET, smoothstep(-0.9, -0.25, v + 0.14 * n)), UMBER, 0.6 * smoothstep(0.5, 1.4, v))
        stripe = np.sin(2 * np.pi * (u / 19 + 0.16 * n - 0.12 * np.abs(v)))
        return mix(rgb, DARK, 0.85 * smoothstep(0.25, 0.7, stripe + 0.35 * m) * smoothstep(-0.7, -0.1, v + 0.2 * m))

    def tail_coat(self, u: np.ndarray, v: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Rings of russet and sand with a dark tip."""
        n = lookup(self.warp, 1.3 * u, 20 * v + 60)
        ring = smoothstep(-0.25, 0.25, np.sin(2 * np.pi * (u / 24 + 0.06 * n)) + 0.1 * n)
        return mix(mix(mix(RUSSET, UMBER, 0.5 + 0 * u), SAND * 1.1, ring), DARK, smoothstep(112, 119, u + 1.5 * n))

    def fore_coat(self, u: np.ndarray, v: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Russet shoulder with thin bands, dark stocking."""
        n = lookup(self.warp, u + 40, 22 * v)
        rgb = mix(RUSSET, DARK, 0.75 * smoothstep(0.5, 0.8, np.sin(2 * np.pi * (u / 12 + 0.14 * n)) + 0.25 * n))
        return mix(rgb, DARK * 1.3, 0.92 * smoothstep(66, 90, u + 5 * n))

    def hind_coat(self, u: np.ndarray, v: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Russet thigh with dark spots, dark stocking."""
        n, m = lookup(self.warp, 1.1 * u + 150, 25 * v), lookup(self.warp, 1.3 * u + 30, 28 * v + 99)
        spot = np.sin(2 * np.pi * (u / 15 + 0.13 * n)) * np.sin(2 * np.pi * (0.8 * v + 0.13 * m))
        rgb = mix(mix(RUSSET, SAND, 0.2 + 0 * u), DARK, 0.85 * smoothstep(0.3, 0.5, np.abs(spot)))
        return mix(rgb, DARK * 1.3, 0.92 * smoothstep(68, 92, u + 4 * n))

    def head_coat(self, u: np.ndarray, v: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Face: cream cheeks and muzzle, dark eye band, ears, nose; painted in the frame of the head."""
        turn, place = self.into_head
        hx = turn[0, 0] * (x - place[0]) + turn[0, 1] * (y - place[1])
        hy = turn[1, 0] * (x - place[0]) + turn[1, 1] * (y - place[1])
        n = lookup(self.warp, 3 * hx, 3 * hy)

        def blob(cx: float, cy: float, rx: float, ry: float, soft: float) -> np.ndarray:
            return smoothstep(1 + soft, 1 - soft, np.hypot((hx - cx) / rx, (hy - cy) / ry))

        rgb = mix(RUSSET + 0 * n[..., None], UMBER, 0.5 * smoothstep(-8, -22, hy + 3 * n))
        rgb = mix(rgb, CREAM, smoothstep(3, 8, hy - 0.12 * hx + 1.5 * n))
        rgb = mix(rgb, CREAM, 0.9 * blob(8, -12, 7, 3, 0.4))
        band = smoothstep(3.4, 1.2, np.abs(hy + 3.5 - 0.36 * (hx - 10)))
        rgb = mix(rgb, DARK, 0.85 * band * smoothstep(-14, -4, hx) * smoothstep(30, 20, hx))
        rgb = mix(rgb, mix(UMBER, DARK, smoothstep(-28, -36, hy)), smoothstep(-21, -25, hy + 1.5 * n))
        rgb = mix(rgb, SAND, 0.9 * blob(-13.5, -27, 3.6, 10, 0.35))
        rgb = mix(
            rgb,
            DARK,
            0.8 * smoothstep(1.3, 0.4, np.abs(hy - 11.5 + 0.02 * (hx - 30) ** 2)) * smoothstep(16, 21, hx),
        )
        rgb = mix(rgb, DARK * 0.4, blob(40, 6, 4.6, 4.2, 0.25))
        return mix(
            mix(rgb, DARK * 0.2, blob(10, -4.5, 4.6, 4.2, 0.2)),
            linear(255, 255, 255) * 1.4,
            blob(11.6, -6, 1.3, 1.3, 0.4),
        )
