"""Settings of learning; plain values, so that a command line can be parsed without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from slimecore.errors import ConfigError

__all__ = ["IMAGE_LEARNING", "LearnConfig", "ViewConfig"]


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
        Mirror every second view; parts named left and right change places, and if one lacks its counterpart nothing
        is mirrored.
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
    class_balance : float
        Power of the class weights: 0 counts pixels, 1 counts parts alike.
    was_weight : float
        Weight of the squared error on the WAS map (alpha in SLiMe; its ablation finds no gain from it).
    weight_decay : float
        Pull of the tokens towards the neutral token, and of their columns towards 0; shared by the annotations.
    descriptor_scale : float
        Length of the descriptor columns that tokens read beside the cross-attention queries; 0 for none.
    position_scale : float
        Amplitude of the position columns; 0 for none, as where things move.
    batch : int
        Places of the views that a step looks at, drawn afresh for each; 0 for all.
    views : ViewConfig
        Changed copies of the reference.
    """

    tokens: int = 4
    steps: int = 200
    lr: float = 0.1
    class_balance: float = 0.5
    was_weight: float = 0.0
    weight_decay: float = 1e-4
    descriptor_scale: float = 5.0
    position_scale: float = 0.0
    batch: int = 0
    views: ViewConfig = field(default_factory=ViewConfig)

    RENAMED = MappingProxyType(
        {"balance": "class_balance", "descriptor": "descriptor_scale", "position": "position_scale"}
    )

    def __post_init__(self) -> None:
        for name, most in (("tokens", 1024), ("steps", 1_000_000)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(f"learn.{name} must be at least 1 and at most {most}, got {getattr(self, name)}")
        if not (0 <= self.descriptor_scale <= 1000 and 0 <= self.position_scale <= 1000 and self.batch >= 0):
            raise ConfigError(
                "learn.descriptor_scale and learn.position_scale must lie in 0..1000, learn.batch must be at least 0"
            )
        if not 0 < self.lr <= 10 or min(self.class_balance, self.was_weight, self.weight_decay) < 0:
            raise ConfigError(f"learn.lr must lie in 0..10 (got {self.lr}), and learn's weights must not be negative")


# Pictures of a kind differ more from each other than frames of a clip, but their subject lies alike: parts are also
# known by where they are, small changes of the views keep that, and what they look like in one picture is doubted.
IMAGE_LEARNING = LearnConfig(
    steps=300,
    lr=0.2,
    weight_decay=1e-2,
    position_scale=5.0,
    batch=4096,
    views=ViewConfig(count=4, scale=1.15, rotate=8.0, shift=0.05),
)
