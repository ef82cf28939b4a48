"""Draw the example clip: a striped walker crosses a meadow and passes behind a tree, with exact ground truth.

``python examples/make_clip.py --out examples/walker`` writes ``clip.mp4``, ``reference.png`` (the annotation
of frame 0), ``truth/00000.png ...`` (the annotation of every frame) and ``parts.json``. All of it follows
from the seed. The truth is not traced from the picture: picture and part ids come from the same geometry, at
the middle of the time each frame is exposed.
"""

from __future__ import annotations

import argparse
import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from figure import PARTS, Walker, fractal, linear, lookup, mix, smoothstep
from PIL import Image

WIDTH, HEIGHT, FRAMES, FPS = 640, 360, 72, 24
SHUTTER, SUBFRAMES = (
    0.5,
    5,
)  # exposed share of a frame, and odd, so that the middle one is the frame's own time
HORIZON, FOOT, PAN = (
    128.0,
    300.0,
    3.4,
)  # rows of the horizon and of the walker's feet; px per frame at the walker
CENTRE = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
MARGIN, OVER = 60, 2  # plates reach this far out of the frame, and are drawn this many times larger
GX, GY = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))


def base(nearness: float) -> float:
    """Row where something stands on the ground at `nearness` (0 at the horizon, 1 at the walker)."""
    return HORIZON + nearness * (FOOT - HORIZON)


class Camera:
    """Hand-held camera: a pan, a slow zoom, and the shake of the hand.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the phases of the shake.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.phase = rng.uniform(0, 2 * np.pi, (3, 4))

    def view(self, time: float, nearness: float) -> np.ndarray:
        """Similarity (2, 3) float64 from the plane at `nearness` to the screen, at `time` in frames."""
        wave = np.sin(2 * np.pi * time * np.array([0.017, 0.041, 0.083, 0.19]) + self.phase)
        shake = wave @ np.array([1.6, 1.4, 0.9, 0.35])
        s = time / (FRAMES - 1)
        angle, zoom = np.radians(0.16) * shake[2], 1.0 + 0.11 * s * s * (3 - 2 * s)
        turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        pivot = CENTRE + np.array([nearness * PAN * time, 12])
        shift = CENTRE + np.array([0, 8]) + shake[:2] - turn @ pivot
        return np.hstack([turn, shift[:, None]])


class Plate:
    """A flat, transparent layer of scenery at one nearness.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws what is painted on the plate.
    nearness : float
        Its place: 0 at the horizon, 1 at the walker.
    """

    def __init__(self, rng: np.random.Generator, nearness: float) -> None:
        self.rng, self.nearness = rng, nearness
        self.width = int(WIDTH + PAN * FRAMES * nearness + 2 * MARGIN)
        self.paint = np.zeros(((HEIGHT + 2 * MARGIN) * OVER, self.width * OVER, 4), np.uint8)
        y, x = np.mgrid[: self.paint.shape[0], : self.paint.shape[1]].astype(np.float32)
        self.x, self.y = (x + 0.5) / OVER - 0.5 - MARGIN, (y + 0.5) / OVER - 0.5 - MARGIN

    def dab(self, x: float, y: float, rx: float, ry: float, angle: float, rgb: np.ndarray, alpha: float = 1) -> None:
        """Paint one anti-aliased ellipse (pixels, degrees, linear (3,) colour)."""
        colour = [*(255 * np.clip(rgb, 0, 1) ** (1 / 2.2) * alpha).tolist(), 255 * alpha]
        centre = tuple(round((c + MARGIN + 0.5) * OVER * 16) for c in (x, y))
        axes = (max(round(rx * OVER * 16), 8), max(round(ry * OVER * 16), 8))
        cv2.ellipse(self.paint, centre, axes, angle, 0, 360, colour, -1, cv2.LINE_AA, 4)

    def fill(self, inside: np.ndarray, rgb: np.ndarray) -> None:
        """Paint an (h, w, 3) linear `rgb` wherever `inside` (signed distance, pixels, (h, w)) is positive."""
        cover = np.clip(inside * OVER + 0.5, 0, 1)[..., None]
        new = np.dstack([255 * np.clip(rgb, 0, 1) ** (1 / 2.2), np.full(inside.shape, 255.0)])
        self.paint = np.round(self.paint * (1 - cover) + new * cover).astype(np.uint8)

    def shadow(self, x: float, rx: float, strength: float) -> None:
        """Paint a soft dark patch on the ground around column `x`."""
        y = base(self.nearness)
        a = strength * np.exp(-1.5 * (((self.x - x) / rx) ** 2 + ((self.y - y) / (0.16 * rx)) ** 2))
        dark = np.dstack([*(a * c for c in (28, 34, 30)), 255 * a])
        self.paint = np.round(self.paint * (1 - a[..., None]) + dark).astype(np.uint8)

    def foliage(
        self, x: float, y: float, rx: float, ry: float, colours: list[np.ndarray], leaf: float, count: int
    ) -> None:
        """Paint a clump of leaves lit from the upper right; dark ones first, `colours` from dark to light."""
        angle, r = self.rng.uniform(0, 2 * np.pi, count), np.sqrt(self.rng.uniform(0, 1, count))
        r *= 1 + 0.12 * np.sin(3 * angle + x) + 0.09 * np.sin(7 * angle + 2 * x)
        px, py = r * np.cos(angle), r * np.sin(angle)
        tone = np.clip(0.47 + 0.34 * (0.55 * px - 0.8 * py) + self.rng.normal(0, 0.17, count), 0, 0.999)
        layer = tone + self.rng.normal(0, 0.25, count)
        for i in np.argsort(layer):
            k = tone[i] * (len(colours) - 1)
            rgb = colours[int(k)] + (k % 1) * (colours[int(k) + 1] - colours[int(k)])
            size = leaf * self.rng.uniform(0.6, 1.3)
            self.dab(x + rx * px[i], y + ry * py[i], size, size * 0.55, self.rng.uniform(0, 180), rgb)

    def grass(self, count: int, height: float, light: np.ndarray) -> None:
        """Paint `count` tufts of bent blades along the foot of the plate."""
        for x in np.sort(self.rng.uniform(-MARGIN, self.width - MARGIN, count)):
            y0 = base(self.nearness) + self.rng.normal(0, 0.3 * height)
            for _ in range(int(self.rng.integers(7, 15))):
                x1, lean = x + self.rng.normal(0, 0.35 * height), self.rng.normal(0.1, 0.35)
                tall, tone = height * self.rng.uniform(0.45, 1.1), self.rng.uniform(0.35, 1.05)
                s = np.linspace(0, 1, 6)
                side = 0.05 * height * (1 - s) + 0.25
                bx, by = x1 + lean * tall * s**1.8, y0 + 2 - tall * s
                edge = np.r_[np.c_[bx - side, by], np.c_[bx + side, by][::-1]]
                points = np.round((edge + MARGIN + 0.5) * OVER * 16).astype(np.int32)
                colour = [*(255 * np.clip(light * tone, 0, 1) ** (1 / 2.2)).tolist(), 255]
                cv2.fillPoly(self.paint, [points], colour, cv2.LINE_AA, 4)

    def trunk(
        self, x: float, half: float, bark: np.ndarray, rgb: np.ndarray, lean: float = 0.0, top: float = -99
    ) -> None:
        """Paint a trunk of half-width `half` around column `x`, with furrowed bark and spreading roots."""
        y0 = base(self.nearness)
        wob = lookup(bark, 0.25 * self.y + 7 * x, 0 * self.y + 31)
        up = (y0 - self.y) / half
        flare = np.exp(-np.maximum(up, 0) / 0.45)
        roots = 1 + flare * (0.85 + 0.25 * np.sin(0.24 * (self.x - x) * 30 / half + 1)) - 0.02 * np.minimum(up, 8)
        across = (self.x - x - lean * (y0 - self.y) - 0.02 * half * wob) / (half * roots)
        inside = np.minimum((1 - np.abs(across)) * half * roots, (y0 + 0.10 * half * np.cos(5 * across) - self.y))
        phi = np.arcsin(np.clip(across, -1, 1))
        k = 34 / half
        deep = lookup(bark, 95 * phi + 6 * wob, 0.32 * k * self.y) + 0.5 * lookup(
            bark, 240 * phi, 1.1 * k * self.y + 50
        )
        light = 0.30 + 0.75 * np.clip(np.sin(phi + 0.55), 0, 1) ** 1.3
        tint = mix(rgb, linear(112, 122, 62), 0.55 * smoothstep(0.1, 1.2, -across - 0.1 * up + 0.5 * deep + 0.4))
        tone = light * (1 + 0.30 * np.clip(deep, -2.2, 2)) * (0.55 + 0.45 * smoothstep(0, 0.6, up))
        self.fill(np.minimum(inside, self.y - top), tint * tone[..., None])

    def finish(self) -> Plate:
        """Turn the paint into `rgba`, (h, w, 4) float32, linear light, premultiplied."""
        alpha = self.paint[..., 3:] / np.float32(255)
        rgb = (self.paint[..., :3] / np.float32(255) / np.maximum(alpha, 1e-3)).clip(0, 1) ** 2.2
        self.rgba = np.concatenate([rgb * alpha, alpha], 2).astype(np.float32)
        del self.paint, self.x, self.y
        return self

    def seen(self, camera: Camera, time: float) -> np.ndarray:
        """Put the plate on the screen: (HEIGHT, WIDTH, 4) float32."""
        view = camera.view(time, self.nearness)
        shift = (0.5 / OVER - 0.5 - MARGIN) * np.ones(2)
        view = np.hstack([view[:, :2] / OVER, (view[:, 2] + view[:, :2] @ shift)[:, None]])
        return cv2.warpAffine(self.rgba, view, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)


class Scene:
    """Everything but the walker.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws all of it.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rough, self.soft = fractal(rng, (512, 512), 0.9, 3), fractal(rng, (512, 512), 1.5, 2)
        self.cloud, bark = fractal(rng, (512, 512), 1.75, 2), fractal(rng, (512, 512), 0.9, 4)
        self.behind, self.front = [self.sky(rng)], []
        for near, row, tall, slope, dark, light in (
            (0.05, 116, 20, 1.3, linear(132, 158, 180), linear(186, 200, 206)),
            (0.10, 130, 14, 1.5, linear(96, 134, 142), linear(150, 176, 164)),
            (0.17, 147, 9, 1.6, linear(62, 104, 88), linear(128, 154, 104)),
        ):
            self.behind.append(self.hills(rng, near, row, tall, slope, dark, light))
        green = [linear(*c) for c in ((26, 46, 34), (52, 84, 46), (104, 132, 58), (172, 178, 88))]
        russet = [linear(*c) for c in ((58, 30, 26), (120, 58, 30), (204, 104, 46), (238, 176, 98))]
        for near, trees, bushes in (
            (
                0.30,
                ((52, 4.5), (206, 3.6), (352, 5), (560, 4.5), (675, 4)),
                ((130, 13), (450, 15), (630, 11)),
            ),
            (0.52, ((720, 8),), ((38, 26), (322, 30), (515, 24))),
        ):
            plate = Plate(rng, near)
            for x, half in trees:
                plate.shadow(x, 11 * half, 0.5)
                plate.trunk(x, half, bark, linear(120, 98, 80), rng.normal(0, 0.03), base(near) - 17 * half)
                for _ in range(6):
                    cx, cy = x + rng.normal(0, 4 * half), base(near) - rng.uniform(11, 19) * half
                    plate.foliage(cx, cy, rng.uniform(4, 6.5) * half, 3.4 * half, green, 0.55 * half, 230)
            for x, r in bushes:
                plate.shadow(x, 1.9 * r, 0.65)
                for dx, dy, s in (
                    (-0.15, -0.4, 0.8),
                    (-0.75, -0.38, 0.62),
                    (0.8, -0.34, 0.55),
                    (0.05, -0.78, 0.9),
                ):
                    plate.foliage(
                        x + dx * r,
                        base(near) + dy * r,
                        s * r,
                        0.85 * s * r,
                        russet,
                        1.7 + r / 22,
                        int(24 * r * s),
                    )
            plate.grass(int(120 - 60 * near), 26 * near, linear(186, 188, 96) * (0.5 + 0.3 * near))
            self.behind.append(plate.finish())
        plate = Plate(rng, 0.80)
        plate.grass(34, 17, linear(176, 184, 84) * 0.75)
        self.behind.append(plate.finish())

        plate = Plate(rng, 1.22)
        plate.shadow(458, 120, 0.8)
        plate.trunk(458, 50, bark, linear(142, 112, 90), 0.03)
        for _ in range(15):
            cx, cy = 458 + rng.normal(0, 85), rng.uniform(-50, 6)
            plate.foliage(cx, cy, 46, 26, green, 5.2, 190)
        plate.grass(22, 17, linear(170, 182, 80) * 0.8)
        self.front.append(plate.finish())
        plate = Plate(rng, 1.48)
        plate.grass(46, 30, linear(128, 152, 66) * 0.6)
        self.front.append(plate.finish())

    def sky(self, rng: np.random.Generator) -> Plate:
        """Evening sky with a low sun and fractal clouds."""
        plate = Plate(rng, 0.015)
        down = np.clip(plate.y / 150, -0.4, 1)
        rgb = mix(linear(104, 158, 204), linear(255, 232, 196), smoothstep(-0.3, 1.0, down))
        glow = np.exp(-np.hypot(plate.x - 545, 1.3 * (plate.y - 70)) / 120)
        rgb = mix(rgb, linear(255, 222, 160), 0.75 * glow)
        c = lookup(self.cloud, 0.75 * plate.x, 1.9 * plate.y) + 0.35 * lookup(self.rough, plate.x, 2.4 * plate.y)
        lit = mix(linear(238, 226, 222), linear(255, 250, 236), smoothstep(-0.5, 1.5, c))
        plate.fill(np.full(c.shape, 9.0), mix(rgb, lit, 0.8 * smoothstep(0.0, 1.5, c) * smoothstep(1.05, 0.2, down)))
        return plate.finish()

    def hills(self, rng: np.random.Generator, near: float, row: float, tall: float, slope: float,
              dark: np.ndarray, light: np.ndarray) -> Plate:  # fmt: skip
        """Paint a range of wooded hills with a fractal ridge, hazy towards its foot."""
        plate = Plate(rng, near)
        ridge = row - tall * fractal(rng, (2048,), slope, 2)
        teeth = 26 * near * np.abs(fractal(rng, (2048,), 0.35, 30))
        column = np.clip(plate.x[0] + MARGIN, 0, 2047)
        top = np.interp(column, np.arange(2048), ridge - teeth)
        grain = lookup(self.rough, 2.2 * plate.x + 900 * near, 3.4 * plate.y)
        patch = lookup(self.soft, 1.4 * plate.x + 700 * near, 3 * plate.y + 60)
        depth = (plate.y - np.interp(column, np.arange(2048), ridge)) / 30
        tone = smoothstep(-1.9, 1.9, patch + 0.55 * grain + 0.5 - 1.2 * smoothstep(0.3, -0.3, depth))
        rgb = mix(mix(dark, light, tone), linear(214, 214, 198), 0.55 * smoothstep(0.2, 1.6, depth))
        plate.fill(plate.y - top, rgb)
        return plate.finish()

    def ground(self, camera: Camera, time: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw the meadow in perspective.

        Returns
        -------
        rgb : numpy.ndarray
            (h, w, 3) float32, linear light.
        cover : numpy.ndarray
            (h, w) float32, 0 above the ground and 1 on it.
        plane : numpy.ndarray
            (2, h, w) float32, place in the walker's plane of every pixel.
        """
        inverse = cv2.invertAffineTransform(camera.view(time, 0.0))
        qx, qy = (m[0] * GX + m[1] * GY + m[2] for m in inverse)
        near = np.maximum((qy - HORIZON) / (FOOT - HORIZON), 0.08).astype(np.float32)
        x, z = (qx - CENTRE[0]) / near + CENTRE[0] + PAN * time, 620 / near
        fine = lookup(self.rough, 1.3 * x, 0.5 * z) * smoothstep(0.25, 0.9, near)
        finer = lookup(self.rough, 3.1 * x + 77, 1.1 * z) * smoothstep(0.5, 1.2, near)
        patch, wide = lookup(self.soft, 0.35 * x, 0.5 * z), lookup(self.soft, 0.12 * x + 200, 0.2 * z)
        rgb = mix(linear(92, 108, 46), linear(190, 182, 92), smoothstep(-1.6, 1.8, patch + 0.6 * fine))
        rgb = mix(rgb, linear(120, 138, 62), 0.7 * smoothstep(0.0, 1.6, wide))
        path = np.abs(z - 610 - 26 * wide - 9 * patch) / (62 + 10 * patch)
        earth = mix(linear(150, 118, 84), linear(214, 184, 138), smoothstep(-1.8, 1.8, finer + 0.7 * fine))
        rgb = mix(rgb, earth, 0.92 * smoothstep(1.15, 0.75, path + 0.16 * fine))
        rgb = rgb * (1 + 0.16 * fine + 0.15 * finer)[..., None].clip(0.4, 1.8)
        rgb = mix(rgb, linear(206, 206, 170), 0.75 * smoothstep(0.5, 0.10, near))
        shade = lookup(self.cloud, 0.16 * x + 0.5 * time, 0.14 * z)
        rgb = rgb * (1 - 0.30 * smoothstep(0.0, 1.2, shade))[..., None]
        return rgb, smoothstep(0.13, 0.17, (qy - HORIZON) / (FOOT - HORIZON)), np.stack([qx + PAN * time, qy])

    def render(self, camera: Camera, walker: Walker, time: float) -> tuple[np.ndarray, np.ndarray]:
        """One instant: (h, w, 3) float32 picture in linear light and (h, w) uint8 part ids."""
        rgb = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        ground = self.ground(camera, time)
        for plate in self.behind:
            if plate.nearness == 0.30:
                rgb = mix(rgb, ground[0], ground[1])
            seen = plate.seen(camera, time)
            rgb = rgb * (1 - seen[..., 3:]) + seen[..., :3]
        x, y = ground[2]
        foot = walker.ground(time)
        shade = 0.68 * np.exp(-(((x - foot[0] + 14) / 92) ** 2) - ((y - foot[1] - 1) / 11) ** 2)
        for hind, near in ((True, True), (True, False), (False, True), (False, False)):
            _, toe, lift = walker.leg(time, hind, near)
            spot = ((x - foot[0] - toe[0] - 4) / 17) ** 2 + ((y - foot[1] - toe[1] - lift - 5) / 4.5) ** 2
            shade = shade + 0.5 * max(0, 1 - lift / 20) * np.exp(-spot)
        rgb = mix(rgb, rgb * linear(60, 70, 90), np.minimum(shade, 0.92))
        figure, ids = walker.draw(time, camera.view(time, 1.0), (WIDTH, HEIGHT))
        rgb = rgb * (1 - figure[..., 3:]) + figure[..., :3]
        for plate in self.front:
            seen = plate.seen(camera, time)
            rgb = rgb * (1 - seen[..., 3:]) + seen[..., :3]
            ids[seen[..., 3] >= 0.5] = 0
        return rgb, ids


def develop(rgb: np.ndarray, frame: int, seed: int) -> np.ndarray:
    """Exposure drift, vignette, film curve and sensor noise: linear float to (h, w, 3) uint8 sRGB."""
    rng = np.random.default_rng([seed, frame])
    s = frame / (FRAMES - 1)
    gain = (1.06 + 0.09 * np.sin(2 * np.pi * (0.9 * s + 0.1))) * np.array([1 + 0.03 * s, 1, 1 - 0.05 * s])
    vignette = 1 - 0.28 * (((GX - CENTRE[0]) / WIDTH) ** 2 + ((GY - CENTRE[1]) / WIDTH) ** 2) / 0.33
    rgb = np.clip(rgb * gain * vignette[..., None], 0, None)
    out = 255 * np.clip(rgb * (1 + 0.12 * rgb) / (1 + 0.12 * rgb * rgb), 0, 1) ** (1 / 2.2)
    out = out + rng.normal(0, 1.5, (HEIGHT, WIDTH, 1)) + rng.normal(0, 0.8, (HEIGHT, WIDTH, 3))
    return np.clip(np.round(out), 0, 255).astype(np.uint8)


def davis_palette() -> list[int]:
    """List the 256 colours of PASCAL VOC and DAVIS (bits of the id spread over r, g, b), flat."""
    return [sum((i >> (3 * b + c) & 1) << (7 - b) for b in range(3)) for i in range(256) for c in range(3)]


def save_ids(path: Path, ids: np.ndarray) -> None:
    """Write (h, w) uint8 part ids as an indexed PNG."""
    image = Image.fromarray(ids)
    image.putpalette(davis_palette())
    image.save(path, optimize=True)


def main() -> None:
    """Draw and write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "walker", help="folder to write")
    parser.add_argument("--seed", type=int, default=7, help="seed of all that is drawn by chance")
    parser.add_argument("--crf", type=int, default=20, help="quality of the h264 stream, lower is better and larger")
    args = parser.parse_args()
    (args.out / "truth").mkdir(parents=True, exist_ok=True)

    rng = np.random.default_rng(args.seed)
    scene, camera, walker = Scene(rng), Camera(rng), Walker(rng, (158.0, FOOT))
    with av.open(str(args.out / "clip.mp4"), "w") as movie:
        stream = movie.add_stream("libx264", rate=Fraction(FPS), options={"crf": str(args.crf), "preset": "slow"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in range(FRAMES):
            offsets = SHUTTER * (np.arange(SUBFRAMES) - SUBFRAMES // 2) / SUBFRAMES
            shots = [scene.render(camera, walker, frame + d) for d in offsets]
            rgb = develop(np.mean([shot[0] for shot in shots], 0), frame, args.seed)
            movie.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            ids = shots[SUBFRAMES // 2][1]
            save_ids(args.out / "truth" / f"{frame:05d}.png", ids)
            if frame == 0:
                save_ids(args.out / "reference.png", ids)
            print(f"\rframe {frame + 1}/{FRAMES}", end="", flush=True)
        movie.mux(stream.encode())
    (args.out / "parts.json").write_text(json.dumps({str(k): name for k, name in PARTS.items()}, indent=2) + "\n")
    print()


if __name__ == "__main__":
    main()
