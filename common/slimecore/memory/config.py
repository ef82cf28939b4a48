"""Settings of the mask memory, as plain values, so that a command line can be parsed without importing torch."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from slimecore.config import constant
from slimecore.errors import ConfigError

__all__ = ["MemoryConfig"]


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """Settings of the mask memory.

    Parameters
    ----------
    recent_frames : int
        Frames in the FIFO, beside the permanent references. 0 remembers references only.
    write_interval : int
        Frames between two writes to the FIFO.
    grid_upsampling : int
        Memory cells per descriptor cell along each axis, 1..8. Descriptors are interpolated, colours are not, so that
        thin parts and boundaries have cells of their own.
    keys_per_frame : int
        Keys kept of a frame, about. 0 keeps all. Cells near the parts get up to three quarters of them. Both groups are
        samples whose logits carry the log of the sampling ratio, so that the read-out stays unbiased.
    key_dims : int
        Principal components kept of descriptor and colour, fitted on the first frame written, 0..4096. 0 keeps all.
        The cost of a read is proportional to this number.
    novelty_distance : float
        Half the squared key distance beyond which a cell counts as novel: its read-out tends to half background, half
        parts, and the other cues decide. 0 sets the distance to 50, beyond anything similar.
    temperature : float
        Divisor of the cosine similarity of descriptors.
    color_weight : float
        Weight of the squared Lab distance between patches. 0 leaves colour out.
    spatial_sigma : float
        Standard deviation of the Gaussian that favours nearby cells of recent frames, as a share of the grid's short
        side. 0 leaves the prior out. References are never limited.
    class_balance : float
        Power of the area share by which large classes are weighted down, 0..1.
    reference_share : float
        Exponent of the reference read-out when foreground is assigned to parts, 0..1. Recent frames get the rest.
        References cannot drift.

    Raises
    ------
    ConfigError
        A value is out of range.
    """

    recent_frames: int = 3
    write_interval: int = 3
    grid_upsampling: int = 4
    keys_per_frame: int = 700
    key_dims: int = 32
    novelty_distance: float = constant(3.0)
    temperature: float = constant(0.05)
    color_weight: float = constant(500.0)
    spatial_sigma: float = constant(0.1)
    class_balance: float = constant(0.5)
    reference_share: float = constant(0.7)

    RENAMED = MappingProxyType(
        {
            "recent": "recent_frames",
            "every": "write_interval",
            "detail": "grid_upsampling",
            "budget": "keys_per_frame",
            "dims": "key_dims",
            "unknown": "",
            "color": "",
            "window": "",
            "balance": "",
            "lasting": "",
            "enabled": "",
        }
    )

    def __post_init__(self) -> None:
        for name, low, high in (
            ("recent_frames", 0, 10_000),
            ("write_interval", 1, 1_000_000),
            ("grid_upsampling", 1, 8),
            ("keys_per_frame", 0, 10_000_000),
            ("key_dims", 0, 4096),
            ("novelty_distance", 0, 1e6),
            ("color_weight", 0, 1e9),
            ("spatial_sigma", 0, 1e6),
            ("class_balance", 0, 100),
            ("reference_share", 0, 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"memory.{name} must lie in {low}..{high:g}, got {value}")
        if not self.temperature > 0:
            raise ConfigError(f"memory.temperature must be above 0, got {self.temperature}")
