"""Settings of reading learned parts off a picture."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from slimecore.errors import ConfigError

__all__ = ["SegmentConfig"]


@dataclass(frozen=True, slots=True)
class SegmentConfig:
    """How a picture is read (SLiMe, ICLR 2024, section 3.4, and its code).

    Parameters
    ----------
    network_size : int or None
        Short side of the network's input, pixels; None takes what the parts were learned at.
    tiles : int
        Overlapping crops a side, each enlarged to the network's size (paper: 2 on faces, 1 on cars and horses).
    tile_size : float
        Side of a crop as a share of the picture's (code: 400 of 512 pixels). One crop is always the whole picture.
    merge : str
        ``tent`` weighs a crop's pixels down towards its rim; ``uniform`` is the published mean.
    threshold : float
        A part whose strongest evidence in a crop stays below this is left out there (paper: .2).
    cut_background : bool
        Background evidence below its mean becomes 0 before it accumulates (code). The code cuts the first part that
        passes the threshold, whichever it is; ours cuts the background.
    guided_filter_radius : int
        Radius of the edge-aware (guided) filter at the network's size, in pixels of a 480-line picture; 0 (as
        published) switches it off.
    noise_samples : int
        Noise draws averaged (code: 1, unseeded; ours is seeded).
    batch : int
        Crops times draws that go through the network together.
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
