"""Read attention maps from a UNet pass with learned tokens in the prompt (SLiMe, Khani et al., ICLR 2024, section 3).

Cross-attention logits are computed from the queries and keys of the chosen layers. WAS is computed by the UNet's own
self-attention, with the evidence as extra value columns (docs/adr/0009). Only the conditional pass runs. It stops after
the last map unless the noise prediction is requested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from slimecore.attention.cross_attention import Features, attend_self, cross_logits, resize_maps
from slimecore.attention.was import attend_with_evidence
from slimecore.backbones.lora import lora_applied
from slimecore.backbones.stable_diffusion import StableDiffusion, layer_grid

__all__ = ["Readings", "UNetReadout"]


class _StopForward(Exception):
    """Ends a forward pass after the last map. It is control flow, not an error."""


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Attention maps and prediction of a UNet pass.

    Parameters
    ----------
    logits : (B, P, h, w) float32 tensor
        Cross-attention logits of the parts, mean over heads, then layers.
    was : (B, P, h, w) float32 tensor
        WAS maps of the evidence, mean over heads and layers. The evidence is the softmax of `logits` over parts,
        changed by `evidence_transform`.
    prediction : (B, c, lh, lw) tensor or None
        Prediction of the UNet, or None if not requested.
    """

    logits: Tensor
    was: Tensor
    prediction: Tensor | None


class UNetReadout:
    """Context that reads attention maps from UNet passes, differentiably in prompt and deltas.

    Run backward passes inside the context, because gradient checkpointing runs layers again and needs the same hooks.

    Parameters
    ----------
    model : StableDiffusion
    parts : int
        Number of parts P. Prompt positions ``0 .. P - 1`` are the parts, position 0 is the background.
    deltas : mapping of str to tensor, optional
        Low-rank changes, see :mod:`slimecore.backbones.lora`.
    evidence_transform : callable, optional
        Maps the evidence (B, P, h, w) to the evidence that WAS accumulates. Identity by default.
    """

    def __init__(
        self,
        model: StableDiffusion,
        parts: int,
        deltas: Mapping[str, Tensor] | None = None,
        evidence_transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._model = model
        self._parts = parts
        self._deltas = deltas or {}
        self._evidence_transform = evidence_transform or (lambda evidence: evidence)
        self._stack = ExitStack()
        self._activations: dict[str, Tensor] = {}
        self._size = (0, 0)
        self._stop_early = False
        self._cross_runs_first = _cross_runs_first(model)
        self.evidence: Tensor | None = None
        self.was: dict[str, Tensor] = {}

    def __enter__(self) -> UNetReadout:
        model, readout = self._model, self._model.readout
        # Before the recording hooks, which must see the changed keys.
        self._stack.enter_context(lora_applied(model.unet, self._deltas))
        for path in readout.cross:
            self._record(path, "attn2", "q")
            self._record(path, "attn2", "k")
        if self._cross_runs_first:
            block = model.unet.get_submodule(_block_path(min(readout.self_layers, key=_execution_order)))
            # Checkpointed regions run twice, and evidence computed inside would already be cached in the second run.
            self._stack.callback(block.register_forward_pre_hook(lambda *_: self._compute_evidence()).remove)
            for path in readout.self_layers:
                attention = model.attention(path, "attn1")
                self._stack.callback(attention.set_processor, attention.processor)
                attention.set_processor(_EvidenceAttention(self, path))
        else:
            for path in readout.self_layers:
                self._record(path, "attn1", "q")
                self._record(path, "attn1", "k")
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stack.close()
        self._reset()

    def run(self, latents: Tensor, timesteps: Tensor, prompt: Tensor, *, predict: bool = False) -> Readings:
        """Run the UNet on a batch and read its maps.

        Parameters
        ----------
        latents : (B, c, lh, lw) tensor
            Noised to `timesteps`.
        timesteps : (B,) or (1,) int tensor
        prompt : (L, dim) float tensor
            Shared by the batch.
        predict : bool
            Run to the end and return the UNet's prediction too.

        Returns
        -------
        Readings
        """
        self._reset()
        factor = self._model.codec_factor
        self._size = (latents.shape[-2] * factor, latents.shape[-1] * factor)
        self._stop_early = not predict
        states = prompt.to(latents.dtype).expand(len(latents), -1, -1)
        prediction = None
        try:
            out = self._model.unet(latents, timesteps.to(latents.device), encoder_hidden_states=states)
            prediction = out.sample
        except _StopForward:
            pass
        finally:
            self._stop_early = False  # a backward pass with checkpointing runs the hooks again
        logits = self._logits(self._grid())
        if self._cross_runs_first:
            maps = torch.stack([resize_maps(self.was[path], self._grid()) for path in self._model.readout.self_layers])
            was = maps.mean(0)
        else:
            was = attend_self(self._features(), self._evidence_transform(logits.softmax(1)))
        return Readings(logits, was, prediction)

    def _record(self, path: str, kind: str, projection: str) -> None:
        module = getattr(self._model.attention(path, kind), f"to_{projection}")

        def hook(_module: nn.Module, _args: Any, output: Tensor) -> None:
            self._activations[f"{path}/{kind}/{projection}"] = output
            layers = len(self._model.readout.cross) + len(self._model.readout.self_layers)
            self._stop_if_complete(2 * layers, self._activations)

        self._stack.callback(module.register_forward_hook(hook).remove)

    def _stop_if_complete(self, expected: int, recorded: Mapping[str, Tensor]) -> None:
        if self._stop_early and len(recorded) == expected:
            raise _StopForward

    def _compute_evidence(self) -> None:
        if self.evidence is None:
            self.evidence = self._evidence_transform(self._logits(self._grid()).softmax(1))

    def keep(self, path: str, was: Tensor) -> None:
        """Store the accumulated evidence (B, N, P) of a self-attention layer."""
        self.was[path] = was.float().transpose(1, 2).unflatten(-1, layer_grid(was.shape[1], *self._size))
        self._stop_if_complete(len(self._model.readout.self_layers), self.was)

    def evidence_at(self, cells: int) -> Tensor:
        """Resize the evidence to the grid of a layer with N = `cells` cells, (B, N, P)."""
        if self.evidence is None:
            raise RuntimeError("a self-attention layer ran before the cross-attention it accumulates")
        return resize_maps(self.evidence, layer_grid(cells, *self._size)).flatten(2).transpose(1, 2)

    def _grid(self) -> tuple[int, int]:
        """Grid of the finest self-attention layer, known before the layer has run."""
        factor = self._model.codec_factor
        bottom = len(self._model.unet.up_blocks) - 1
        level = min(_downsampling_level(path, bottom) for path in self._model.readout.self_layers)
        return self._size[0] // factor >> level, self._size[1] // factor >> level

    def _features(self) -> Features:
        model, readout = self._model, self._model.readout
        cross = tuple(model.layer(self._activations, path, "attn2", *self._size) for path in readout.cross)
        self_paths = () if self._cross_runs_first else readout.self_layers
        self_layers = tuple(model.layer(self._activations, path, "attn1", *self._size) for path in self_paths)
        return Features(cross, self_layers, torch.zeros(()), self._size)

    def _logits(self, grid: tuple[int, int]) -> Tensor:
        model, layers = self._model, self._model.readout.cross
        keys = []
        for path in layers:
            key = self._activations[f"{path}/attn2/k"][0, : self._parts]  # the prompt is the same in every batch row
            keys.append(key.unflatten(-1, (model.attention(path, "attn2").heads, -1)).transpose(0, 1))
        uniform = torch.full((len(layers),), 1 / len(layers), device=keys[0].device)
        return cross_logits(self._features(), tuple(keys), uniform, grid)

    def _reset(self) -> None:
        self._activations.clear()
        self.was.clear()
        self.evidence = None


class _EvidenceAttention:
    """Attention processor of diffusers: plain self-attention with the evidence as extra value columns."""

    def __init__(self, readout: UNetReadout, path: str) -> None:
        self._readout = readout
        self._path = path

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        query, key, value = (
            projection(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for projection in (attn.to_q, attn.to_k, attn.to_v)
        )
        evidence = self._readout.evidence_at(hidden_states.shape[1])
        attended, was = attend_with_evidence(query, key, value, evidence, float(attn.scale))
        self._readout.keep(self._path, was)
        out: Tensor = attn.to_out[1](attn.to_out[0](attended.transpose(1, 2).flatten(2)))
        return out


def _cross_runs_first(model: StableDiffusion) -> bool:
    """Test if all cross-attention layers run before the block of the first self-attention layer, as in SD."""
    first = min(_execution_order(path) for path in model.readout.self_layers)
    return all(_execution_order(path) < first for path in model.readout.cross)


def _execution_order(path: str) -> tuple[int, int]:
    """Sort key of a layer's block by execution: down path, middle, up path."""
    kind, *rest = path.split(".")
    return ("down_blocks", "mid_block", "up_blocks").index(kind), 0 if kind == "mid_block" else int(rest[0])


def _block_path(path: str) -> str:
    """Return ``up_blocks.3`` of ``up_blocks.3.attentions.0``, ``mid_block`` of ``mid_block.attentions.0``."""
    return path.split(".")[0] if _execution_order(path)[0] == 1 else ".".join(path.split(".")[:2])


def _downsampling_level(path: str, bottom: int) -> int:
    """Number of times that the latents are halved at a block. `bottom` is the number at the middle block."""
    stage, index = _execution_order(path)
    return (index, bottom, bottom - index)[stage]
