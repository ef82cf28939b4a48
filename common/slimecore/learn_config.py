"""Settings of learning; plain values, so that a command line can be parsed without torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from slimecore.errors import ConfigError

__all__ = ["LearnConfig", "ViewConfig"]


@dataclass(frozen=True, slots=True)
class ViewConfig:
    """How reference views are made.

    Parameters
    ----------
    count : int
        Views beside the picture itself.
    scale : float
        Zoom is log-uniform in ``1/scale .. scale``.
    rotate : float
        Degrees, uniform in ``-rotate .. rotate``.
    shift : float
        Share of the picture's side.
    color : float
        Strength of gain, offset and gamma changes.
    mirror : bool
        Mirror every second view, unless part names tell left from right.
    """

    count: int = 6
    scale: float = 1.35
    rotate: float = 15.0
    shift: float = 0.12
    color: float = 0.2
    mirror: bool = True

    def __post_init__(self) -> None:
        if not (0 <= self.count <= 256 and self.scale >= 1 and min(self.rotate, self.shift, self.color) >= 0):
            raise ConfigError(
                "learn.views needs count in 0..256, scale at least 1, and rotate, shift and color not negative"
            )


@dataclass(frozen=True, slots=True)
class LearnConfig:
    """How part embeddings are learned.

    Parameters
    ----------
    tokens : int
        Tokens a part owns, read out by log-sum-exp; 1 is SLiMe's formula.
    steps : int
        Adam steps.
    lr : float
        Adam's step size.
    balance : float
        Power of the class weights: 0 counts pixels, 1 counts parts alike.
    was_weight : float
        Weight of the squared error on the WAS map (alpha in SLiMe; its ablation finds no gain from it).
    weight_decay : float
        Pull of the tokens towards the neutral token.
    views : ViewConfig
        Changed copies of the reference.
    """

    tokens: int = 4
    steps: int = 200
    lr: float = 0.1
    balance: float = 0.5
    was_weight: float = 0.0
    weight_decay: float = 1e-4
    views: ViewConfig = field(default_factory=ViewConfig)

    def __post_init__(self) -> None:
        for name, most in (("tokens", 1024), ("steps", 1_000_000)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(f"learn.{name} must be at least 1 and at most {most}, got {getattr(self, name)}")
        if not 0 < self.lr <= 10 or min(self.balance, self.was_weight, self.weight_decay) < 0:
            raise ConfigError(f"learn.lr must lie in 0..10 (got {self.lr}), and learn's weights must not be negative")
