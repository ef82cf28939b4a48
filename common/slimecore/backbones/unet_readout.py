"""SLiMe's own pass: the UNet runs with the learned tokens in its prompt, and its attention is read on the way.

(Khani et al., ICLR 2024, section 3.) Cross-attention logits come from the queries and keys of the chosen layers, the
WAS maps ride through the self-attention that runs anyway as extra value columns, only the conditional half runs, and
the pass ends after the last map unless the prediction is wanted. Nothing of size places x places is ever stored.
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


class _Done(Exception):  # control flow, not an error: the last map is read
    pass


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """What one pass says.

    Parameters
    ----------
    logits : (B, P, h, w) float32 tensor
        Cross-attention logits of the parts, mean over heads, then layers.
    was : (B, P, h, w) float32 tensor
        Their softmax over parts, as `shape` changed it, accumulated by self-attention; mean over heads and layers.
    prediction : (B, c, lh, lw) tensor or None
        What the UNet predicts.
    """

    logits: Tensor
    was: Tensor
    prediction: Tensor | None


class UNetReadout:
    """Context in which passes of a UNet are read; differentiable in prompt and deltas.

    Backward passes belong inside the context: gradient checkpointing runs layers again and must find them unchanged.

    Parameters
    ----------
    model : StableDiffusion
    parts : int
        Prompt positions ``0 .. parts - 1`` are the parts, position 0 the background.
    deltas : mapping of str to tensor
        See :mod:`slimecore.backbones.lora`.
    shape : callable, optional
        Changes the evidence (B, P, h, w) before it accumulates.
    """

    def __init__(
        self,
        model: StableDiffusion,
        parts: int,
        deltas: Mapping[str, Tensor] | None = None,
        shape: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._model = model
        self._parts = parts
        self._deltas = deltas or {}
        self._shape = shape or (lambda evidence: evidence)
        self._stack = ExitStack()
        self._caught: dict[str, Tensor] = {}
        self._size = (0, 0)
        self._stop = False
        self._streams = _streams(model)
        self.evidence: Tensor | None = None
        self.was: dict[str, Tensor] = {}

    def __enter__(self) -> UNetReadout:
        model, readout = self._model, self._model.readout
        self._stack.enter_context(
            lora_applied(model.unet, self._deltas)
        )  # before the hooks: they must see changed keys
        for path in readout.cross:
            self._catch(path, "attn2", "q")
            self._catch(path, "attn2", "k")
        if self._streams:
            block = model.unet.get_submodule(_block(min(readout.self_layers, key=_rank)))
            # Outside the regions that checkpointing runs again: evidence made inside one would be missing there.
            self._stack.callback(block.register_forward_pre_hook(lambda *_: self._gather()).remove)
            for path in readout.self_layers:
                attention = model.attention(path, "attn1")
                self._stack.callback(attention.set_processor, attention.processor)
                attention.set_processor(_Accumulate(self, path))
        else:
            for path in readout.self_layers:
                self._catch(path, "attn1", "q")
                self._catch(path, "attn1", "k")
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stack.close()
        self._forget()

    def run(self, latents: Tensor, timesteps: Tensor, prompt: Tensor, *, predict: bool = False) -> Readings:
        """Read one batch.

        Parameters
        ----------
        latents : (B, c, lh, lw) tensor
            Noised to `timesteps`.
        timesteps : (B,) or (1,) int tensor
        prompt : (L, dim) float tensor
            Shared by the batch.
        predict : bool
            Run to the end and keep the UNet's prediction.
        """
        self._forget()
        factor = self._model.codec_factor
        self._size = (latents.shape[-2] * factor, latents.shape[-1] * factor)
        self._stop = not predict
        states = prompt.to(latents.dtype).expand(len(latents), -1, -1)
        prediction = None
        try:
            out = self._model.unet(latents, timesteps.to(latents.device), encoder_hidden_states=states)
            prediction = out.sample
        except _Done:
            pass
        finally:
            self._stop = False  # backward with checkpointing runs the hooks again
        logits = self._logits(self._grid())
        if self._streams:
            total = torch.stack([resize_maps(self.was[path], self._grid()) for path in self._model.readout.self_layers])
            was = total.mean(0)
        else:
            was = attend_self(self._features(), self._shape(logits.softmax(1)))
        return Readings(logits, was, prediction)

    def _catch(self, path: str, kind: str, which: str) -> None:
        module = getattr(self._model.attention(path, kind), f"to_{which}")

        def hook(_module: nn.Module, _args: Any, output: Tensor) -> None:
            self._caught[f"{path}/{kind}/{which}"] = output
            self._finish(2 * (len(self._model.readout.cross) + len(self._model.readout.self_layers)), self._caught)

        self._stack.callback(module.register_forward_hook(hook).remove)

    def _finish(self, wanted: int, have: Mapping[str, Tensor]) -> None:
        if self._stop and len(have) == wanted:
            raise _Done

    def _gather(self) -> None:
        if self.evidence is None:
            self.evidence = self._shape(self._logits(self._grid()).softmax(1))

    def keep(self, path: str, was: Tensor) -> None:
        """Take a layer's accumulated evidence (B, N, P)."""
        self.was[path] = was.float().transpose(1, 2).unflatten(-1, layer_grid(was.shape[1], *self._size))
        self._finish(len(self._model.readout.self_layers), self.was)

    def evidence_at(self, places: int) -> Tensor:
        """Evidence (B, N, P) on the grid of a layer with that many places."""
        if self.evidence is None:
            raise RuntimeError("a self-attention layer ran before the cross-attention it accumulates")
        return resize_maps(self.evidence, layer_grid(places, *self._size)).flatten(2).transpose(1, 2)

    def _grid(self) -> tuple[int, int]:
        """Grid of the finest self-attention layer, before it has run."""
        factor = self._model.codec_factor
        bottom = len(self._model.unet.up_blocks) - 1
        shift = min(_level(path, bottom) for path in self._model.readout.self_layers)
        return self._size[0] // factor >> shift, self._size[1] // factor >> shift

    def _features(self) -> Features:
        model, readout = self._model, self._model.readout
        cross = tuple(model.layer(self._caught, path, "attn2", *self._size) for path in readout.cross)
        own = () if self._streams else readout.self_layers
        layers = tuple(model.layer(self._caught, path, "attn1", *self._size) for path in own)
        return Features(cross, layers, torch.zeros(()), self._size)

    def _logits(self, grid: tuple[int, int]) -> Tensor:
        model, layers = self._model, self._model.readout.cross
        keys = []
        for path in layers:
            key = self._caught[f"{path}/attn2/k"][0, : self._parts]  # the prompt is shared: any row of the batch
            keys.append(key.unflatten(-1, (model.attention(path, "attn2").heads, -1)).transpose(0, 1))
        uniform = torch.full((len(layers),), 1 / len(layers), device=keys[0].device)
        return cross_logits(self._features(), tuple(keys), uniform, grid)

    def _forget(self) -> None:
        self._caught.clear()
        self.was.clear()
        self.evidence = None


class _Accumulate:
    """Plain self-attention of a transformer block that carries the evidence along."""

    def __init__(self, reader: UNetReadout, path: str) -> None:
        self._reader = reader
        self._path = path

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        query, key, value = (
            projection(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for projection in (attn.to_q, attn.to_k, attn.to_v)
        )
        evidence = self._reader.evidence_at(hidden_states.shape[1])
        attended, was = attend_with_evidence(query, key, value, evidence, float(attn.scale))
        self._reader.keep(self._path, was)
        out: Tensor = attn.to_out[1](attn.to_out[0](attended.transpose(1, 2).flatten(2)))
        return out


def _streams(model: StableDiffusion) -> bool:
    """Whether every cross-attention layer runs before the first self-attention layer's block, as in SD."""
    first = min(_rank(path) for path in model.readout.self_layers)
    return all(_rank(path) < first for path in model.readout.cross)


def _rank(path: str) -> tuple[int, int]:
    """When the block of a layer runs: down, through the middle, and up."""
    kind, *rest = path.split(".")
    return ("down_blocks", "mid_block", "up_blocks").index(kind), 0 if kind == "mid_block" else int(rest[0])


def _block(path: str) -> str:
    """``up_blocks.3`` of ``up_blocks.3.attentions.0``, ``mid_block`` of ``mid_block.attentions.0``."""
    return path.split(".")[0] if _rank(path)[0] == 1 else ".".join(path.split(".")[:2])


def _level(path: str, bottom: int) -> int:
    """How many times the latents have been halved where a block works."""
    when, index = _rank(path)
    return (index, bottom, bottom - index)[when]
