"""Settings of reading learned parts off a picture."""

from __future__ import annotations

from dataclasses import dataclass

from slimecore.errors import ConfigError

__all__ = ["SegmentConfig"]


@dataclass(frozen=True, slots=True)
class SegmentConfig:
    """How a picture is read (SLiMe, ICLR 2024, section 3.4, and its code).

    Parameters
    ----------
    short_side : int or None
        Short side of the network's input, pixels; None takes what the parts were learned at.
    patches : int
        Overlapping crops a side, each enlarged to the network's size (paper: 2 on faces, 1 on cars and horses).
    patch : float
        Side of a crop as a share of the picture's (code: 400 of 512 pixels). One crop is always the whole picture.
    merge : str
        ``tent`` weighs a crop's pixels down towards its rim; ``uniform`` is the published mean.
    threshold : float
        A part whose strongest evidence in a crop stays below this is left out there (paper: .2).
    cut_background : bool
        Background evidence below its mean becomes 0 before it accumulates (code). The code cuts the first part that
        passes the threshold, whichever it is; ours cuts the background.
    refine : int
        Radius of the edge-aware (guided) filter at the network's size, in pixels of a 480-line picture; 0 (as
        published) switches it off.
    draws : int
        Noise draws averaged (code: 1, unseeded; ours is seeded).
    batch : int
        Crops times draws that go through the network together.
    """

    short_side: int | None = None
    patches: int = 1
    patch: float = 400 / 512
    merge: str = "tent"
    threshold: float = 0.2
    cut_background: bool = True
    refine: int = 4
    draws: int = 1
    batch: int = 4

    def __post_init__(self) -> None:
        if self.short_side is not None and not 32 <= self.short_side <= 4096:
            raise ConfigError(f"segment.short_side must lie in 32..4096 pixels, got {self.short_side}")
        for name, high in (("patches", 64), ("draws", 1024), ("batch", 1024)):
            if not 1 <= getattr(self, name) <= high:
                raise ConfigError(f"segment.{name} must lie in 1..{high}, got {getattr(self, name)}")
        if not (0 < self.patch <= 1 and self.patch * self.patches >= 1) and self.patches > 1:
            raise ConfigError(
                f"segment: {self.patches} crops a side of share {self.patch:g} leave gaps; raise segment.patch to at "
                f"least {1 / self.patches:g}, at most 1"
            )
        if self.merge not in {"tent", "uniform"}:
            raise ConfigError(f"segment.merge must be tent or uniform, got {self.merge!r}")
        if not 0 <= self.refine <= 100:
            raise ConfigError(f"segment.refine must lie in 0..100 pixels, got {self.refine}")
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"segment.threshold must lie in 0..1, got {self.threshold}")
