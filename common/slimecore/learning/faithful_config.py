"""Settings of faithful learning. Defaults are SLiMe's published constants unless the text states a reason.

"Paper" is Khani et al., *SLiMe: Segment Like Me*, ICLR 2024. "Code" is its public implementation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from slimecore.config import constant
from slimecore.errors import ConfigError

__all__ = ["AugmentConfig", "FaithfulConfig", "LoraConfig"]


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Random augmentation of the reference (code, and the paper's appendix).

    Parameters
    ----------
    mirror : float
        Probability of a horizontal flip. Left and right parts swap their labels, unlike in the code.
    blur : float
        Probability of a Gaussian blur.
    blur_size : int
        Largest kernel side in pixels. The side is drawn uniformly from the odd numbers up to it.
    crop : float
        Smallest side of the random crop as a fraction of the image's side (code: .8, for cars .6).
    keep : float
        Fraction of a part's area that a crop must keep. Views cycle through the parts. The code's counter restarts with
        every worker process, so that it nearly always checks the background.
    rotate : float
        Probability of a rotation.
    degrees : float
        Largest angle in degrees (code: 30, for faces 10). Pixels from outside the image are ignored. The code labels
        them as background.
    """

    mirror: float = 0.5
    blur: float = 0.5
    blur_size: int = 5
    crop: float = 0.8
    keep: float = 0.3
    rotate: float = 0.5
    degrees: float = 30.0

    def __post_init__(self) -> None:
        fractions = (self.mirror, self.blur, self.keep, self.rotate)
        if not (all(0 <= fraction <= 1 for fraction in fractions) and 0 < self.crop <= 1 and 0 <= self.degrees <= 180):
            raise ConfigError("faithful.augment: probabilities and keep lie in 0..1, crop in 0..1, degrees in 0..180")
        if not 1 <= self.blur_size <= 99:
            raise ConfigError(f"faithful.augment.blur_size must lie in 1..99 pixels, got {self.blur_size}")


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """Low-rank tuning (LoRA, Hu et al., ICLR 2022) of cross-attention keys and values.

    It corresponds to the second phase of SMITE (Alimohammadi et al., 2024), which tunes the full matrices.

    Parameters
    ----------
    rank : int
        Rank of each delta. 0 leaves the projections unchanged, as in SLiMe.
    start : float
        Fraction of the epochs after which the deltas are learned too (SMITE: 50 of 300). SMITE freezes the tokens at
        this point, but here they continue to learn.
    lr : float
        Adam's learning rate. SMITE tunes full matrices at 1e-6. Low-rank factors need a larger rate.
    """

    rank: int = 0
    start: float = constant(1 / 6)
    lr: float = 1e-4

    def __post_init__(self) -> None:
        if not (0 <= self.rank <= 1024 and 0 <= self.start <= 1 and 0 < self.lr <= 1):
            raise ConfigError("faithful.lora: rank lies in 0..1024, start in 0..1, lr above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class FaithfulConfig:
    """Settings of SLiMe's optimisation through the UNet.

    Parameters
    ----------
    epochs : int
        Passes over the annotations, with an Adam step per annotation (code: 200).
    lr : float
        Adam's learning rate (paper: .1).
    timesteps : tuple of int
        Smallest and largest timestep of a uniform distribution (paper: 5..100).
    was_weight : float
        Weight alpha of the WAS loss (paper: 1).
    diffusion_loss_weight : float
        Weight beta of the Stable Diffusion loss (paper: .005).
    guidance : float
        Guidance scale s in ``mean((u + s (c - u) - target)^2)``. The paper writes the plain loss, s = 1. The code's
        default is 100, so that the loss is about ``s^2 |c - u|^2``: it ties c to the unconditional prediction u.
    prompt : str
        Word of the initial prompt, repeated for every part (paper, table: "part").
    views : int
        Augmented views of each annotation, drawn and encoded once. The code draws a new view in every step. Set `views`
        to `epochs` for the same number.
    noise_samples : int
        Noise samples of each view, used in turn. Their unconditional predictions are computed once. 0 draws new noise
        in every step, as published.
    batch : int
        Noised views averaged per step (code: 1).
    validate : int
        Epochs between validations on the annotated images, of which the best state is returned (code: every epoch). 0
        returns the last state.
    checkpointing : bool
        Recompute activations in the backward pass (gradient checkpointing, Chen et al., 2016). It needs less memory and
        a third more computation.
    augment : AugmentConfig
        Augmentation of the annotated images.
    lora : LoraConfig
        Low-rank changes of the cross-attention layers.
    """

    epochs: int = 200
    lr: float = 0.1
    timesteps: tuple[int, ...] = (5, 100)
    was_weight: float = 1.0
    diffusion_loss_weight: float = 0.005
    guidance: float = 100.0
    prompt: str = "part"
    views: int = 32
    noise_samples: int = 0
    batch: int = 1
    validate: int = 20
    checkpointing: bool = False
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)

    RENAMED = MappingProxyType({"tether": "diffusion_loss_weight", "draws": "noise_samples", "deltas": "lora"})

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 1_000_000),
            ("views", 1, 100_000),
            ("noise_samples", 0, 100_000),
            ("batch", 1, 4096),
            ("validate", 0, 1_000_000),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"faithful.{name} must lie in {low}..{high}, got {getattr(self, name)}")
        if len(self.timesteps) != 2 or not 0 <= self.timesteps[0] <= self.timesteps[1]:
            raise ConfigError(f"faithful.timesteps takes [smallest, largest], got {list(self.timesteps)}")
        if not 0 < self.lr <= 10 or min(self.was_weight, self.diffusion_loss_weight) < 0:
            raise ConfigError(f"faithful.lr must lie in 0..10 (got {self.lr}), and weights must not be negative")
