"""Learned parts, set once, read off many pictures: both learning modes, one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slimecore.attention.cross_attention import attend_self
from slimecore.backbones import Backbone
from slimecore.backbones.stable_diffusion import StableDiffusion
from slimecore.backbones.unet_readout import UNetReadout
from slimecore.errors import ArtifactError, InputError
from slimecore.imaging.guided_filter import filter_radius, refine
from slimecore.imaging.resize import fit_short_side, resize_rgb, resize_soft
from slimecore.imaging.tensors import to_tensor
from slimecore.imaging.tiling import TileMerger, tiles
from slimecore.io.embeddings import require_model
from slimecore.segmentation.config import SegmentConfig
from slimecore.segmentation.readout import part_evidence, project_embeddings, rescale_to_range
from slimecore.types import LabelMap, PartEmbeddings, PartScores

__all__ = ["PartSegmenter", "Segmentation"]

_EPS = 1e-4  # regularisation of the guided filter, squared intensity


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """One picture, segmented.

    Parameters
    ----------
    labels : LabelMap
        Part values at the asked size.
    confidence : (h, w) float32
        Probability of the label at each pixel, 0..1.
    scores : PartScores
        Soft maps at the network's size.
    """

    labels: LabelMap
    confidence: npt.NDArray[np.float32]
    scores: PartScores


class PartSegmenter:
    """Segment pictures with learned parts.

    Parameters
    ----------
    backbone : Backbone
    embeddings : PartEmbeddings
        Of either mode.
    config : SegmentConfig, optional
    source : str
        Name of the embeddings in messages.

    Raises
    ------
    ArtifactError
        The embeddings were learned with another model.

    Examples
    --------
    >>> segmenter = PartSegmenter(backbone, load_embeddings(path))  # doctest: +SKIP
    >>> labels = segmenter(rgb).labels.labels  # doctest: +SKIP
    """

    def __init__(
        self,
        backbone: Backbone,
        embeddings: PartEmbeddings,
        config: SegmentConfig | None = None,
        source: str = "part embeddings",
    ) -> None:
        require_model(embeddings, backbone.name, backbone.revision, source)
        self.backbone, self.parts = backbone, embeddings.parts
        self.config = config or SegmentConfig()
        self._short_side = self.config.network_size or int(embeddings.settings.get("short_side") or 384)
        self._square = bool(embeddings.settings.get("square", False))
        self._faithful = embeddings.mode == "faithful"
        self._reader: _Reader
        if not self._faithful:
            self._reader = _ProbeReader(backbone, embeddings, source)
        elif isinstance(backbone, StableDiffusion):
            self._reader = _FaithfulReader(backbone, embeddings)
        else:
            raise ArtifactError(f"{source}: learned in faithful mode, which needs a Stable Diffusion backbone")

    def __call__(self, rgb: npt.NDArray[np.uint8], size: tuple[int, int] | None = None) -> Segmentation:
        """Segment one picture.

        Parameters
        ----------
        rgb : (h, w, 3) uint8
        size : (int, int), optional
            ``(h, w)`` of the labels; the picture's own by default.
        """
        return self.segment([rgb], size)[0]

    @torch.no_grad()
    def segment(
        self, pictures: Sequence[npt.NDArray[np.uint8]], size: tuple[int, int] | None = None
    ) -> list[Segmentation]:
        """Segment several pictures; crops of equal network size share a batch.

        Raises
        ------
        InputError
            A picture is not (h, w, 3) uint8.
        """
        config = self.config
        sizes = [self._network_size(rgb) for rgb in pictures]
        canvases = [TileMerger(len(self.parts), network, config.merge) for network in sizes]
        crops = []
        for i, rgb in enumerate(pictures):
            shape = (rgb.shape[0], rgb.shape[1])
            sources = tiles(shape, config.tiles, config.tile_size)
            targets = tiles(sizes[i], config.tiles, config.tile_size)
            crops += [(sizes[i], i, source, target) for source, target in zip(sources, targets, strict=True)]
        crops.sort(key=lambda crop: crop[0])  # stable: equal sizes become neighbours
        for batch in _batches(crops, max(1, config.batch // config.noise_samples)):
            rgb = np.stack([resize_rgb(np.ascontiguousarray(pictures[i][src]), net) for net, i, src, _ in batch])
            maps = self._read(
                to_tensor(rgb, self.backbone.device), [_relative_crop(net, target) for net, _, _, target in batch]
            )
            for (_, i, _, target), evidence in zip(batch, maps.cpu().numpy(), strict=True):
                canvases[i].add(target, evidence)
        return [
            self._labelled(self._refined(canvas.soft(), rgb), size or (rgb.shape[0], rgb.shape[1]))
            for canvas, rgb in zip(canvases, pictures, strict=True)
        ]

    def _network_size(self, rgb: npt.NDArray[np.uint8]) -> tuple[int, int]:
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise InputError(f"a picture must be (h, w, 3) uint8 RGB, got {rgb.shape} {rgb.dtype}")
        shape = (1, 1) if self._square else (rgb.shape[0], rgb.shape[1])
        enlarge = self._faithful or self._square
        return fit_short_side(shape, self._short_side, self.backbone.multiple, enlarge=enlarge)

    def _read(self, rgb: Tensor, shares: list[tuple[float, ...]]) -> Tensor:
        """Evidence (B, P, h, w) of a batch, mean over noise draws, each part stretched back to its range."""
        evidence, was = self._reader.read(rgb, shares, self.config)
        maps = rescale_to_range(evidence, was)
        maps[:, 1:] *= evidence[:, 1:].amax((2, 3), keepdim=True) >= self.config.threshold
        mean: Tensor = maps.unflatten(0, (len(rgb), self.config.noise_samples)).mean(1)
        return mean

    def _refined(self, soft: npt.NDArray[np.float32], rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        guide = resize_rgb(rgb, (soft.shape[1], soft.shape[2]))
        radius = filter_radius(self.config.guided_filter_radius, (soft.shape[1], soft.shape[2]))
        return np.asarray(refine(soft, guide, radius, _EPS), np.float32)

    def _labelled(self, soft: npt.NDArray[np.float32], size: tuple[int, int]) -> Segmentation:
        """Labels at full size, one part at a time: never parts x pixels of a large picture."""
        best, total = np.full(size, -1.0, np.float32), np.zeros(size, np.float32)
        rows = np.zeros(size, np.int32)
        for row, plane in enumerate(soft):
            full = resize_soft(plane[None], size)[0]
            rows[full > best] = row
            np.maximum(best, full, out=best)
            total += full
        labels = LabelMap(np.asarray(self.parts.values, np.int32)[rows], self.parts)
        confidence = np.asarray(best / np.maximum(total, 1e-9), np.float32)
        return Segmentation(labels, confidence, PartScores(soft, self.parts))


class _Reader(Protocol):
    def read(self, rgb: Tensor, shares: list[tuple[float, ...]], config: SegmentConfig) -> tuple[Tensor, Tensor]:
        """Evidence F and the WAS map of it, background cut if asked: (B * draws, P, h, w), draws adjacent."""
        ...


class _ProbeReader:
    def __init__(self, backbone: Backbone, embeddings: PartEmbeddings, source: str) -> None:
        self._backbone = backbone
        self._keys = project_embeddings(backbone, embeddings, source)

    def read(self, rgb: Tensor, shares: list[tuple[float, ...]], config: SegmentConfig) -> tuple[Tensor, Tensor]:
        features = self._backbone.encode(rgb, draws=config.noise_samples)
        evidence = part_evidence(features, self._keys, [s for s in shares for _ in range(config.noise_samples)])
        return evidence, attend_self(features, _threshold_background(evidence, config))


class _FaithfulReader:
    def __init__(self, backbone: StableDiffusion, embeddings: PartEmbeddings) -> None:
        self._backbone, self._parts = backbone, len(embeddings.parts)
        assert embeddings.prompt is not None
        self._prompt = torch.from_numpy(embeddings.prompt.copy()).to(backbone.device)
        self._deltas = {name: torch.from_numpy(d.copy()).to(backbone.device) for name, d in embeddings.deltas.items()}

    def read(self, rgb: Tensor, _shares: list[tuple[float, ...]], config: SegmentConfig) -> tuple[Tensor, Tensor]:
        latents = self._backbone.latents(rgb, config.noise_samples)
        timestep = torch.tensor([self._backbone.readout.timestep])
        with UNetReadout(
            self._backbone, self._parts, self._deltas, lambda f: _threshold_background(f, config)
        ) as reader:
            readings = reader.run(latents, timestep, self._prompt)
        return readings.logits.softmax(1), readings.was


def _threshold_background(evidence: Tensor, config: SegmentConfig) -> Tensor:
    if not config.cut_background:
        return evidence
    background = evidence[:, :1]
    kept = torch.where(background < background.mean((2, 3), keepdim=True), 0.0, background)
    return torch.cat([kept, evidence[:, 1:]], 1)


def _relative_crop(size: tuple[int, int], window: tuple[slice, slice]) -> tuple[float, ...]:
    """Top, bottom, left and right of a crop as shares of the picture's sides."""
    rows, columns = window
    return rows.start / size[0], rows.stop / size[0], columns.start / size[1], columns.stop / size[1]


def _batches(crops: list[Any], most: int) -> list[list[Any]]:
    """Runs of equal network size, at most `most` long."""
    runs: list[list[Any]] = []
    for crop in crops:
        if runs and len(runs[-1]) < most and runs[-1][-1][0] == crop[0]:
            runs[-1].append(crop)
        else:
            runs.append([crop])
    return runs
