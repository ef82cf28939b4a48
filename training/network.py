"""The network, a small ordinary diffusers UNet over space-to-depth latents, and its read-out.

Captured modules come early in the up path; the forward pass stops right after the last of them.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn

__all__ = ["BLOCK", "Reader", "Readout", "build_scheduler", "build_unet", "joint", "matched", "readout", "to_latents"]

BLOCK = 4
"""Side of the pixel block that becomes one latent."""
NULL_TOKENS = 8
MULTIPLE = 16
"""Sides of pictures must be multiples of this."""

_HIGH, _LOW = "up_blocks.1.attentions.0", "up_blocks.0.attentions.1"


def readout(layers: int = 1) -> dict[str, object]:
    """Which modules of a UNet with so many layers a block are read, as written to ``readout.json``.

    The descriptor is local: with one layer a block it sees about 70 pixels and no context. On real clips this matched
    better than anything after attention. Cross-attention is read at 1/16 only, so the pass ends at
    the queries and keys of self-attention at 1/8: running that layer would cost more than all the rest.
    """
    return {
        "cross": [_LOW],
        "self": [_HIGH],
        "descriptor": matched(layers)[:1],
        "timestep": 10,
        "noise": False,
    }


def matched(layers: int = 1) -> list[str]:
    """Modules that training teaches to match: at 1/8 that of the read-out, and at 1/4 one that sees about 28 pixels.

    Averaged to 1/8, the second beside the first carries labels better than either. A memory that compares colours too
    does not gain by it, so it is not in the read-out.
    """
    return [f"down_blocks.{level}.resnets.{layers - 1}" for level in (1, 0)]


def build_unet(
    channels: tuple[int, int, int] = (32, 64, 96), cross_dim: int = 128, layers: int = 1
) -> UNet2DConditionModel:
    """Build a UNet of three levels at 1/4, 1/8 and 1/16; attention at 1/16 (mid, up) and 1/8 (up).

    Parameters
    ----------
    channels : (int, int, int)
        Widths of the levels, multiples of 32 (a head has 32 channels).
    cross_dim : int
        Width of a prompt token.
    layers : int
        Residual layers a block.
    """
    return UNet2DConditionModel(
        sample_size=48,
        in_channels=3 * BLOCK**2,
        out_channels=3 * BLOCK**2,
        down_block_types=("DownBlock2D", "DownBlock2D", "DownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=channels,
        layers_per_block=layers,
        attention_head_dim=tuple(c // 32 for c in channels),  # in diffusers this is the number of heads
        cross_attention_dim=cross_dim,
        norm_num_groups=16,
        use_linear_projection=True,
    )


def build_scheduler() -> DDIMScheduler:
    """Build the noise schedule of Stable Diffusion, v-prediction."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )


def to_latents(rgb: Tensor) -> Tensor:
    """Space to depth.

    Parameters
    ----------
    rgb : (b, 3, h, w) float in [0, 1]

    Returns
    -------
    (b, 48, h / 4, w / 4) float in [-1, 1]
    """
    return F.pixel_unshuffle(2 * rgb - 1, BLOCK)


@dataclass(eq=False)
class Readout:
    """What one encoding gives.

    Attributes
    ----------
    cross : list of (b, heads, n_i, d) Tensor
        Queries of cross-attention, one entry per module; places row-major.
    self_q, self_k : (b, heads, n, d) Tensor
        Self-attention at 1/8.
    descriptors : list of (b, n, c_i) Tensor
        For matching, one entry per module, all on the grid of the coarsest; not normalised.
    """

    cross: list[Tensor]
    self_q: Tensor
    self_k: Tensor
    descriptors: list[Tensor]


class _Enough(Exception):
    """Raised by the last hook to leave the forward pass."""


@dataclass(eq=False)
class Reader:
    """Reads a :func:`readout` out of a UNet.

    Attributes
    ----------
    unet : UNet2DConditionModel
    spec : dict
        See :func:`readout`.
    """

    unet: nn.Module
    spec: dict = field(default_factory=readout)

    def __post_init__(self) -> None:
        block = "transformer_blocks.0"
        self._self = self.spec["self"][0]
        self.cross_paths = [f"{path}.{block}.attn2" for path in self.spec["cross"]]
        self._names = [f"{path}.to_q" for path in self.cross_paths]
        self._names += [f"{self._self}.{block}.attn1.to_q", f"{self._self}.{block}.attn1.to_k"]
        self._names += self.spec["descriptor"]

    @contextmanager
    def _hooks(self, seen: dict[str, Tensor], names: list[str]) -> Iterator[None]:
        def hook(name: str):
            def keep(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
                seen[name] = output
                if len(seen) == len(names):
                    raise _Enough

            return keep

        handles = [self.unet.get_submodule(name).register_forward_hook(hook(name)) for name in names]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def heads(self, x: Tensor, path: str) -> Tensor:
        """Split (b, n, c) into (b, heads, n, c / heads) for the attention module at ``path``."""
        return x.unflatten(-1, (self.unet.get_submodule(path).heads, -1)).transpose(1, 2)

    def __call__(self, latents: Tensor, prompt: Tensor, timestep: Tensor | int | None = None) -> Readout:
        """Encode.

        Parameters
        ----------
        latents : (b, 48, h, w) Tensor
        prompt : (1, tokens, cross_dim) Tensor
            Neutral prompt.
        timestep : Tensor or int, optional
            The read-out's own unless given.

        Returns
        -------
        Readout
        """
        seen = self._run(latents, prompt, timestep, self._names)
        attn1 = f"{self._self}.transformer_blocks.0.attn1"
        return Readout(
            cross=[self.heads(seen[f"{path}.to_q"], path) for path in self.cross_paths],
            self_q=self.heads(seen[f"{attn1}.to_q"], attn1),
            self_k=self.heads(seen[f"{attn1}.to_k"], attn1),
            descriptors=self._descriptors(seen),
        )

    def describe(self, latents: Tensor, prompt: Tensor) -> list[Tensor]:
        """Descriptors (b, n, c_i) alone: the pass ends where they are made."""
        return self._descriptors(self._run(latents, prompt, None, self.spec["descriptor"]))

    def _descriptors(self, seen: dict[str, Tensor]) -> list[Tensor]:
        found = [seen[name] for name in self.spec["descriptor"]]
        grid = min((tuple(f.shape[2:]) for f in found), key=math.prod)
        return [F.adaptive_avg_pool2d(f, grid).flatten(2).transpose(1, 2) for f in found]

    def _run(
        self, latents: Tensor, prompt: Tensor, timestep: Tensor | int | None, names: list[str]
    ) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}
        step = self.spec["timestep"] if timestep is None else timestep
        with self._hooks(seen, names), suppress(_Enough):
            self.unet(latents, step, prompt.expand(len(latents), -1, -1))
        return seen


def joint(descriptors: list[Tensor]) -> Tensor:
    """Unit vectors (b, n, c) of which the cosine is the mean of those of the descriptors (b, n, c_i)."""
    return F.normalize(torch.cat([F.normalize(d, dim=-1) for d in descriptors], dim=-1), dim=-1)
