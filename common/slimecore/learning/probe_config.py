"""Settings of probe learning, as plain values, so that a command line can be parsed without importing torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from slimecore.config import constant
from slimecore.errors import ConfigError

__all__ = ["IMAGE_LEARNING", "LearnConfig", "ViewConfig"]


@dataclass(frozen=True, slots=True)
class ViewConfig:
    """Random augmentation of the reference image.

    Fields made by :func:`slimecore.config.constant` are fixed numbers of the method, not settings.

    Parameters
    ----------
    count : int
        Augmented views beside the image itself, 0..256.
    scale : float
        Largest zoom, at least 1. The zoom is log-uniform in ``1/scale .. scale``.
    rotate : float
        Largest rotation in degrees. The angle is uniform in ``-rotate .. rotate``.
    shift : float
        Largest shift as a fraction of the image's side.
    color : float
        Strength of the random gain, offset and gamma.
    mirror : bool
        Mirror every second view and swap left and right parts. If a left or right part has no counterpart, no view is
        mirrored.
    mirror_unsided : bool
        Mirror views of parts whose names say no side, too. Parts without a name may be sides.

    Raises
    ------
    ConfigError
        A value is out of range.
    """

    count: int = 6
    scale: float = constant(1.35)
    rotate: float = constant(15.0)
    shift: float = constant(0.12)
    color: float = constant(0.2)
    mirror: bool = True
    mirror_unsided: bool = constant(True)

    def __post_init__(self) -> None:
        if not (0 <= self.count <= 256 and self.scale >= 1 and min(self.rotate, self.shift, self.color) >= 0):
            raise ConfigError(
                "learn.views needs count in 0..256, scale at least 1, and rotate, shift and color not negative"
            )


@dataclass(frozen=True, slots=True)
class LearnConfig:
    """Settings of probe learning.

    Fields made by :func:`slimecore.config.constant` are fixed numbers of the method, not settings.

    Parameters
    ----------
    tokens : int
        Tokens per part, combined by log-sum-exp, 1..1024. SLiMe's formula is 1.
    steps : int
        Adam steps, 1..1000000.
    lr : float
        Adam's learning rate at the first step, above 0 and at most 10. It follows a cosine down to 5 % of this value.
    class_balance : float
        Power of the class weights. 0 weights all pixels equally, 1 weights all parts equally.
    weight_decay : float
        L2 penalty on the change of the tokens and on their vectors for the extra query features. It is divided by the
        number of annotations.
    descriptor_scale : float
        Norm of the descriptor features that tokens match beside the cross-attention queries, 0..1000. 0 leaves them
        out.
    position_scale : float
        Amplitude of the position features, 0..1000. 0 leaves them out, for moving objects.
    batch : int
        Grid cells sampled per step from all views. 0 uses all cells.
    views : ViewConfig
        Augmentation of the reference.

    Raises
    ------
    ConfigError
        A value is out of range.
    """

    tokens: int = 4
    steps: int = 200
    lr: float = 0.1
    class_balance: float = constant(0.5)
    weight_decay: float = constant(1e-4)
    descriptor_scale: float = 5.0
    position_scale: float = 0.0
    batch: int = 0
    views: ViewConfig = field(default_factory=ViewConfig)

    RENAMED = MappingProxyType(
        {"balance": "", "descriptor": "descriptor_scale", "position": "position_scale", "was_weight": ""}
    )

    def __post_init__(self) -> None:
        for name, maximum in (("tokens", 1024), ("steps", 1_000_000)):
            if not 1 <= getattr(self, name) <= maximum:
                raise ConfigError(f"learn.{name} must be at least 1 and at most {maximum}, got {getattr(self, name)}")
        if not (0 <= self.descriptor_scale <= 1000 and 0 <= self.position_scale <= 1000 and self.batch >= 0):
            raise ConfigError(
                "learn.descriptor_scale and learn.position_scale must lie in 0..1000, learn.batch must be at least 0"
            )
        if not 0 < self.lr <= 10 or min(self.class_balance, self.weight_decay) < 0:
            raise ConfigError(f"learn.lr must lie in 0..10 (got {self.lr}), and learn's weights must not be negative")


# Images of a category differ more in appearance than frames of a clip, but the subject is framed alike. Hence position
# features, weak augmentation that preserves positions, and a stronger weight decay.
IMAGE_LEARNING = LearnConfig(
    steps=300,
    lr=0.2,
    weight_decay=1e-2,
    position_scale=5.0,
    batch=4096,
    views=ViewConfig(count=4, scale=1.15, rotate=8.0, shift=0.05),
)
