"""Space-to-depth codec: an exact replacement of a VAE without weights (docs/adr/0007)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor
from torch.nn import functional

__all__ = ["SpaceToDepthCodec"]


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    latents: Tensor


class SpaceToDepthCodec(ModelMixin, ConfigMixin):  # type: ignore[misc] # diffusers is untyped
    """Codec that moves every ``block_size`` x ``block_size`` block of pixels into channels, without loss.

    It has the interface of ``diffusers.AutoencoderTiny`` and is saved the same way.

    Parameters
    ----------
    block_size : int
        Side of a latent cell in pixels.
    scaling_factor : float
        Factor on the latents, as in every diffusers VAE.
    """

    config_name = "config.json"

    @register_to_config  # type: ignore[untyped-decorator, unused-ignore]
    def __init__(self, block_size: int = 4, scaling_factor: float = 1.0) -> None:
        super().__init__()
        self.block_size = block_size

    def encode(self, x: Tensor, **_: Any) -> _Encoded:
        """Encode RGB (B, 3, H, W), -1..1, to ``latents`` (B, 3 * block_size**2, H / block_size, W / block_size)."""
        return _Encoded(functional.pixel_unshuffle(x, self.block_size))

    def decode(self, latents: Tensor, **_: Any) -> Tensor:
        """Invert :meth:`encode`."""
        return functional.pixel_shuffle(latents, self.block_size)
