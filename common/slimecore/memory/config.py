"""Settings of the mask memory; plain values, so that a command line can be parsed without torch."""

from __future__ import annotations

from dataclasses import dataclass

from slimecore.errors import ConfigError

__all__ = ["MemoryConfig"]


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """What is remembered and how it is read.

    Parameters
    ----------
    recent : int
        Frames in the FIFO, beside the permanent ones; 0 remembers references only.
    every : int
        A frame enters the FIFO when this many frames have passed since the last one did.
    temperature : float
        Cosine similarities of descriptors are divided by this.
    color : float
        Weight of the squared Lab distance between patches; 0 leaves colour out.
    window : float
        Standard deviation, as a share of the grid's short side, of the Gaussian that favours near places of *recent*
        frames; 0 switches it off. Permanent frames are never limited: they stay reachable after any drift.
    balance : float
        Against the pull of what is large: a key's logit loses ``balance * log(area share)``, the share of the
        background or of all parts together; and each part's evidence is divided by that power of its share of them.
    lasting : float
        In telling parts from each other, references and recent frames are two witnesses; so much of the weight of both
        has the references', which cannot drift.
    detail : int
        Places are this many times denser than the descriptor grid on each axis (descriptors are interpolated, colours
        are not), so that thin parts and borders have places of their own.
    budget : int
        Keys a frame keeps, about; 0 keeps all. Places near the parts are kept first, of the others a sample whose
        logits carry the log of how many it stands for, so the read-out stays unbiased.
    dims : int
        Descriptors and colours of all places are reduced to this many principal dimensions of the first frame written;
        0 keeps them whole. What is dropped is mostly noise, and reading costs in proportion.
    unknown : float
        A place that resembles nothing remembered is not forced to be like something: where half the squared distance
        to what it resembles exceeds this, the read-out tends to half background, half parts, and other evidence
        decides. 0: only where that is 50, farther than anything alike.
    enabled : bool
        False switches the memory off (ablation).
    """

    recent: int = 3
    every: int = 3
    detail: int = 4
    budget: int = 700
    dims: int = 32
    unknown: float = 3.0
    temperature: float = 0.05
    color: float = 500.0
    window: float = 0.1
    balance: float = 0.5
    lasting: float = 0.7
    enabled: bool = True

    def __post_init__(self) -> None:
        if self.recent < 0 or self.every < 1 or not self.temperature > 0:
            raise ConfigError(
                "memory needs recent >= 0, every >= 1 and temperature > 0, got "
                f"{self.recent}, {self.every}, {self.temperature}"
            )
        if not 0 <= self.dims <= 4096:
            raise ConfigError(f"memory.dims must lie in 0..4096, got {self.dims}")
        if not 0 <= self.lasting <= 1:
            raise ConfigError(f"memory.lasting must lie in 0..1, got {self.lasting}")
        if not 1 <= self.detail <= 8 or self.budget < 0:
            raise ConfigError(f"memory needs detail in 1..8 and budget >= 0, got {self.detail}, {self.budget}")
        if min(self.color, self.window, self.balance, self.unknown) < 0:
            raise ConfigError("memory.color, memory.window, memory.balance and memory.unknown must not be negative")
