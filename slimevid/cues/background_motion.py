"""Background motion cue: pixels that move with the background, while the part moves otherwise, are background.

A quadratic motion model is fitted robustly to the flow of background pixels. The residual of every pixel's flow is
compared with two histograms of the present frame: residuals of background pixels, and residuals of the part's pixels.
Their log-ratio is zero if the part moves with the background. Flow bleeds from an object into its surroundings.
Therefore log-odds in favour of a part count only where appearance agrees: see :mod:`slimevid.fusion.motion_gate` and
docs/adr/0015 and docs/adr/0033.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from slimecore.array_types import Array

__all__ = ["MAX_LOG_ODDS", "background_log_odds", "residual_motion"]

MAX_LOG_ODDS = 4.0
"""Largest absolute log-odds of the motion cue."""
_FIT_STRIDE_PIXELS = 4  # the model is fitted to every fourth pixel of every fourth row
_FIT_ITERATIONS = 10
_RESIDUAL_BINS = 16
_MIN_RESIDUAL_PIXELS = 0.05  # the bins lie on a log scale between these two residuals
_MAX_RESIDUAL_PIXELS = 20.0
_MIN_SAMPLE_PIXELS = 32  # a motion model or a histogram of fewer pixels is not used


def residual_motion(flow: Array, background: Array) -> Array | None:
    """Compute the distance of every pixel's flow from the motion of the background.

    The background's motion is a polynomial of second degree in the position. It is fitted by iteratively reweighted
    least squares with Geman-McClure weights.

    Parameters
    ----------
    flow : (h, w, 2) float32
        Displacements in pixels.
    background : (h, w) float32
        Weight of each pixel in the fit, 0..1. Pixels with at most 0.5 are left out.

    Returns
    -------
    (h, w) float32 or None
        Lengths of the residuals in pixels. None if too few pixels are background.
    """
    sampled = slice(_FIT_STRIDE_PIXELS // 2, None, _FIT_STRIDE_PIXELS)
    prior = torch.from_numpy(background[sampled, sampled].ravel()).double()
    is_background = prior > 0.5
    if is_background.sum() < _MIN_SAMPLE_PIXELS:
        return None
    x, y = (np.linspace(-1, 1, side, dtype=np.float32) for side in flow.shape[1::-1])
    basis = torch.from_numpy(_basis(x[sampled], y[sampled])).double()[:, is_background]
    target = torch.from_numpy(flow[sampled, sampled].reshape(-1, 2).T).double()[:, is_background]
    prior = weight = prior[is_background]
    # torch, not numpy: between small products the threads of numpy's BLAS keep spinning, and take a third of a frame's
    # time from all other work on two cores.
    for _ in range(_FIT_ITERATIONS):
        weighted = basis * weight
        coefficients = torch.linalg.solve(weighted @ basis.T + 1e-6 * torch.eye(len(basis)), weighted @ target.T).T
        residual = target - coefficients @ basis
        squared = residual[0].square() + residual[1].square()
        scale = max(float(squared.median()), 0.01)
        weight = prior / (1 + squared / scale).square()
    model = coefficients.float().numpy()
    return np.asarray(cv2.magnitude(*(flow[..., i] - _polynomial(model[i], x, y) for i in (0, 1))))


def background_log_odds(residuals: Array, background: Array, nearest: Array, reliability: Array) -> Array:
    """Compute the log-odds of the background against the most likely part, from motion alone.

    Parameters
    ----------
    residuals : (h, w) float32
        Result of :func:`residual_motion`, pixels.
    background : (h, w) float32
        Probability of the background in the previous frame, warped to the present frame.
    nearest : (h, w) uint8
        Index of the most likely part of each pixel, from 0 on.
    reliability : (h, w) float32
        Reliability of the flow, 0..1. Scales the result and the histogram counts.

    Returns
    -------
    (h, w) float32
        -MAX_LOG_ODDS..MAX_LOG_ODDS. Negative values are evidence for the part.
    """
    scaled = np.log(np.maximum(residuals, _MIN_RESIDUAL_PIXELS) / _MIN_RESIDUAL_PIXELS) * (
        (_RESIDUAL_BINS - 1) / np.log(_MAX_RESIDUAL_PIXELS / _MIN_RESIDUAL_PIXELS)
    )
    bins = np.minimum(scaled, _RESIDUAL_BINS - 1).astype(np.uint8)
    odds = (
        np.take(
            _log_odds_by_bin(bins, background, nearest, reliability), nearest.astype(np.int32) * _RESIDUAL_BINS + bins
        )
        * reliability
    )
    return np.asarray(np.clip(odds, -MAX_LOG_ODDS, MAX_LOG_ODDS))


def _log_odds_by_bin(bins: Array, background: Array, nearest: Array, reliability: Array) -> Array:
    """Return log-odds (P - 1, bins) float32 of the background against every part, 0 if either has too few pixels."""
    weights = np.maximum(background, 1 - background) * reliability
    bin_index = np.where(background >= 0.5, 0, 1 + nearest.astype(np.int32)) * _RESIDUAL_BINS + bins
    rows = 2 + int(nearest.max())
    counts = np.bincount(bin_index.ravel(), weights.ravel(), rows * _RESIDUAL_BINS).reshape(rows, _RESIDUAL_BINS)
    totals = counts.sum(1, keepdims=True)
    padded = np.pad(counts, ((0, 0), (1, 1)), mode="edge")
    smooth = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4 + 0.01 * totals / _RESIDUAL_BINS
    background_histogram, *part_histograms = smooth / np.maximum(smooth.sum(1, keepdims=True), 1e-12)
    enough_pixels = (totals[1:] >= _MIN_SAMPLE_PIXELS) & (totals[0] >= _MIN_SAMPLE_PIXELS)
    log_odds = np.log(np.maximum(background_histogram, 1e-12) / np.maximum(np.stack(part_histograms), 1e-12))
    return np.where(enough_pixels, log_odds, 0).astype(np.float32)


def _basis(x: Array, y: Array) -> Array:
    """Return 1, x, y, x², xy, y² at all pairs of columns (w,) and rows (h,), as (6, h w)."""
    y, x = (axis.ravel() for axis in np.meshgrid(y, x, indexing="ij"))
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])


def _polynomial(coefficients: Array, x: Array, y: Array) -> Array:
    """Evaluate a polynomial with coefficients (6,) at all pairs of columns (w,) and rows (h,), as (h, w).

    Terms of a single variable are evaluated once per column or row.
    """
    constant, by_x, by_y, by_xx, by_xy, by_yy = coefficients
    y = y[:, None]
    return np.asarray((constant + x * by_x + x * x * by_xx) + (y * by_y + y * y * by_yy) + y * (x * by_xy))
