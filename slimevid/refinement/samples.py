"""Training samples and loss of the refinement network.

Shared by offline training on synthetic clips (``training.completion``) and by test-time adaptation
(:mod:`slimevid.refinement.adaptation`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box
from slimevid.frame.features import FrameFeatures
from slimevid.refinement.network import log_odds

__all__ = ["RefinementSample", "batch_of", "loss", "make_sample", "random_crop"]

_JACCARD_SMOOTHING_PIXELS = 20.0  # added to both areas, so that crops with little foreground weigh little


@dataclass(frozen=True, slots=True, eq=False)
class RefinementSample:
    """Evidence, image and true mask of a frame, in the box of undecided pixels.

    Parameters
    ----------
    planes : (7, h, w) float16
        Evidence, channels as in :data:`slimevid.refinement.network.INPUT_CHANNELS`.
    rgb : (h, w, 3) uint8
    truth : (h, w) uint8
        Share of foreground in every pixel, 0..255.
    """

    planes: Array
    rgb: Array
    truth: Array


def make_sample(features: FrameFeatures, box: Box, planes: Array, mask: Array) -> RefinementSample:
    """Make a sample from the evidence and the true mask of a frame.

    Parameters
    ----------
    features : FrameFeatures
    box : Box
        Rows and columns of the search region, at the size of soft masks.
    planes : (7, h, w) float32
        Evidence in that box.
    mask : (H, W) bool
        True foreground of the full frame.

    Returns
    -------
    RefinementSample
    """
    inside = mask[features.region.box].astype(np.float32)
    share = cv2.resize(inside, features.mask_size[::-1], interpolation=cv2.INTER_AREA)[box]
    return RefinementSample(planes.astype(np.float16), features.mask_image[box], np.rint(share * 255).astype(np.uint8))


def batch_of(samples: list[RefinementSample]) -> tuple[Tensor, Tensor, Tensor]:
    """Stack samples of the same size.

    Returns
    -------
    tuple of Tensor
        Planes (B, 7, h, w), images (B, 3, h, w) and truth (B, h, w). Images and truth are float32, 0..1. Planes keep
        their type.
    """
    rgb = np.stack([s.rgb for s in samples]).transpose(0, 3, 1, 2)
    return (
        torch.from_numpy(np.stack([s.planes for s in samples])),
        torch.from_numpy(np.ascontiguousarray(rgb)).float() / 255,
        torch.from_numpy(np.stack([s.truth for s in samples])).float() / 255,
    )


def loss(added: Tensor, planes: Tensor, truth: Tensor) -> Tensor:
    """Compute the mean cross-entropy over pixels plus half the mean soft Jaccard distance over samples.

    Parameters
    ----------
    added : (B, h, w) float32
        Log-odds from the network, positive and negative.
    planes : (B, 7, h, w) float32
        Evidence. Only the first plane is used.
    truth : (B, h, w) float32
        Share of foreground, 0..1.

    Returns
    -------
    () float32
    """
    odds = log_odds(planes[:, 0]) + added
    predicted = torch.sigmoid(odds)
    intersection, union = (predicted * truth).sum((1, 2)), (predicted + truth - predicted * truth).sum((1, 2))
    jaccard = (intersection + _JACCARD_SMOOTHING_PIXELS) / (union + _JACCARD_SMOOTHING_PIXELS)
    return functional.binary_cross_entropy_with_logits(odds, truth) + (1 - jaccard).mean() / 2


def random_crop(rng: np.random.Generator, sample: RefinementSample, size: int) -> RefinementSample:
    """Cut a random augmented square from a sample, near the foreground or near an error of the evidence.

    The crop is scaled by 0.6..1.5, mirrored and changed in brightness, and its evidence is corrupted, each at random.

    Parameters
    ----------
    rng : numpy.random.Generator
    sample : RefinementSample
        Smaller samples are padded by repeating their border.
    size : int
        Side of the square in pixels.

    Returns
    -------
    RefinementSample
        ``planes`` is float32.
    """
    planes, rgb, truth = sample.planes.astype(np.float32), sample.rgb, sample.truth
    scale = np.exp(rng.uniform(np.log(0.6), np.log(1.5))) if rng.random() < 0.5 else 1.0
    if scale != 1.0:
        height, width = (max(8, round(side * scale)) for side in truth.shape)
        resampling = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        planes = np.stack([cv2.resize(plane, (width, height), interpolation=resampling) for plane in planes])
        rgb, truth = (cv2.resize(image, (width, height), interpolation=resampling) for image in (rgb, truth))
    down, right = (max(0, size - side) for side in truth.shape)
    planes = np.pad(planes, ((0, 0), (0, down), (0, right)), mode="edge")
    rgb, truth = (
        np.pad(rgb, ((0, down), (0, right), (0, 0)), mode="edge"),
        np.pad(truth, ((0, down), (0, right)), mode="edge"),
    )
    errors = np.abs(planes[0] - truth / 255) > 0.3
    candidates = np.argwhere(errors if rng.random() < 0.5 and errors.any() else truth > 127)
    center = candidates[rng.integers(len(candidates))] if len(candidates) else np.array(truth.shape) // 2
    corner = center + rng.integers(-size // 3, size // 3, 2) - size // 2
    top, left = (int(np.clip(c, 0, side - size)) for c, side in zip(corner, truth.shape, strict=True))
    inside = (slice(top, top + size), slice(left, left + size))
    planes, rgb, truth = (
        _corrupt_evidence(rng, planes[(slice(None), *inside)], truth[inside]),
        rgb[inside],
        truth[inside],
    )
    if rng.random() < 0.5:
        planes, rgb, truth = planes[..., ::-1], rgb[:, ::-1], truth[:, ::-1]
    return RefinementSample(np.ascontiguousarray(planes), _photometric_jitter(rng, rgb), np.ascontiguousarray(truth))


def _photometric_jitter(rng: np.random.Generator, rgb: Array) -> Array:
    """Change brightness, colour, sharpness and noise of an image (h, w, 3) uint8 at random."""
    changed = rgb.astype(np.float32) * rng.uniform(0.7, 1.3) + 255 * rng.normal(0, 0.05, 3)
    if rng.random() < 0.3:
        changed = cv2.GaussianBlur(changed, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.5:
        changed = changed + 255 * rng.normal(0, rng.uniform(0, 0.04), changed.shape)
    return np.clip(changed, 0, 255).astype(np.uint8)


def _corrupt_evidence(rng: np.random.Generator, planes: Array, truth: Array) -> Array:
    """Add errors like those on real clips, at random: parts of the border missed, or too much taken."""
    edge = np.argwhere(cv2.morphologyEx((truth > 127).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))
    planes = planes.copy()
    if rng.random() < 0.35 or not len(edge):
        return planes
    probabilities = planes[:4]  # all, memory, learned, carried
    for _ in range(int(rng.integers(1, 6))):
        y, x = edge[rng.integers(len(edge))] + rng.normal(0, 4, 2)
        radius = rng.uniform(4, 28)
        spot = np.zeros(truth.shape, np.float32)
        axes = (max(1, int(radius * rng.uniform(0.3, 1))), int(radius))
        cv2.ellipse(spot, (int(x), int(y)), axes, rng.uniform(0, 180), 0, 360, 1, -1)
        spot = cv2.GaussianBlur(spot, (0, 0), rng.uniform(1, 5))
        value = rng.choice([0.03, 0.15, 0.5, 0.9], p=[0.45, 0.25, 0.15, 0.15])
        for i, plane in enumerate(probabilities):
            if i == 0 or rng.random() < 0.6:
                plane += spot * (value - plane)
    if rng.random() < 0.3:
        radius = int(rng.integers(1, 4))
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        change = cv2.erode if rng.random() < 0.7 else cv2.dilate
        probabilities[:] = [change(plane, disk) for plane in probabilities]
    if rng.random() < 0.4:
        width = rng.uniform(1, 4)
        probabilities[:] = [cv2.GaussianBlur(plane, (0, 0), width) for plane in probabilities]
    return planes
