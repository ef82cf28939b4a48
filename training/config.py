"""Settings of a run: dataclasses are the defaults, YAML overrides them, unknown keys are errors."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slimecore.config import apply, load_yaml
from slimecore.errors import ConfigError
from training.scene import SceneSettings

__all__ = ["LossWeights", "TrainConfig", "load_config", "to_dict"]


@dataclass(frozen=True)
class LossWeights:
    """Shares of the objectives; see ``TrainConfig.whole_every`` for when each is taken."""

    denoise: float = 0.3
    corr: float = 0.5
    transfer: float = 1.5
    group: float = 0.2
    meta: float = 0.5
    was: float = 0.5


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Attributes
    ----------
    seed : int
    steps : int
        Total; the learning rate is constant after ``warmup`` and falls linearly over the last ``cooldown``
        share.
    sizes, counts : tuple of int
        Side of the frames and pairs per batch; drawn batch ``i`` uses entry ``i % len``.
    reuse : int
        Steps that a drawn batch serves, see ``training.symmetry``.
    queries : int
        Places of a frame that ask, drawn anew in every step; all places are searched.
    start : str or None
        Exported folder to begin from; random weights without.
    keep : float
        Share of the weights of ``start`` in what is exported: half way between the two, what further training
        forgets is kept (Wortsman et al., Robust fine-tuning of zero-shot models).
    layers : int
        Residual layers a block.
    whole_every : int
        Every so many steps the whole network is trained, by turns for ``denoise`` and for the objectives after
        ``transfer``; the steps between end at the descriptor and cost a fifth.
    denoise_size : int
        Side of the crops that are denoised.
    tau : float
        Temperature of the descriptor similarity.
    regions : int
        Most regions in the "segment like me" objective.
    noisy : float
        Share of steps in which the read-out sees the noise of its timestep.
    """

    seed: int = 0
    steps: int = 4000
    channels: tuple[int, int, int] = (32, 64, 96)
    cross_dim: int = 128
    layers: int = 1
    whole_every: int = 4
    sizes: tuple[int, ...] = (192, 256, 320)
    counts: tuple[int, ...] = (8, 5, 3)
    reuse: int = 3
    queries: int = 256
    start: str | None = None
    keep: float = 0.0
    lr: float = 1e-3
    weight_decay: float = 0.02
    warmup: int = 100
    cooldown: float = 0.3
    clip: float = 1.0
    ema: float = 0.998
    denoise_size: int = 128
    tau: float = 0.07
    regions: int = 7
    noisy: float = 0.3
    bfloat16: bool = True
    weights: LossWeights = field(default_factory=LossWeights)
    scenes: SceneSettings = field(default_factory=SceneSettings)

    def __post_init__(self) -> None:
        if len(self.counts) < len(self.sizes):
            raise ConfigError(f"counts must be as many as sizes, got {list(self.counts)} for {list(self.sizes)}")
        for name in ("steps", "reuse", "queries", "layers", "whole_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")


def load_config(path: Path | None) -> TrainConfig:
    """Read a YAML file over the defaults; ``None`` gives the defaults. ConfigError: what is wrong in it."""
    return TrainConfig() if path is None else apply(TrainConfig(), load_yaml(path), where=str(path))


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """Plain dictionary for a log."""
    return asdict(config)
