"""Segment images with learned parts of either mode: tiling, WAS, guided filter, labels at full size."""

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

_GUIDED_FILTER_EPS = 1e-4  # regularisation of the guided filter, squared intensity
_DEFAULT_SHORT_SIDE_PIXELS = 384


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """Segmentation of an image.

    Parameters
    ----------
    labels : LabelMap
        Part values at the requested size.
    confidence : (h, w) float32
        Probability of the label at each pixel, 0..1.
    scores : PartScores
        Soft maps at the size of the network input.
    """

    labels: LabelMap
    confidence: npt.NDArray[np.float32]
    scores: PartScores


class PartSegmenter:
    """Segmenter of images with learned parts.

    Parameters
    ----------
    backbone : Backbone
    embeddings : PartEmbeddings
        Learned in probe or faithful mode.
    config : SegmentConfig, optional
    source : str
        Name of the embeddings in error messages.

    Raises
    ------
    ArtifactError
        The embeddings were learned with another model, or in faithful mode and the backbone is not Stable Diffusion.

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
        self._short_side = self.config.network_size or int(
            embeddings.settings.get("short_side") or _DEFAULT_SHORT_SIDE_PIXELS
        )
        self._square = bool(embeddings.settings.get("square", False))
        self._faithful = embeddings.mode == "faithful"
        self._enlarge = self._faithful or self._square or bool(embeddings.settings.get("enlarge", False))
        self._reader: _Reader
        if not self._faithful:
            self._reader = _ProbeReader(backbone, embeddings, source)
        elif isinstance(backbone, StableDiffusion):
            self._reader = _FaithfulReader(backbone, embeddings)
        else:
            raise ArtifactError(f"{source}: learned in faithful mode, which needs a Stable Diffusion backbone")

    def __call__(self, rgb: npt.NDArray[np.uint8], size: tuple[int, int] | None = None) -> Segmentation:
        """Segment an image.

        Parameters
        ----------
        rgb : (h, w, 3) uint8
        size : (int, int), optional
            ``(h, w)`` of the labels in pixels, the image's own size by default.

        Returns
        -------
        Segmentation
        """
        return self.segment([rgb], size)[0]

    @torch.no_grad()
    def segment(
        self, pictures: Sequence[npt.NDArray[np.uint8]], size: tuple[int, int] | None = None
    ) -> list[Segmentation]:
        """Segment several images. Crops of equal network size share batches.

        Parameters
        ----------
        pictures : sequence of (h, w, 3) uint8
        size : (int, int), optional
            ``(h, w)`` of all labels in pixels, each image's own size by default.

        Returns
        -------
        list of Segmentation

        Raises
        ------
        InputError
            An image is not (h, w, 3) uint8.
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
        crops.sort(key=lambda crop: crop[0])  # crops of equal network size become adjacent
        for batch in _batches(crops, max(1, config.batch // config.noise_samples)):
            rgb = np.stack([resize_rgb(np.ascontiguousarray(pictures[i][src]), net) for net, i, src, _ in batch])
            maps = self._read(
                to_tensor(rgb, self.backbone.device), [_relative_crop(net, target) for net, _, _, target in batch]
            )
            for (_, i, _, target), evidence in zip(batch, maps.cpu().numpy(), strict=True):
                canvases[i].add(target, evidence)
        return [
            self._segmentation(self._filter(canvas.soft(), rgb), size or (rgb.shape[0], rgb.shape[1]))
            for canvas, rgb in zip(canvases, pictures, strict=True)
        ]

    def _network_size(self, rgb: npt.NDArray[np.uint8]) -> tuple[int, int]:
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise InputError(f"a picture must be (h, w, 3) uint8 RGB, got {rgb.shape} {rgb.dtype}")
        shape = (1, 1) if self._square else (rgb.shape[0], rgb.shape[1])
        return fit_short_side(shape, self._short_side, self.backbone.multiple, enlarge=self._enlarge)

    def _read(self, rgb: Tensor, windows: list[tuple[float, ...]]) -> Tensor:
        """Compute the rescaled WAS maps (B, P, h, w) of a batch, mean over noise samples, 0 for absent parts."""
        evidence, was = self._reader.read(rgb, windows, self.config)
        maps = rescale_to_range(evidence, was)
        maps[:, 1:] *= evidence[:, 1:].amax((2, 3), keepdim=True) >= self.config.threshold
        mean: Tensor = maps.unflatten(0, (len(rgb), self.config.noise_samples)).mean(1)
        return mean

    def _filter(self, soft: npt.NDArray[np.float32], rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        guide = resize_rgb(rgb, (soft.shape[1], soft.shape[2]))
        radius = filter_radius(self.config.guided_filter_radius, (soft.shape[1], soft.shape[2]))
        return np.asarray(refine(soft, guide, radius, _GUIDED_FILTER_EPS), np.float32)

    def _segmentation(self, soft: npt.NDArray[np.float32], size: tuple[int, int]) -> Segmentation:
        """Decide labels at full size, part by part, so that the soft maps never exist at full size together."""
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
    def read(self, rgb: Tensor, windows: list[tuple[float, ...]], config: SegmentConfig) -> tuple[Tensor, Tensor]:
        """Compute evidence F and its WAS maps, both (B * noise_samples, P, h, w), samples of an image adjacent.

        Parameters
        ----------
        rgb : (B, 3, H, W) float tensor
            RGB, 0..1.
        windows : list of (top, bottom, left, right)
            Crop of its image that each item of the batch covers, as fractions of the sides.
        config : SegmentConfig
        """
        ...


class _ProbeReader:
    def __init__(self, backbone: Backbone, embeddings: PartEmbeddings, source: str) -> None:
        self._backbone = backbone
        self._keys = project_embeddings(backbone, embeddings, source)

    def read(self, rgb: Tensor, windows: list[tuple[float, ...]], config: SegmentConfig) -> tuple[Tensor, Tensor]:
        features = self._backbone.encode(rgb, draws=config.noise_samples)
        repeated = [window for window in windows for _ in range(config.noise_samples)]
        evidence = part_evidence(features, self._keys, repeated)
        return evidence, attend_self(features, _threshold_background(evidence, config))


class _FaithfulReader:
    def __init__(self, backbone: StableDiffusion, embeddings: PartEmbeddings) -> None:
        self._backbone, self._parts = backbone, len(embeddings.parts)
        assert embeddings.prompt is not None
        self._prompt = torch.from_numpy(embeddings.prompt.copy()).to(backbone.device)
        self._deltas = {name: torch.from_numpy(d.copy()).to(backbone.device) for name, d in embeddings.deltas.items()}

    def read(self, rgb: Tensor, _windows: list[tuple[float, ...]], config: SegmentConfig) -> tuple[Tensor, Tensor]:
        latents = self._backbone.latents(rgb, config.noise_samples)
        timestep = torch.tensor([self._backbone.readout.timestep])
        with UNetReadout(
            self._backbone, self._parts, self._deltas, lambda f: _threshold_background(f, config)
        ) as readout:
            readings = readout.run(latents, timestep, self._prompt)
        return readings.logits.softmax(1), readings.was


def _threshold_background(evidence: Tensor, config: SegmentConfig) -> Tensor:
    """Set background evidence below its mean to 0, if configured."""
    if not config.cut_background:
        return evidence
    background = evidence[:, :1]
    kept = torch.where(background < background.mean((2, 3), keepdim=True), 0.0, background)
    return torch.cat([kept, evidence[:, 1:]], 1)


def _relative_crop(size: tuple[int, int], crop: tuple[slice, slice]) -> tuple[float, ...]:
    """Top, bottom, left and right of a crop as fractions of the image's sides."""
    rows, columns = crop
    return rows.start / size[0], rows.stop / size[0], columns.start / size[1], columns.stop / size[1]


def _batches(crops: list[Any], max_size: int) -> list[list[Any]]:
    """Group consecutive crops of equal network size into batches of at most `max_size`."""
    batches: list[list[Any]] = []
    for crop in crops:
        if batches and len(batches[-1]) < max_size and batches[-1][-1][0] == crop[0]:
            batches[-1].append(crop)
        else:
            batches.append([crop])
    return batches
