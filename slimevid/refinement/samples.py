"""Pieces of evidence beside the truth, from which the completing network learns, and what it loses by them.

Shared by its training on drawn clips (``training.completion``) and by its adaptation to a clip
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

_SLACK = 20.0  # pixels: pieces that show nearly nothing of the thing weigh little


@dataclass(frozen=True, slots=True, eq=False)
class RefinementSample:
    """One frame, in the box that was undecided.

    Attributes
    ----------
    planes : (7, h, w) float16
        :data:`slimevid.refinement.network.PLANES`.
    rgb : (h, w, 3) uint8
    truth : (h, w) uint8
        Share of the thing in every pixel, 255 is all.
    """

    planes: Array
    rgb: Array
    truth: Array


def make_sample(state: FrameFeatures, box: Box, planes: Array, mask: Array) -> RefinementSample:
    """Keep the evidence of a frame whose true mask (h, w) bool, of the whole frame, is known."""
    true = mask[state.region.box].astype(np.float32)
    share = cv2.resize(true, state.mask_size[::-1], interpolation=cv2.INTER_AREA)[box]
    return RefinementSample(planes.astype(np.float16), state.mask_image[box], np.rint(share * 255).astype(np.uint8))


def batch_of(pieces: list[RefinementSample]) -> tuple[Tensor, Tensor, Tensor]:
    """Planes (B, 7, h, w), pictures (B, 3, h, w) and truth (B, h, w), float32, the last two 0..1."""
    rgb = np.stack([p.rgb for p in pieces]).transpose(0, 3, 1, 2)
    return (
        torch.from_numpy(np.stack([p.planes for p in pieces])),
        torch.from_numpy(np.ascontiguousarray(rgb)).float() / 255,
        torch.from_numpy(np.stack([p.truth for p in pieces])).float() / 255,
    )


def loss(added: Tensor, planes: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of every pixel, and half the soft Jaccard distance of every piece, their means.

    Parameters
    ----------
    added : (B, h, w)
        Of the network; what it takes away counts as what it adds.
    planes : (B, 7, h, w)
    truth : (B, h, w)
        0..1.
    """
    odds = log_odds(planes[:, 0]) + added
    found = torch.sigmoid(odds)
    common, either = (found * truth).sum((1, 2)), (found + truth - found * truth).sum((1, 2))
    jaccard = (common + _SLACK) / (either + _SLACK)
    return functional.binary_cross_entropy_with_logits(odds, truth) + (1 - jaccard).mean() / 2


def random_crop(rng: np.random.Generator, record: RefinementSample, size: int) -> RefinementSample:
    """Square piece near the thing or where the evidence errs: scaled, mirrored, relit, the evidence spoiled."""
    planes, rgb, truth = record.planes.astype(np.float32), record.rgb, record.truth
    scale = np.exp(rng.uniform(np.log(0.6), np.log(1.5))) if rng.random() < 0.5 else 1.0
    if scale != 1.0:
        height, width = (max(8, round(side * scale)) for side in truth.shape)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        planes = np.stack([cv2.resize(plane, (width, height), interpolation=how) for plane in planes])
        rgb, truth = (cv2.resize(image, (width, height), interpolation=how) for image in (rgb, truth))
    down, right = (max(0, size - side) for side in truth.shape)
    planes = np.pad(planes, ((0, 0), (0, down), (0, right)), mode="edge")
    rgb, truth = (
        np.pad(rgb, ((0, down), (0, right), (0, 0)), mode="edge"),
        np.pad(truth, ((0, down), (0, right)), mode="edge"),
    )
    wrong = np.abs(planes[0] - truth / 255) > 0.3
    places = np.argwhere(wrong if rng.random() < 0.5 and wrong.any() else truth > 127)
    middle = places[rng.integers(len(places))] if len(places) else np.array(truth.shape) // 2
    corner = middle + rng.integers(-size // 3, size // 3, 2) - size // 2
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
    changed = rgb.astype(np.float32) * rng.uniform(0.7, 1.3) + 255 * rng.normal(0, 0.05, 3)
    if rng.random() < 0.3:
        changed = cv2.GaussianBlur(changed, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.5:
        changed = changed + 255 * rng.normal(0, rng.uniform(0, 0.04), changed.shape)
    return np.clip(changed, 0, 255).astype(np.uint8)


def _corrupt_evidence(rng: np.random.Generator, planes: Array, truth: Array) -> Array:
    """Evidence that errs as on real clips, more than on drawn ones: pieces of the border missed, or taken too much."""
    edge = np.argwhere(cv2.morphologyEx((truth > 127).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))
    planes = planes.copy()
    if rng.random() < 0.35 or not len(edge):
        return planes
    probabilities = planes[:4]
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
