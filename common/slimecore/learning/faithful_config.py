"""Settings of faithful learning. Every default is SLiMe's published constant, or says why it is not.

"Paper" is Khani et al., *SLiMe: Segment Like Me*, ICLR 2024; "code" is its public implementation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from slimecore.errors import ConfigError

__all__ = ["AugmentConfig", "FaithfulConfig", "LoraConfig"]


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How views of the reference are drawn (code; the paper's appendix names the same operations).

    Parameters
    ----------
    mirror : float
        Probability of a horizontal flip. Names that say left and right swap their labels; the code does not.
    blur : float
        Probability of a Gaussian blur.
    blur_size : int
        Largest kernel side in pixels; drawn uniformly from the odd sizes up to it.
    crop : float
        Smallest side of the random crop as a share of the picture's (code: .8 by default, .6 for cars).
    keep : float
        Share of one part, another in every view, that a crop must keep. The code's counter restarts with every worker
        process, so it nearly always checks the background; ours goes through the parts.
    rotate : float
        Probability of a rotation.
    degrees : float
        Largest angle (code: 30; 10 for faces). Pixels that come in are ignored; the code labels them background.
    """

    mirror: float = 0.5
    blur: float = 0.5
    blur_size: int = 5
    crop: float = 0.8
    keep: float = 0.3
    rotate: float = 0.5
    degrees: float = 30.0

    def __post_init__(self) -> None:
        chances = (self.mirror, self.blur, self.keep, self.rotate)
        if not (all(0 <= c <= 1 for c in chances) and 0 < self.crop <= 1 and 0 <= self.degrees <= 180):
            raise ConfigError("faithful.augment: probabilities and keep lie in 0..1, crop in 0..1, degrees in 0..180")
        if not 1 <= self.blur_size <= 99:
            raise ConfigError(f"faithful.augment.blur_size must lie in 1..99 pixels, got {self.blur_size}")


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """Fine-tuning of cross-attention keys and values after the tokens, as SMITE's second phase does.

    Parameters
    ----------
    rank : int
        Rank of each change; 0, SLiMe itself, changes nothing.
    start : float
        Share of the epochs after which deltas learn too (SMITE: 50 of 300). SMITE's tokens stop there; ours go on.
    lr : float
        Adam's step size. SMITE moves whole matrices with 1e-6; factors need more.
    """

    rank: int = 0
    start: float = 1 / 6
    lr: float = 1e-4

    def __post_init__(self) -> None:
        if not (0 <= self.rank <= 1024 and 0 <= self.start <= 1 and 0 < self.lr <= 1):
            raise ConfigError("faithful.lora: rank lies in 0..1024, start in 0..1, lr above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class FaithfulConfig:
    """SLiMe's optimisation through the UNet.

    Parameters
    ----------
    epochs : int
        Passes over the annotations, each one Adam step an annotation (code: 200).
    lr : float
        Adam's step size (paper: .1).
    timesteps : tuple of int
        Smallest and largest timestep, drawn uniformly (paper: 5..100).
    was_weight : float
        Weight alpha of the WAS loss (paper: 1).
    diffusion_loss_weight : float
        Weight beta of the Stable Diffusion loss (paper: .005).
    guidance : float
        Scale s in ``mean((u + s (c - u) - target)^2)``. The paper writes the plain loss (s = 1); the code's default is
        100, which makes the term ``beta s^2 |c - u|^2``: a tether to the unconditional prediction.
    prompt : str
        Word that starts every part (paper, table: "part").
    views : int
        Augmented views of each annotation that are drawn and encoded once. The code draws a new one in every step and
        pays for the VAE again: set it to `epochs` for that.
    noise_samples : int
        Noise draws of each view, taken in turn, with their unconditional prediction computed once; 0, as published,
        draws afresh in every step.
    batch : int
        Draws averaged in one step (code: 1).
    validate : int
        Epochs between checks on the annotated pictures; the best state is kept (code: every epoch). 0 keeps the last.
    checkpointing : bool
        Recompute activations in the backward pass: less memory, a third more work.
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
