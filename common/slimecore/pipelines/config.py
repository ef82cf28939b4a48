"""Settings of ``slime learn`` and ``slime segment``: one file serves both."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from slimecore.backbones import ModelSpec
from slimecore.errors import ConfigError
from slimecore.learning.faithful_config import FaithfulConfig
from slimecore.learning.probe_config import IMAGE_LEARNING, LearnConfig
from slimecore.segmentation.config import SegmentConfig

__all__ = ["ImageConfig"]

_SHORT_SIDE = {"probe": 384, "faithful": 512}


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """Everything ``slime learn`` and ``slime segment`` can be told.

    Parameters
    ----------
    mode : str
        ``probe`` (one pass of the UNet a view, then only tokens move) or ``faithful`` (SLiMe's optimisation through
        the UNet).
    network_size : int or None
        Short side of the network's input while learning, pixels; None takes 384 in probe and 512 in faithful mode.
    square : bool
        Squash pictures to a square, as published, instead of keeping their shape; in faithful mode.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    seed : int
        The only source of randomness.
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
        if self.mode not in _SHORT_SIDE:
            raise ConfigError(f"mode must be probe or faithful, got {self.mode!r}")
        if self.square and self.mode == "probe":
            raise ConfigError("square is for mode faithful; in probe mode pictures keep their shape")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must not be negative, got {self.seed}")
        if self.network_size is not None and not 32 <= self.network_size <= 4096:
            raise ConfigError(f"network_size must lie in 32..4096 pixels, got {self.network_size}")

    @property
    def learning_side(self) -> int:
        """Short side pictures are learned at."""
        return self.network_size or _SHORT_SIDE[self.mode]
