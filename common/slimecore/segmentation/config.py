"""Settings of image segmentation with learned parts."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from slimecore.errors import ConfigError

__all__ = ["SegmentConfig"]


@dataclass(frozen=True, slots=True)
class SegmentConfig:
    """Settings of segmentation (SLiMe, Khani et al., ICLR 2024, section 3.4, and its public code).

    Parameters
    ----------
    network_size : int or None
        Short side of the network input in pixels, 32..4096. None takes the size from the part embeddings.
    tiles : int
        Overlapping crops per side, 1..64, each enlarged to the network input (paper: 2 on faces, 1 on cars and horses).
    tile_size : float
        Side of a crop as a fraction of the image's side (code: 400 of 512 pixels). A single crop is the whole image.
    merge : str
        Weights of the pixels of overlapping crops. ``tent`` decreases towards the crop's border. ``uniform`` is the
        published mean.
    threshold : float
        A part other than the background is set to 0 in a crop where its evidence stays below this value, 0..1 (paper:
        .2).
    cut_background : bool
        Set background evidence below its mean to 0 before WAS accumulates it (code). The code cuts the first part that
        passes the threshold, even if it is not the background.
    guided_filter_radius : int
        Radius of the guided filter (He et al., TPAMI 2013) in pixels of a 480-line image, 0..100. 0, as published,
        switches it off.
    noise_samples : int
        Seeded noise samples averaged, 1..1024 (code: 1, unseeded).
    batch : int
        Network inputs per batch, 1..1024: crops times noise samples.

    Raises
    ------
    ConfigError
        A value is out of range, or the crops do not cover the image.
    """

    network_size: int | None = None
    tiles: int = 1
    tile_size: float = 400 / 512
    merge: str = "tent"
    threshold: float = 0.2
    cut_background: bool = True
    guided_filter_radius: int = 4
    noise_samples: int = 1
    batch: int = 4

    RENAMED = MappingProxyType(
        {
            "short_side": "network_size",
            "patches": "tiles",
            "patch": "tile_size",
            "draws": "noise_samples",
            "refine": "guided_filter_radius",
        }
    )

    def __post_init__(self) -> None:
        if self.network_size is not None and not 32 <= self.network_size <= 4096:
            raise ConfigError(f"segment.network_size must lie in 32..4096 pixels, got {self.network_size}")
        for name, high in (("tiles", 64), ("noise_samples", 1024), ("batch", 1024)):
            if not 1 <= getattr(self, name) <= high:
                raise ConfigError(f"segment.{name} must lie in 1..{high}, got {getattr(self, name)}")
        if not (0 < self.tile_size <= 1 and self.tile_size * self.tiles >= 1) and self.tiles > 1:
            raise ConfigError(
                f"segment: {self.tiles} crops a side of share {self.tile_size:g} leave gaps; raise "
                f"segment.tile_size to at least {1 / self.tiles:g}, at most 1"
            )
        if self.merge not in {"tent", "uniform"}:
            raise ConfigError(f"segment.merge must be tent or uniform, got {self.merge!r}")
        if not 0 <= self.guided_filter_radius <= 100:
            raise ConfigError(
                f"segment.guided_filter_radius must lie in 0..100 pixels, got {self.guided_filter_radius}"
            )
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"segment.threshold must lie in 0..1, got {self.threshold}")
