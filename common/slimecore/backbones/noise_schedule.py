"""Noise schedule of a diffusion model (DDPM, Ho et al., NeurIPS 2020; velocity, Salimans and Ho, ICLR 2022)."""

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
        Cumulative signal power of every timestep, 0..1: the alpha-bar of DDPM (Ho et al., NeurIPS 2020, eq. 4).
    prediction : str
        Target of the UNet: ``epsilon`` (the noise) or ``v_prediction`` (the velocity, Salimans and Ho, ICLR 2022).
    """

    alphas: Tensor
    prediction: str

    def add(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Add noise: ``sqrt(abar) x + sqrt(1 - abar) eps`` (DDPM, eq. 4).

        Parameters
        ----------
        latents, noise : (B, c, h, w) float tensors
        timesteps : (B,) or (1,) int tensor

        Returns
        -------
        (B, c, h, w) float tensor
        """
        signal_scale, noise_scale = self._scales(timesteps, latents)
        return signal_scale * latents + noise_scale * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return the training target of the UNet: the noise, or the velocity ``sqrt(abar) eps - sqrt(1 - abar) x``.

        Parameters
        ----------
        latents, noise : (B, c, h, w) float tensors
        timesteps : (B,) or (1,) int tensor

        Returns
        -------
        (B, c, h, w) float tensor
        """
        if self.prediction == "epsilon":
            return noise
        signal_scale, noise_scale = self._scales(timesteps, latents)
        return signal_scale * noise - noise_scale * latents

    def _scales(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alpha = self.alphas[timesteps.cpu()].view(-1, 1, 1, 1)
        return alpha.sqrt().to(like), (1 - alpha).sqrt().to(like)
