"""From a painted frame to what a camera writes: lighting, blur, noise, tone, compression."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

__all__ = ["Grade", "develop"]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, eq=False)
class Grade:
    """Colour, light and lens that the frames of a clip share.

    Attributes
    ----------
    gamma : float
    gain : (3,) float
        Per channel.
    saturation : float
        Distance from grey is scaled by this: photographs are paler than painted leaves.
    contrast : float
        Distance from ``veil`` is scaled by this: haze.
    veil : (3,) float
        Colour of the haze, 0 to 255.
    noise : float
        Standard deviation, grey levels.
    uneven : (3, 3) float
        Log brightness over the picture, 0 for even light.
    blur : float
        Standard deviation of the lens blur, pixels; 0 for none.
    quality : int
        Of JPEG, 0 for none.
    """

    gamma: float
    gain: np.ndarray
    saturation: float
    contrast: float
    veil: np.ndarray
    noise: float
    uneven: np.ndarray
    blur: float
    quality: int

    @classmethod
    def draw(cls, rng: np.random.Generator, haze: float = 0.0) -> "Grade":
        """Draw a random grade; ``haze`` is the chance of haze."""
        grey = rng.uniform(60, 230)
        return cls(
            float(np.exp(rng.normal(0, 0.2))),
            np.exp(rng.normal(0, 0.12)) * np.exp(rng.normal(0, 0.06, 3)),
            float(rng.uniform(0.15, 1.0)),
            float(rng.uniform(0.25, 1.0)) if rng.random() < haze else 1.0,
            np.clip(grey + rng.normal(0, 12, 3), 0, 255).astype(np.float32),
            float(rng.exponential(3.0)),
            rng.normal(0, 0.22, (3, 3)) * (rng.random() < 0.4),
            float(rng.uniform(0.4, 1.8)) if rng.random() < 0.3 else 0.0,
            int(rng.integers(25, 95)) if rng.random() < 0.5 else 0,
        )

    def changed(self, rng: np.random.Generator, amount: float) -> "Grade":
        """Vary the grade for another frame of the clip; ``amount`` 0 changes nothing, 1 is a change of scene light."""
        gain = self.gain * np.exp(rng.normal(0, 0.12) * amount) * np.exp(rng.normal(0, 0.05, 3) * amount)
        return replace(
            self,
            gain=gain,
            gamma=self.gamma * float(np.exp(rng.normal(0, 0.15) * amount)),
            uneven=self.uneven + rng.normal(0, 0.22, (3, 3)) * amount,
        )


def _motion_kernel(length: float, angle: float) -> np.ndarray:
    side = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((side, side), np.float32)
    half = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    middle = side // 2
    start, end = np.round((middle - half) * 16).astype(int), np.round((middle + half) * 16).astype(int)
    cv2.line(kernel, tuple(int(v) for v in start), tuple(int(v) for v in end), 1.0, 1, cv2.LINE_AA, 4)
    return kernel / kernel.sum()


def _blurred(rng: np.random.Generator, rgb: np.ndarray, blur: float, shaken: float) -> np.ndarray:
    if blur:
        rgb = cv2.GaussianBlur(rgb, (0, 0), blur)
    if rng.random() < shaken:
        rgb = cv2.filter2D(rgb, -1, _motion_kernel(rng.uniform(2, 11), rng.uniform(0, np.pi)))
    return rgb


def develop(
    rng: np.random.Generator, rgb: np.ndarray, grade: Grade, noise: np.ndarray, shaken: float = 0.1
) -> np.ndarray:
    """Turn a painted frame into a camera frame.

    Parameters
    ----------
    rng : numpy.random.Generator
    rgb : (h, w, 3) float32 in [0, 255]
    grade : Grade
    noise : (H, W, 3) float32
        Unit noise to cut from; H >= h, W >= w.
    shaken : float
        Chance of motion blur.

    Returns
    -------
    (h, w, 3) uint8
    """
    height, width = rgb.shape[:2]
    if grade.uneven.any():
        light = cv2.resize(np.exp(grade.uneven).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        rgb = rgb * light[..., None]
    grey = rgb @ _LUMA
    rgb = grey[..., None] + np.float32(grade.saturation) * (rgb - grey[..., None])
    if grade.contrast < 1:
        rgb = grade.veil + np.float32(grade.contrast) * (rgb - grade.veil)
    rgb = _blurred(rng, rgb, grade.blur, shaken)
    ramp = np.linspace(0, 1, 256)
    rgb = np.clip(rgb, 0, 255).astype(np.uint8)
    luts = [np.clip(255 * grade.gain[c] * ramp**grade.gamma, 0, 255).astype(np.uint8) for c in range(3)]
    rgb = cv2.LUT(rgb, np.stack(luts, axis=-1)[None])
    if grade.noise > 0.5:
        row, col = rng.integers(0, noise.shape[0] - height + 1), rng.integers(0, noise.shape[1] - width + 1)
        grain = noise[row : row + height, col : col + width] * np.float32(grade.noise)
        rgb = np.clip(rgb + grain, 0, 255).astype(np.uint8)
    if grade.quality:
        _, code = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, grade.quality])
        rgb = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return rgb
