"""Texture families: square colour pictures of materials, drawn from a random generator.

A family is a function ``(rng, size) -> (size, size) float32`` field in [0, 1]; ``colourise`` turns a field
into colours through a random palette. Drawing a texture costs milliseconds, so ``TextureBank`` draws a set
once and lends crops of it.
"""

from collections.abc import Callable

import cv2
import numpy as np

__all__ = ["FAMILIES", "TextureBank", "collage", "colourise", "draw_texture", "power_noise"]

Field = np.ndarray


def _unit(field: Field) -> Field:
    low, high = np.percentile(field, (1.0, 99.0))
    return np.clip((field - low) / max(float(high - low), 1e-6), 0.0, 1.0).astype(np.float32)


def power_noise(rng: np.random.Generator, size: int, alpha: float, stretch: float = 1.0, angle: float = 0.0) -> Field:
    """Periodic noise with amplitude spectrum ``1/f**alpha``.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Side of the square, pixels.
    alpha : float
        0 is white noise, about 1 looks like nature, 2 like clouds.
    stretch : float
        Ratio of the correlation lengths along and across ``angle``.
    angle : float
        Direction of the grain, radians.

    Returns
    -------
    (size, size) float32
        Zero mean, unit variance.
    """
    fy = np.fft.fftfreq(size)[:, None]
    fx = np.fft.rfftfreq(size)[None, :]
    along = (fx * np.cos(angle) + fy * np.sin(angle)) * np.sqrt(stretch)
    across = (fy * np.cos(angle) - fx * np.sin(angle)) / np.sqrt(stretch)
    radius = np.sqrt(along**2 + across**2)
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32)) / radius**alpha
    field = np.fft.irfft2(spectrum, s=(size, size))
    return ((field - field.mean()) / max(float(field.std()), 1e-6)).astype(np.float32)


def _grid(size: int) -> tuple[Field, Field]:
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    return line[None, :], line[:, None]


def _noise(rng: np.random.Generator, size: int) -> Field:
    field = power_noise(rng, size, rng.uniform(0.45, 1.6), np.exp(rng.uniform(0, 1.8)), rng.uniform(0, np.pi))
    return _unit(field)


def _warped_phase(rng: np.random.Generator, size: int, angle: float) -> Field:
    x, y = _grid(size)
    warp = power_noise(rng, size, 2.2) * rng.uniform(0.0, 0.06)
    return (x * np.cos(angle) + y * np.sin(angle) + warp) * np.exp(rng.uniform(np.log(4), np.log(28)))


def _stripes(rng: np.random.Generator, size: int) -> Field:
    wave = np.sin(2 * np.pi * _warped_phase(rng, size, rng.uniform(0, np.pi)))
    return _unit(np.tanh(wave * rng.uniform(0.8, 5.0)) + 0.25 * power_noise(rng, size, 1.2))


def _checks(rng: np.random.Generator, size: int) -> Field:
    angle = rng.uniform(0, np.pi)
    first = np.sin(2 * np.pi * _warped_phase(rng, size, angle))
    second = np.sin(2 * np.pi * _warped_phase(rng, size, angle + np.pi / 2))
    return _unit(np.tanh(first * second * rng.uniform(1.0, 6.0)) + 0.2 * power_noise(rng, size, 1.2))


def _gradient(rng: np.random.Generator, size: int) -> Field:
    return _unit(power_noise(rng, size, 2.4) + rng.uniform(0.0, 0.15) * power_noise(rng, size, 0.8))


def _voronoi(rng: np.random.Generator, size: int) -> Field:
    count = int(rng.integers(12, 160))
    seeds = np.full((size, size), 255, np.uint8)
    rows, cols = rng.integers(0, size, (2, count))
    seeds[rows, cols] = 0
    distance, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    values = rng.random(int(labels.max()) + 1, dtype=np.float32)[labels]
    rim = np.clip(distance / max(float(distance.max()), 1.0), 0, 1)
    return _unit(values + rng.uniform(-0.8, 0.8) * rim + 0.1 * power_noise(rng, size, 1.0))


def _leaves(rng: np.random.Generator, size: int) -> Field:
    canvas = np.full((size, size), int(rng.integers(0, 256)), np.uint8)
    biggest = rng.uniform(0.02, 0.09) * size
    for _ in range(int(rng.integers(80, 260))):
        centre = tuple(int(v) for v in rng.integers(0, size, 2))
        axes = tuple(int(max(1, biggest * v)) for v in rng.uniform(0.15, 1.0, 2))
        cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, int(rng.integers(0, 256)), -1, cv2.LINE_AA)
    return _unit(canvas / 255.0 + 0.08 * power_noise(rng, size, 1.0))


def _marks(rng: np.random.Generator, size: int) -> Field:
    canvas = np.zeros((size, size), np.uint8)
    letters = "ABCDEFGHKLMNPRSTUVXYZ0123456789#&%@"
    for _ in range(int(rng.integers(6, 26))):
        text = "".join(letters[i] for i in rng.integers(0, len(letters), int(rng.integers(1, 6))))
        origin = (int(rng.integers(-20, size)), int(rng.integers(0, size)))
        shade, thick = int(rng.integers(120, 256)), int(rng.integers(1, 5))
        cv2.putText(canvas, text, origin, int(rng.integers(0, 4)), rng.uniform(0.4, 2.2), shade, thick, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 8))):
        ends = [tuple(int(v) for v in rng.integers(0, size, 2)) for _ in range(2)]
        cv2.line(canvas, ends[0], ends[1], int(rng.integers(80, 256)), int(rng.integers(1, 6)), cv2.LINE_AA)
    return _unit(canvas / 255.0 + rng.uniform(0.0, 0.2) * power_noise(rng, size, 1.4))


def _flat(rng: np.random.Generator, size: int) -> Field:
    return np.clip(0.5 + rng.uniform(0.01, 0.08) * power_noise(rng, size, rng.uniform(0.3, 1.6)), 0, 1).astype(
        np.float32
    )


def _leaf_points(rng: np.random.Generator, radius: float, plain: float) -> np.ndarray:
    """Corners (n, 2) of a leaf around 0: an ellipse, a box or a shard; ``plain`` is the share that stand upright."""
    flat = np.exp(rng.uniform(np.log(0.12), 0.0)) if rng.random() < 0.5 else rng.uniform(0.5, 1.0)
    kind = rng.random()
    if kind < 0.45:
        theta = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    elif kind < 0.8:
        theta = np.pi / 4 + np.arange(4) * np.pi / 2
    else:
        theta = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
    points = np.stack([np.cos(theta), np.sin(theta) * flat], axis=1) * radius
    angle = int(rng.integers(2)) * np.pi / 2 if rng.random() < plain else rng.uniform(0, np.pi)
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def collage(rng: np.random.Generator, size: int) -> np.ndarray:
    """Dead leaves of all sizes, few large ones and many small, in a few colours: the statistics of photographs.

    Returns
    -------
    (size, size, 3) uint8, RGB
    """
    colours = np.stack([random_colour(rng) for _ in range(int(rng.integers(2, 8)))]) * 255
    canvas = np.full((size, size, 3), colours[0], np.uint8)
    least, most = np.exp(rng.uniform(np.log(1.5), np.log(4.0))), rng.uniform(0.12, 0.4) * size
    # Areas per octave of the radius are alike (density 1 / r**3): no size is special, as in nature.
    low, high = least**-2, most**-2
    count = int(rng.uniform(0.3, 1.2) * size**2 * low / (2 * np.pi * np.log(most / least)) * 1.5)
    radii = (low - rng.random(count) * (low - high)) ** -0.5
    radii[: count // 40] = rng.uniform(0.1, 1.0, count // 40) * most
    fresh = rng.random(count) < rng.uniform(0.1, 0.6)  # the others are shades of what lies beneath: things have parts
    fresh[: count // 40] = True
    picks, jitter = rng.integers(0, len(colours), count), rng.normal(0, 6, (count, 3))
    shades = np.exp(rng.normal(0, rng.uniform(0.05, 0.4), (count, 1)))
    centres, plain = rng.uniform(0, size, (count, 2)), rng.choice([0.0, 0.3, 0.9])
    for i, (x, y) in enumerate(centres):
        base = colours[picks[i]] if fresh[i] else canvas[int(y), int(x)]
        tint = np.clip(base * shades[i] + jitter[i], 0, 255)
        points = np.round((_leaf_points(rng, radii[i], plain) + centres[i]) * 16).astype(np.int32)
        cv2.fillPoly(canvas, [points], tint.tolist(), cv2.LINE_AA, 4)
    gain = 1.0 + rng.uniform(0.0, 0.12) * power_noise(rng, size, rng.uniform(0.6, 1.2))
    gain += rng.uniform(0.0, 0.2) * power_noise(rng, size, 2.0)
    return np.clip(canvas * gain[..., None], 0, 255).astype(np.uint8)


FAMILIES: dict[str, tuple[Callable[[np.random.Generator, int], Field], float]] = {
    "noise": (_noise, 0.34),
    "stripes": (_stripes, 0.10),
    "checks": (_checks, 0.07),
    "gradient": (_gradient, 0.08),
    "voronoi": (_voronoi, 0.11),
    "leaves": (_leaves, 0.14),
    "marks": (_marks, 0.06),
    "flat": (_flat, 0.09),
}
"""Family name -> (field function, share of the draws)."""


def random_colour(rng: np.random.Generator) -> np.ndarray:
    """One RGB colour, (3,) float32 in [0, 1]; mostly muted, as in nature, now and then vivid."""
    hsv = np.array([[[rng.uniform(0, 360), min(1.0, rng.beta(1.1, 2.6) * 1.3), rng.uniform(0.1, 1.0)]]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]


def colourise(rng: np.random.Generator, field: Field) -> np.ndarray:
    """Map a field to colours through a random palette.

    Parameters
    ----------
    rng : numpy.random.Generator
    field : (size, size) float32 in [0, 1]

    Returns
    -------
    (size, size, 3) uint8, RGB
    """
    knots = int(rng.integers(2, 6))
    base, spread = random_colour(rng), np.exp(rng.uniform(np.log(0.12), np.log(1.0)))
    stops = np.stack([base + spread * (random_colour(rng) - base) for _ in range(knots)])
    places = np.sort(np.concatenate([[0.0, 1.0], rng.random(knots - 2)]))
    ramp = np.linspace(0, 1, 256)
    lut = np.stack([np.interp(ramp, places, stops[:, c]) for c in range(3)], axis=1)
    lut = np.clip(lut * 255.0, 0, 255).astype(np.uint8)
    return lut[np.clip(field * 255.0, 0, 255).astype(np.uint8)]


def draw_texture(rng: np.random.Generator, size: int = 256, collages: float = 0.0) -> np.ndarray:
    """One material of a random family; a third of the draws are crossed with a second field's light and dark.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : int
        Side, pixels.
    collages : float
        Share of the draws that are a :func:`collage` instead.

    Returns
    -------
    (size, size, 3) uint8, RGB
    """
    if rng.random() < collages:
        return collage(rng, size)
    names = list(FAMILIES)
    shares = np.array([FAMILIES[n][1] for n in names])
    family = FAMILIES[names[int(rng.choice(len(names), p=shares / shares.sum()))]][0]
    rgb = colourise(rng, family(rng, size))
    if rng.random() < 0.35:
        gain = 1.0 + rng.uniform(0.05, 0.3) * power_noise(rng, size, rng.uniform(0.8, 2.2))
        rgb = np.clip(rgb * gain[..., None], 0, 255).astype(np.uint8)
    return rgb


class TextureBank:
    """A fixed set of textures and unit noise, the same for the same seed.

    Parameters
    ----------
    seed : sequence of int
        Entropy of the set.
    count : int
        Number of textures.
    size : int
        Side of each, pixels.
    collages : float
        Share of collages among them.
    """

    def __init__(self, seed: tuple[int, ...], count: int = 40, size: int = 256, collages: float = 0.0) -> None:
        rng = np.random.default_rng(seed)
        self.textures = [draw_texture(rng, size, collages) for _ in range(count)]
        self.noise = rng.standard_normal((384, 384, 3), dtype=np.float32)

    def crop(self, rng: np.random.Generator, size: int, whole: bool = False) -> np.ndarray:
        """Cut a random part of a random texture, recoloured and resized.

        Parameters
        ----------
        rng : numpy.random.Generator
        size : int
            Side of the result, pixels.
        whole : bool
            Take the full texture and do not zoom into it.

        Returns
        -------
        (size, size, 3) uint8, RGB
        """
        texture = self.textures[int(rng.integers(len(self.textures)))]
        side = texture.shape[0]
        if not whole:
            window = int(np.clip(size * np.exp(rng.uniform(np.log(0.5), np.log(1.8))), 24, side))
            row, col = (int(rng.integers(0, side - window + 1)) for _ in range(2))
            texture = texture[row : row + window, col : col + window]
        texture = np.rot90(texture, int(rng.integers(4)))
        matrix = np.eye(3) + rng.normal(0, 0.18, (3, 3))
        matrix /= matrix.sum(axis=1, keepdims=True).clip(0.5)
        offset = rng.normal(0, 25.0, (3, 1))
        recoloured = cv2.transform(np.ascontiguousarray(texture), np.hstack([matrix, offset]))
        return cv2.resize(recoloured, (size, size), interpolation=cv2.INTER_AREA)
