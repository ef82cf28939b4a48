"""Forward diffusion of a checkpoint: how noise is added, and what its UNet is asked to predict."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["NoiseSchedule"]


@dataclass(frozen=True, slots=True, eq=False)
class NoiseSchedule:
    """Forward diffusion of a checkpoint.

    Parameters
    ----------
    alphas : (T,) float tensor
        Cumulative signal power of every timestep, 0..1.
    prediction : str
        What the UNet predicts: ``epsilon`` (the noise) or ``v_prediction`` (Salimans and Ho 2022).
    """

    alphas: Tensor
    prediction: str

    def add(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """``sqrt(abar) x + sqrt(1 - abar) eps``; `timesteps` (B,) or (1,) int."""
        signal, spread = self._scales(timesteps, latents)
        return signal * latents + spread * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What a perfect UNet would answer: the noise, or the velocity ``sqrt(abar) eps - sqrt(1 - abar) x``."""
        if self.prediction == "epsilon":
            return noise
        signal, spread = self._scales(timesteps, latents)
        return signal * noise - spread * latents

    def _scales(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alpha = self.alphas[timesteps.cpu()].view(-1, 1, 1, 1)
        return alpha.sqrt().to(like), (1 - alpha).sqrt().to(like)
