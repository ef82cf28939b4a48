"""Settings of ``slime learn`` and ``slime segment``, shared by both commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from slimecore.backbones import ModelSpec
from slimecore.errors import ConfigError
from slimecore.learning.faithful_config import FaithfulConfig
from slimecore.learning.probe_config import IMAGE_LEARNING, LearnConfig
from slimecore.segmentation.config import SegmentConfig

__all__ = ["ImageConfig"]

_SHORT_SIDE_PIXELS = {"probe": 384, "faithful": 512}


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """All settings of ``slime learn`` and ``slime segment``.

    Parameters
    ----------
    mode : str
        ``probe`` (a single UNet pass per view, then only tokens are optimised) or ``faithful`` (SLiMe's optimisation
        through the UNet).
    network_size : int or None
        Short side of the network input while learning, 32..4096 pixels. None: 384 in probe, 512 in faithful mode.
    square : bool
        Faithful mode: squash pictures to a square, as published, instead of keeping their shape.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    seed : int
        Seed of all random numbers, 0 or more.
    model : ModelSpec
        Diffusion checkpoint.
    probe : LearnConfig
        Learning in probe mode.
    faithful : FaithfulConfig
        Learning in faithful mode.
    segment : SegmentConfig
        Segmentation with learned parts.
    """

    mode: str = "probe"
    network_size: int | None = None
    square: bool = False
    device: str = "auto"
    seed: int = 0
    model: ModelSpec = field(default_factory=ModelSpec)
    probe: LearnConfig = IMAGE_LEARNING
    faithful: FaithfulConfig = field(default_factory=FaithfulConfig)
    segment: SegmentConfig = field(default_factory=SegmentConfig)

    RENAMED = MappingProxyType({"short_side": "network_size"})

    def __post_init__(self) -> None:
        if self.mode not in _SHORT_SIDE_PIXELS:
            raise ConfigError(f"mode must be probe or faithful, got {self.mode!r}")
        if self.square and self.mode == "probe":
            raise ConfigError("square is for mode faithful; in probe mode pictures keep their shape")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must not be negative, got {self.seed}")
        if self.network_size is not None and not 32 <= self.network_size <= 4096:
            raise ConfigError(f"network_size must lie in 32..4096 pixels, got {self.network_size}")

    @property
    def learning_side(self) -> int:
        """Return the short side of the network input while learning, in pixels."""
        return self.network_size or _SHORT_SIDE_PIXELS[self.mode]
