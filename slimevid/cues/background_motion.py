"""Motion as evidence: what moves with the background, while the part does not, is not the part.

A smooth global motion is fitted to the flow of pixels that were background. How far a pixel's flow departs from it is
then judged by two histograms of this very frame: departures of pixels that were background, and of pixels that were the
part. Their log-ratio is zero by itself when the part moves as the background does. Flow bleeds
from a thing into what surrounds it, so what speaks for a part here is only the first of two witnesses: see
:mod:`slimevid.fusion.motion_gate`.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from slimecore.array_types import Array

__all__ = ["MAX_LOG_ODDS", "background_log_odds", "residual_motion"]

MAX_LOG_ODDS = 4.0
"""Largest log-odds that motion may give, for or against a part."""
_STEP = 4  # the fit looks at every fourth pixel of every fourth row
_ROUNDS = 10
_BINS = 16
_SMALLEST = 0.05  # departures, in pixels, are told apart on a log scale from here
_LARGEST = 20.0
_LEAST = 32  # fewer pixels than this say nothing about how something moves


def residual_motion(flow: Array, background: Array) -> Array | None:
    """How far every pixel's motion departs from that of the background.

    Parameters
    ----------
    flow : (h, w, 2) float32
        In pixels.
    background : (h, w) float32
        Weight of each pixel in the fit, 0..1.

    Returns
    -------
    (h, w) float32 or None
        Pixels; None where there is too little background to fit. The model is a polynomial of second degree in the
        position, fitted by iteratively reweighted least squares (Geman-McClure).
    """
    some = slice(_STEP // 2, None, _STEP)
    prior = torch.from_numpy(background[some, some].ravel()).double()
    sure = prior > 0.5
    if sure.sum() < _LEAST:
        return None
    x, y = (np.linspace(-1, 1, side, dtype=np.float32) for side in flow.shape[1::-1])
    basis = torch.from_numpy(_basis(x[some], y[some])).double()[:, sure]
    target = torch.from_numpy(flow[some, some].reshape(-1, 2).T).double()[:, sure]
    prior = weight = prior[sure]
    # torch, not numpy: the threads of numpy's BLAS go on spinning between such small products, and take the processor
    # from all else (a third of a frame's time on two cores).
    for _ in range(_ROUNDS):
        weighted = basis * weight
        fitted = torch.linalg.solve(weighted @ basis.T + 1e-6 * torch.eye(len(basis)), weighted @ target.T).T
        away = target - fitted @ basis
        squared = away[0].square() + away[1].square()
        scale = max(float(squared.median()), 0.01)
        weight = prior / (1 + squared / scale).square()
    model = fitted.float().numpy()
    return np.asarray(cv2.magnitude(*(flow[..., i] - _polynomial(model[i], x, y) for i in (0, 1))))


def background_log_odds(departures: Array, ground: Array, nearest: Array, trust: Array) -> Array:
    """Log-odds of the background against the nearest part, from motion alone.

    Parameters
    ----------
    departures : (h, w) float32
        Of :func:`departure`.
    ground : (h, w) float32
        Probability of the background, carried to this frame.
    nearest : (h, w) uint8
        Number of the part that a place belongs to if it is any part, from 0 on.
    trust : (h, w) float32
        Reliability of the flow, 0..1: scales the result, and the counts.

    Returns
    -------
    (h, w) float32, -MAX_LOG_ODDS..MAX_LOG_ODDS
        Negative where motion speaks for the part.
    """
    scaled = np.log(np.maximum(departures, _SMALLEST) / _SMALLEST) * ((_BINS - 1) / np.log(_LARGEST / _SMALLEST))
    bins = np.minimum(scaled, _BINS - 1).astype(np.uint8)
    odds = np.take(_tables(bins, ground, nearest, trust), nearest.astype(np.int32) * _BINS + bins) * trust
    return np.asarray(np.clip(odds, -MAX_LOG_ODDS, MAX_LOG_ODDS))


def _tables(bins: Array, ground: Array, nearest: Array, trust: Array) -> Array:
    """Log-odds of the background against every part, by its number and the bin; 0 where either has too few pixels."""
    sure = np.maximum(ground, 1 - ground) * trust
    number = np.where(ground >= 0.5, 0, 1 + nearest.astype(np.int32)) * _BINS + bins
    rows = 2 + int(nearest.max())
    counts = np.bincount(number.ravel(), sure.ravel(), rows * _BINS).reshape(rows, _BINS)
    totals = counts.sum(1, keepdims=True)
    padded = np.pad(counts, ((0, 0), (1, 1)), mode="edge")
    smooth = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4 + 0.01 * totals / _BINS
    background, *parts = smooth / np.maximum(smooth.sum(1, keepdims=True), 1e-12)
    known = (totals[1:] >= _LEAST) & (totals[0] >= _LEAST)
    found = np.log(np.maximum(background, 1e-12) / np.maximum(np.stack(parts), 1e-12))
    return np.where(known, found, 0).astype(np.float32)


def _basis(x: Array, y: Array) -> Array:
    """(6, h w) 1, x, y, x², xy, y² at all pairs of columns (w,) and rows (h,)."""
    y, x = (axis.ravel() for axis in np.meshgrid(y, x, indexing="ij"))
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])


def _polynomial(fitted: Array, x: Array, y: Array) -> Array:
    """The polynomial (6,) at all pairs of columns (w,) and rows (h,): (h, w), made of what depends on one of them."""
    one, by_x, by_y, by_xx, by_xy, by_yy = fitted
    y = y[:, None]
    return np.asarray((one + x * by_x + x * x * by_xx) + (y * by_y + y * y * by_yy) + y * (x * by_xy))
