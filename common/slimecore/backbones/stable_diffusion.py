"""Any checkpoint in Stable Diffusion format, through diffusers: SD 1.x, 2.x and our own slime-tiny alike.

The UNet runs once with the neutral prompt. Forward hooks on ``to_q`` and ``to_k`` of the chosen attention layers copy
queries and keys, whatever attention kernel diffusers uses, and the pass ends right after the last one.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from slimecore.attention.cross_attention import AttentionLayer, Features
from slimecore.backbones import ModelSpec
from slimecore.backbones.checkpoint_files import fingerprint, locate
from slimecore.backbones.checkpoint_loading import (
    Readout,
    load_noising,
    load_null_prompt,
    load_prompt,
    load_unet,
    load_vae,
    read_readout,
)
from slimecore.backbones.noise_schedule import NoiseSchedule
from slimecore.errors import InputError, ModelError
from slimecore.runtime.device import generator, pick_dtype

__all__ = ["StableDiffusion", "build", "layer_grid"]


def build(spec: ModelSpec, device: torch.device, seed: int = 0) -> StableDiffusion:
    """Load a checkpoint.

    Raises
    ------
    ModelError
        Not found, not reachable, or not a Stable Diffusion checkpoint.
    """
    folder = locate(spec.name, spec.revision, spec.variant)
    dtype = pick_dtype(spec.dtype, device)
    unet = load_unet(folder, spec.variant, dtype).to(device)
    if device.type == "cpu":  # bfloat16: a quarter off the descriptor, 7 % off all; not measured elsewhere
        unet.to(memory_format=torch.channels_last)
    vae = load_vae(folder, spec.variant, dtype).to(device)
    _require_plain(folder, unet, vae)
    readout = read_readout(folder, unet)
    if spec.timestep is not None:
        readout = readout.at(spec.timestep)
    noising = load_noising(folder)
    if not 0 <= readout.timestep < len(noising.alphas):
        raise InputError(f"timestep {readout.timestep} lies outside 0..{len(noising.alphas) - 1}; set model.timestep")
    return StableDiffusion(
        name=spec.name,
        revision=fingerprint(folder, spec.variant),
        unet=unet,
        vae=vae,
        null_prompt=load_null_prompt(folder, spec.variant, dtype).to(device),
        readout=readout,
        noising=noising,
        encode_text=lambda text: load_prompt(folder, spec.variant, text),
        seed=seed,
    )


def _require_plain(folder: Path, unet: Any, vae: Any) -> None:
    """Refuse UNets that need more than a picture and a prompt: of inpainting, depth, SDXL.

    Raises
    ------
    ModelError
    """
    given = vae.config.get("latent_channels", unet.config.in_channels)
    if unet.config.in_channels != given:
        raise ModelError(
            f"{folder}: its UNet takes {unet.config.in_channels} channels and the codec gives {given}, as for "
            "inpainting; give a text-to-image checkpoint of Stable Diffusion 1.x or 2.x"
        )
    if unet.config.get("addition_embed_type"):
        raise ModelError(
            f"{folder}: its UNet asks for more than a prompt, as SDXL's; give a checkpoint of Stable Diffusion 1.x or "
            "2.x"
        )


class _Done(Exception):  # control flow, not an error: the last wanted layer has spoken
    pass


@dataclass(slots=True, eq=False)
class StableDiffusion:
    """A frozen Stable Diffusion UNet as a feature extractor; satisfies :class:`slimecore.backbones.Backbone`.

    Parameters
    ----------
    name, revision : str
        Identity that learned embeddings are bound to.
    unet, vae : torch.nn.Module
        From diffusers, in evaluation mode, without gradients.
    null_prompt : (1, L, dim) float tensor
        Embeddings of the neutral prompt.
    readout : Readout
        Which layers, at which timestep.
    noising : Noising
        Noise schedule and what the UNet predicts.
    encode_text : callable(str) -> (1, L, dim) float32 tensor
        The checkpoint's own text encoder, loaded when called.
    seed : int
        Seed of the noise, when the read-out adds any.
    """

    name: str
    revision: str
    unet: Any
    vae: Any
    null_prompt: Tensor
    readout: Readout
    noising: NoiseSchedule
    encode_text: Callable[[str], Tensor]
    seed: int = 0
    _alone: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.null_prompt.device

    @property
    def token_dim(self) -> int:
        """Width of a token."""
        return int(self.null_prompt.shape[-1])

    @property
    def multiple(self) -> int:
        """Both sides of an input must be multiples of this."""
        levels = len(self.unet.config.block_out_channels)
        return self.codec_factor << (levels - 1)

    @property
    def cross_layers(self) -> int:
        """Number of cross-attention layers of the read-out."""
        return len(self.readout.cross)

    @property
    def codec_factor(self) -> int:
        """Pixels a latent cell spans."""
        config = self.vae.config
        if "block_size" in config:
            return int(config.block_size)
        channels = config.get("block_out_channels") or config.get("encoder_block_out_channels")
        return int(2 ** (len(channels) - 1))

    def null_token(self) -> Tensor:
        """(dim,) float32 mean of the neutral prompt's embeddings."""
        return self.null_prompt[0].float().mean(0)

    def token_keys(self, vectors: Tensor) -> tuple[Tensor, ...]:
        """Keys (heads, T, d) of tokens (T, dim) for each cross-attention layer; differentiable."""
        keys = []
        for path in self.readout.cross:
            attention = self.attention(path, "attn2")
            key: Tensor = attention.to_k(vectors.to(self.null_prompt.dtype))
            keys.append(key.unflatten(-1, (attention.heads, -1)).transpose(0, 1))
        return tuple(keys)

    @torch.no_grad()
    def clean_latents(self, rgb: Tensor) -> Tensor:
        """Latents (B, c, H/f, W/f) of RGB (B, 3, H, W) 0..1: the posterior's mode, so equal input gives equal output.

        Raises
        ------
        InputError
            H or W is not a multiple of :attr:`multiple`.
        """
        height, width = int(rgb.shape[-2]), int(rgb.shape[-1])
        if height % self.multiple or width % self.multiple:
            raise InputError(f"input {width}x{height}: both sides must be multiples of {self.multiple}")
        pixels = (rgb.to(self.device, self.null_prompt.dtype) * 2 - 1).contiguous()
        encoded = self.vae.encode(pixels)
        latent: Tensor = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        return latent * getattr(self.vae.config, "scaling_factor", 1.0)

    @torch.no_grad()
    def latents(self, rgb: Tensor, draws: int = 1) -> Tensor:
        """Latents (B * draws, c, h, w) at the read-out's timestep; if it asks for noise, the same for every picture."""
        latent = self.clean_latents(rgb).repeat_interleave(draws, 0)
        if not self.readout.noise:
            return latent
        noise = torch.randn(draws, *latent.shape[1:], generator=generator(self.seed)).to(latent)
        return self.noising.add(latent, noise.repeat(len(rgb), 1, 1, 1), torch.tensor([self.readout.timestep]))

    @torch.no_grad()
    def encode(self, rgb: Tensor, draws: int = 1) -> Features:
        """Features (B * draws, draws of a picture adjacent) of (B, 3, H, W) float RGB 0..1.

        Raises
        ------
        InputError
            H or W is not a multiple of :attr:`multiple`.
        """
        height, width = int(rgb.shape[-2]), int(rgb.shape[-1])
        caught = self._run(self.latents(rgb, draws), self._watched())
        cross = tuple(self.layer(caught, path, "attn2", height, width) for path in self.readout.cross)
        own = tuple(self.layer(caught, path, "attn1", height, width) for path in self.readout.self_layers)
        return Features(cross, own, self._descriptor(caught, height, width), (height, width))

    @torch.no_grad()
    def describe(self, rgb: Tensor) -> Tensor:
        """The descriptor of :meth:`encode`, (B, C, h, w) float32 L2-normalised over C; the pass ends where it is made.

        Raises
        ------
        InputError
            H or W is not a multiple of :attr:`multiple`.
        """
        caught = self._run(self.latents(rgb), {name: self.unet.get_submodule(name) for name in self.readout.descriptor})
        return self._descriptor(caught, int(rgb.shape[-2]), int(rgb.shape[-1]))

    def _descriptor(self, caught: Mapping[str, Tensor], height: int, width: int) -> Tensor:
        maps = [caught[name] for name in self.readout.descriptor]
        maps = [_as_map(m, name, height, width) for m, name in zip(maps, self.readout.descriptor, strict=True)]
        grid = min(((m.shape[2], m.shape[3]) for m in maps), key=math.prod)
        planes = [functional.normalize(functional.adaptive_avg_pool2d(m, grid).float(), dim=1) for m in maps]
        return functional.normalize(torch.cat(planes, 1), dim=1)

    def attention(self, path: str, kind: str) -> Any:
        """Attention module ``attn1`` (self) or ``attn2`` (cross) of the transformer at `path`."""
        return self.unet.get_submodule(f"{path}.transformer_blocks.0.{kind}")

    def _watched(self) -> dict[str, nn.Module]:
        modules = {f"{p}/attn2/q": self.attention(p, "attn2").to_q for p in self.readout.cross}
        for path in self.readout.self_layers:
            modules[f"{path}/attn1/q"] = self.attention(path, "attn1").to_q
            modules[f"{path}/attn1/k"] = self.attention(path, "attn1").to_k
        return modules | {name: self.unet.get_submodule(name) for name in self.readout.descriptor}

    def _run(self, latent: Tensor, watched: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        caught: dict[str, Tensor] = {}

        def catch(name: str) -> Any:
            def hook(_module: nn.Module, _args: Any, output: Any) -> None:
                caught[name] = output[0] if isinstance(output, tuple) else output
                if len(caught) == len(watched):
                    raise _Done

            return hook

        prompt = self.null_prompt.expand(latent.shape[0], -1, -1)
        with self._alone:  # hooks belong to the module: another thread's pass would fill ours, and end with ours
            handles = [module.register_forward_hook(catch(name)) for name, module in watched.items()]
            try:
                self.unet(latent, self.readout.timestep, encoder_hidden_states=prompt)
            except _Done:
                pass
            finally:
                for handle in handles:
                    handle.remove()
        return caught

    def layer(self, caught: Mapping[str, Tensor], path: str, kind: str, height: int, width: int) -> AttentionLayer:
        """Queries (and keys of ``attn1``) caught as ``PATH/KIND/q`` and ``/k`` on a picture of that size."""
        heads, scale = self.attention(path, kind).heads, float(self.attention(path, kind).scale)

        def split(name: str) -> Tensor:
            batch, places, channels = caught[name].shape
            return caught[name].reshape(batch, places, heads, channels // heads).transpose(1, 2)

        query = split(f"{path}/{kind}/q")
        key = split(f"{path}/{kind}/k") if kind == "attn1" else None
        return AttentionLayer(path, layer_grid(query.shape[2], height, width), query, key, scale)


def _as_map(output: Tensor, name: str, height: int, width: int) -> Tensor:
    """(B, C, h, w) of a module's output: that itself, or rows (B, h w, C) of a transformer."""
    if output.ndim == 4:
        return output
    grid = layer_grid(output.shape[1], height, width)
    if output.ndim != 3 or grid[0] * grid[1] != output.shape[1]:
        raise ModelError(f"the read-out's descriptor {name!r} is no map of the picture; name a layer that has one")
    return output.transpose(1, 2).reshape(len(output), output.shape[2], *grid)


def layer_grid(places: int, height: int, width: int) -> tuple[int, int]:
    """Grid of a layer with `places` places on an input of that size."""
    stride = round(math.sqrt(height * width / places))
    return height // stride, width // stride
