"""Backbone for any checkpoint in Stable Diffusion format, loaded by diffusers: SD 1.x, SD 2.x and slime-tiny.

The UNet runs once with the neutral prompt. Forward hooks on ``to_q`` and ``to_k`` of the chosen attention layers record
queries and keys, so that any attention kernel of diffusers works. The pass stops after the last recorded layer.
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

    Parameters
    ----------
    spec : ModelSpec
    device : torch.device
    seed : int
        Seed of the noise, if the read-out adds noise.

    Returns
    -------
    StableDiffusion

    Raises
    ------
    ModelError
        The checkpoint is not found, not reachable, or not in Stable Diffusion format.
    InputError
        The timestep lies outside the noise schedule.
    """
    folder = locate(spec.name, spec.revision, spec.variant)
    dtype = pick_dtype(spec.dtype, device)
    unet = load_unet(folder, spec.variant, dtype).to(device)
    if device.type == "cpu":  # descriptors take 25 % less time in bfloat16 (docs/adr/0029)
        unet.to(memory_format=torch.channels_last)
    vae = load_vae(folder, spec.variant, dtype).to(device)
    _require_text_to_image(folder, unet, vae)
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


def _require_text_to_image(folder: Path, unet: Any, vae: Any) -> None:
    """Raise ModelError for UNets that need more than latents and a prompt (inpainting, depth, SDXL)."""
    latent_channels = vae.config.get("latent_channels", unet.config.in_channels)
    if unet.config.in_channels != latent_channels:
        raise ModelError(
            f"{folder}: its UNet takes {unet.config.in_channels} channels and the codec gives {latent_channels}, as "
            "for inpainting; give a text-to-image checkpoint of Stable Diffusion 1.x or 2.x"
        )
    if unet.config.get("addition_embed_type"):
        raise ModelError(
            f"{folder}: its UNet asks for more than a prompt, as SDXL's; give a checkpoint of Stable Diffusion 1.x or "
            "2.x"
        )


class _StopForward(Exception):
    """Ends a forward pass after the last recorded layer. It is control flow, not an error."""


@dataclass(slots=True, eq=False)
class StableDiffusion:
    """Frozen Stable Diffusion UNet as a feature extractor, a :class:`slimecore.backbones.Backbone`.

    Parameters
    ----------
    name, revision : str
        Identity of the model, stored with learned embeddings.
    unet, vae : torch.nn.Module
        Models of diffusers in evaluation mode, without gradients.
    null_prompt : (1, L, dim) float tensor
        Embeddings of the neutral prompt.
    readout : Readout
        Layers to read and the timestep of the pass.
    noising : NoiseSchedule
        Noise schedule and prediction type.
    encode_text : callable(str) -> (1, L, dim) float32 tensor
        Text encoder of the checkpoint, loaded at each call.
    seed : int
        Seed of the noise, if the read-out adds noise.
    _pass_lock : Lock
        Guards passes of the UNet, which record layers.
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
    _pass_lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.null_prompt.device

    @property
    def token_dim(self) -> int:
        """Width of a token embedding."""
        return int(self.null_prompt.shape[-1])

    @property
    def multiple(self) -> int:
        """Number of pixels that both sides of an input must be multiples of."""
        levels = len(self.unet.config.block_out_channels)
        return self.codec_factor << (levels - 1)

    @property
    def cross_layers(self) -> int:
        """Number of cross-attention layers of the read-out."""
        return len(self.readout.cross)

    @property
    def codec_factor(self) -> int:
        """Side of a latent cell in pixels."""
        config = self.vae.config
        if "block_size" in config:
            return int(config.block_size)
        channels = config.get("block_out_channels") or config.get("encoder_block_out_channels")
        return int(2 ** (len(channels) - 1))

    def null_token(self) -> Tensor:
        """Return the (dim,) float32 mean of the neutral prompt's embeddings."""
        return self.null_prompt[0].float().mean(0)

    def token_keys(self, vectors: Tensor) -> tuple[Tensor, ...]:
        """Project tokens (T, dim) to keys (heads, T, d) of each cross-attention layer, differentiably."""
        keys = []
        for path in self.readout.cross:
            attention = self.attention(path, "attn2")
            key: Tensor = attention.to_k(vectors.to(self.null_prompt.dtype))
            keys.append(key.unflatten(-1, (attention.heads, -1)).transpose(0, 1))
        return tuple(keys)

    @torch.no_grad()
    def clean_latents(self, rgb: Tensor) -> Tensor:
        """Encode RGB (B, 3, H, W), 0..1, to latents (B, c, H/f, W/f), deterministically by the posterior's mode.

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
        """Encode RGB (B, 3, H, W), 0..1, to latents (B * draws, c, h, w) at the read-out's timestep.

        If the read-out adds noise, the seeded noise samples are the same for every image. The samples of an image are
        adjacent.

        Raises
        ------
        InputError
            H or W is not a multiple of :attr:`multiple`.
        """
        latent = self.clean_latents(rgb).repeat_interleave(draws, 0)
        if not self.readout.noise:
            return latent
        noise = torch.randn(draws, *latent.shape[1:], generator=generator(self.seed)).to(latent)
        return self.noising.add(latent, noise.repeat(len(rgb), 1, 1, 1), torch.tensor([self.readout.timestep]))

    @torch.no_grad()
    def encode(self, rgb: Tensor, draws: int = 1) -> Features:
        """Compute the features of a batch of images.

        Parameters
        ----------
        rgb : (B, 3, H, W) float tensor
            RGB, 0..1.
        draws : int
            Seeded noise samples per image.

        Returns
        -------
        Features
            Of B * draws images. The samples of an image are adjacent.

        Raises
        ------
        InputError
            H or W is not a multiple of :attr:`multiple`.
        """
        height, width = int(rgb.shape[-2]), int(rgb.shape[-1])
        activations = self._run(self.latents(rgb, draws), self._recorded_modules())
        cross = tuple(self.layer(activations, path, "attn2", height, width) for path in self.readout.cross)
        self_layers = tuple(self.layer(activations, path, "attn1", height, width) for path in self.readout.self_layers)
        return Features(cross, self_layers, self._descriptor(activations, height, width), (height, width))

    @torch.no_grad()
    def describe(self, rgb: Tensor) -> Tensor:
        """Compute only the descriptor of :meth:`encode`, (B, D, h, w) float32, L2-normalised over D.

        The pass stops after the last descriptor layer.

        Raises
        ------
        InputError
            H or W is not a multiple of :attr:`multiple`.
        """
        modules = {name: self.unet.get_submodule(name) for name in self.readout.descriptor}
        activations = self._run(self.latents(rgb), modules)
        return self._descriptor(activations, int(rgb.shape[-2]), int(rgb.shape[-1]))

    def _descriptor(self, activations: Mapping[str, Tensor], height: int, width: int) -> Tensor:
        maps = [activations[name] for name in self.readout.descriptor]
        maps = [_as_map(m, name, height, width) for m, name in zip(maps, self.readout.descriptor, strict=True)]
        grid = min(((m.shape[2], m.shape[3]) for m in maps), key=math.prod)
        planes = [functional.normalize(functional.adaptive_avg_pool2d(m, grid).float(), dim=1) for m in maps]
        return functional.normalize(torch.cat(planes, 1), dim=1)

    def attention(self, path: str, kind: str) -> Any:
        """Return attention module ``attn1`` (self) or ``attn2`` (cross) of the transformer at `path`."""
        return self.unet.get_submodule(f"{path}.transformer_blocks.0.{kind}")

    def _recorded_modules(self) -> dict[str, nn.Module]:
        modules = {f"{p}/attn2/q": self.attention(p, "attn2").to_q for p in self.readout.cross}
        for path in self.readout.self_layers:
            modules[f"{path}/attn1/q"] = self.attention(path, "attn1").to_q
            modules[f"{path}/attn1/k"] = self.attention(path, "attn1").to_k
        return modules | {name: self.unet.get_submodule(name) for name in self.readout.descriptor}

    def _run(self, latent: Tensor, modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """Run the UNet with the neutral prompt until all `modules` have run, and return their outputs."""
        activations: dict[str, Tensor] = {}

        def record(name: str) -> Any:
            def hook(_module: nn.Module, _args: Any, output: Any) -> None:
                activations[name] = output[0] if isinstance(output, tuple) else output
                if len(activations) == len(modules):
                    raise _StopForward

            return hook

        prompt = self.null_prompt.expand(latent.shape[0], -1, -1)
        with self._pass_lock:  # hooks belong to the modules, so a pass of another thread would trigger them too
            handles = [module.register_forward_hook(record(name)) for name, module in modules.items()]
            try:
                self.unet(latent, self.readout.timestep, encoder_hidden_states=prompt)
            except _StopForward:
                pass
            finally:
                for handle in handles:
                    handle.remove()
        return activations

    def layer(self, activations: Mapping[str, Tensor], path: str, kind: str, height: int, width: int) -> AttentionLayer:
        """Split recorded projections into the heads of an attention layer.

        Parameters
        ----------
        activations : mapping of str to (B, h*w, channels) tensor
            Outputs of the projections, named ``PATH/KIND/q`` and ``PATH/KIND/k``.
        path : str
            Module path of the transformer.
        kind : str
            ``attn1`` (self, with keys) or ``attn2`` (cross, without keys).
        height, width : int
            Size of the network input in pixels.

        Returns
        -------
        AttentionLayer
        """
        heads, scale = self.attention(path, kind).heads, float(self.attention(path, kind).scale)

        def split(name: str) -> Tensor:
            batch, cells, channels = activations[name].shape
            return activations[name].reshape(batch, cells, heads, channels // heads).transpose(1, 2)

        query = split(f"{path}/{kind}/q")
        key = split(f"{path}/{kind}/k") if kind == "attn1" else None
        return AttentionLayer(path, layer_grid(query.shape[2], height, width), query, key, scale)


def _as_map(output: Tensor, name: str, height: int, width: int) -> Tensor:
    """Return a module's output as (B, C, h, w), given in this form or as the rows (B, h*w, C) of a transformer."""
    if output.ndim == 4:
        return output
    grid = layer_grid(output.shape[1], height, width)
    if output.ndim != 3 or grid[0] * grid[1] != output.shape[1]:
        raise ModelError(f"the read-out's descriptor {name!r} is no map of the picture; name a layer that has one")
    return output.transpose(1, 2).reshape(len(output), output.shape[2], *grid)


def layer_grid(cells: int, height: int, width: int) -> tuple[int, int]:
    """Derive the grid of a layer from its number of cells.

    Parameters
    ----------
    cells : int
        Number of grid cells, h * w.
    height, width : int
        Size of the network input in pixels.

    Returns
    -------
    (int, int)
        ``(h, w)``.
    """
    stride = round(math.sqrt(height * width / cells))
    return height // stride, width // stride
