"""Learn part embeddings with SLiMe's original optimisation through the UNet (Khani et al., ICLR 2024, section 3).

The learned parameters are the prompt embeddings of the parts, as in textual inversion (Gal et al., ICLR 2023). Position
0, the start token, is the background and stays fixed. Unlike the published code, views are encoded once, the
unconditional pass runs without gradient, and attention maps are not stored (docs/adr/0009).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from slimecore.annotations import with_shared_parts
from slimecore.backbones.lora import init_lora
from slimecore.backbones.stable_diffusion import StableDiffusion
from slimecore.backbones.unet_readout import UNetReadout
from slimecore.config import flat, to_dict
from slimecore.errors import InputError
from slimecore.imaging.resize import fit_short_side, resize_labels, resize_rgb
from slimecore.imaging.tensors import to_tensor
from slimecore.learning.faithful_config import FaithfulConfig
from slimecore.learning.losses import diffusion_loss, published_cross_entropy, was_error
from slimecore.learning.published_augmentation import published_view
from slimecore.runtime.device import generator
from slimecore.runtime.progress import Progress
from slimecore.types import Annotation, PartEmbeddings

__all__ = ["learn_faithful"]

_FLOAT16_LOSS_SCALE = 2.0**12


def learn_faithful(
    backbone: StableDiffusion,
    annotations: Sequence[Annotation],
    config: FaithfulConfig | None = None,
    *,
    short_side: int = 512,
    square: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> PartEmbeddings:
    """Learn a token for each part of the annotations.

    Parameters
    ----------
    backbone : StableDiffusion
    annotations : sequence of Annotation
        At least 1. An annotation may contain a subset of the parts. A value means the same part in all of them.
    config : FaithfulConfig, optional
    short_side : int
        Short side of the network input in pixels (paper: 512).
    square : bool
        Stretch images to a square, as published. Otherwise the aspect ratio is kept.
    seed : int
        Seed of views, timesteps and noise. Equal seeds give bit-identical embeddings on CPU.
    progress : callable(step, steps, loss), optional
        Called after every step.

    Returns
    -------
    PartEmbeddings

    Raises
    ------
    InputError
        The list of annotations is empty, a value has different names, the parts exceed the prompt's tokens, or a
        timestep is out of range.
    """
    settings = config or FaithfulConfig()
    parts, annotations = with_shared_parts(annotations)
    start = backbone.encode_text(" ".join([settings.prompt] * len(parts)))[0].to(backbone.device).float()
    if len(parts) > len(start):
        raise InputError(
            f"{len(parts) - 1} parts and the background are more than the {len(start)} tokens of {backbone.name}'s "
            "prompt; use --mode probe, which has no limit"
        )
    if settings.timesteps[1] >= len(backbone.noising.alphas):
        raise InputError(
            f"faithful.timesteps reach {settings.timesteps[1]}, the model has {len(backbone.noising.alphas)}"
        )
    learner = _Learner(backbone, settings, start, len(parts), seed)
    sets = [learner.views(a, short_side, square) for a in annotations]
    learner.fit(sets, progress)
    prompt, deltas = learner.best()
    stored_settings = {
        **flat(to_dict(settings)),
        "mode": "faithful",
        "short_side": short_side,
        "square": square,
        "seed": seed,
    }
    layers = backbone.cross_layers
    return PartEmbeddings(
        parts,
        prompt[: len(parts), None].cpu().numpy(),
        np.full(layers, 1 / layers, np.float32),
        backbone.name,
        backbone.revision,
        stored_settings,
        prompt.cpu().numpy(),
        {name: value.cpu().numpy() for name, value in deltas.items()},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    """Encoded views of an annotation. The last view is the image itself, for validation."""

    latents: Tensor  # (V + 1, c, lh, lw)
    rows: Tensor  # (V + 1, H, W) int64


@dataclass(frozen=True, slots=True, eq=False)
class _Draw:
    """Noise sample of a view, with the unconditional prediction that the diffusion loss needs."""

    latents: Tensor  # (1, c, lh, lw), clean
    noise: Tensor
    timestep: Tensor  # (1,)
    rows: Tensor  # (1, H, W)
    unconditional: Tensor | None


class _Learner:
    """State of the optimisation: part embeddings, deltas, noise samples and the best validated state."""

    def __init__(self, model: StableDiffusion, config: FaithfulConfig, start: Tensor, parts: int, seed: int) -> None:
        self._model, self._config, self._parts = model, config, parts
        self._rng = np.random.default_rng(seed)
        self._noise = generator(seed)
        self._start = start
        self._vectors = start[1:parts].clone().requires_grad_(True)
        self._deltas = init_lora(model.unet, config.lora.rank, self._noise)
        self._draws: dict[tuple[int, int, int], _Draw] = {}
        self._best: tuple[float, Tensor, dict[str, Tensor]] | None = None
        # Loss scaling (Micikevicius et al., ICLR 2018): gradients of a mean over thousands of cells underflow float16.
        self._scale = _FLOAT16_LOSS_SCALE if model.null_prompt.dtype == torch.float16 else 1.0

    def views(self, annotation: Annotation, short_side: int, square: bool) -> _Views:
        """Draw and encode the views of an annotation.

        Parameters
        ----------
        annotation : Annotation
        short_side : int
            Short side of the network input in pixels.
        square : bool
            Stretch the image to a square.
        """
        multiple = self._model.multiple
        size = fit_short_side(annotation.rows.shape, short_side, multiple, enlarge=True)
        size = fit_short_side((short_side, short_side), short_side, multiple, enlarge=True) if square else size
        pairs = [
            published_view(annotation, size, self._config.augment, i % self._parts, self._rng)
            for i in range(self._config.views)
        ]
        pairs.append((resize_rgb(annotation.rgb, size), resize_labels(annotation.rows, size)))
        latents = [self._model.clean_latents(to_tensor(rgb[None], self._model.device)) for rgb, _ in pairs]
        rows = torch.from_numpy(np.stack([rows for _, rows in pairs]).astype(np.int64))
        return _Views(torch.cat(latents), rows.to(self._model.device))

    def fit(self, sets: list[_Views], progress: Progress | None) -> None:
        """Run all epochs on the views of all annotations."""
        config, unet = self._config, self._model.unet
        optimiser = torch.optim.Adam([{"params": [self._vectors], "lr": config.lr}])
        total, step = config.epochs * len(sets), 0
        if config.checkpointing:
            unet.enable_gradient_checkpointing()
        try:
            for epoch in range(config.epochs):
                if self._deltas and epoch == round(config.lora.start * config.epochs):
                    deltas = [delta.requires_grad_(True) for delta in self._deltas.values()]
                    optimiser.add_param_group({"params": deltas, "lr": config.lora.lr})
                for index in self._rng.permutation(len(sets)):
                    loss = self._step(optimiser, sets, int(index), epoch)
                    step += 1
                    if progress is not None:
                        progress(step, total, loss)
                if config.validate and (epoch + 1) % config.validate == 0:
                    self._validate(sets)
        finally:
            unet.disable_gradient_checkpointing()
        if config.validate and config.epochs % config.validate:
            self._validate(sets)

    def _prompt(self) -> Tensor:
        return torch.cat([self._start[:1], self._vectors, self._start[self._parts :]])

    def _step(self, optimiser: torch.optim.Optimizer, sets: list[_Views], index: int, epoch: int) -> float:
        config = self._config
        draws = [self._draw(sets, index, epoch * config.batch + i) for i in range(config.batch)]
        clean, noise, steps = (torch.cat([getattr(d, n) for d in draws]) for n in ("latents", "noise", "timestep"))
        noised = self._model.noising.add(clean, noise, steps)
        with UNetReadout(self._model, self._parts, self._deltas) as readout:
            readings = readout.run(noised, steps, self._prompt(), predict=config.diffusion_loss_weight > 0)
            rows = _resize_nearest(torch.cat([d.rows for d in draws]), readings.logits.shape[-2:])
            loss = published_cross_entropy(readings.logits, rows)
            if config.was_weight:
                loss = loss + config.was_weight * was_error(readings.was, rows)
            if readings.prediction is not None:
                unconditional = torch.cat([d.unconditional for d in draws if d.unconditional is not None])
                target = self._model.noising.target(clean, noise, steps)
                loss = loss + config.diffusion_loss_weight * diffusion_loss(
                    readings.prediction, unconditional, target, config.guidance
                )
            optimiser.zero_grad()
            (loss * self._scale).backward()
        self._update(optimiser)
        return float(loss.detach())

    def _update(self, optimiser: torch.optim.Optimizer) -> None:
        """Undo the loss scale and run an Adam step. If a gradient overflowed, halve the scale and skip the step."""
        gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        if not all(bool(gradient.isfinite().all()) for gradient in gradients):
            self._scale /= 2
            return
        for gradient in gradients:
            gradient /= self._scale
        optimiser.step()

    def _draw(self, sets: list[_Views], index: int, turn: int) -> _Draw:
        """Return the noise sample number `turn` of annotation `index`, reusing stored samples if configured."""
        view = turn % self._config.views
        if not self._config.noise_samples:
            return self._new_draw(sets[index], view)
        key = (index, view, turn // self._config.views % self._config.noise_samples)
        if key not in self._draws:
            self._draws[key] = self._new_draw(sets[index], view)
        return self._draws[key]

    @torch.no_grad()
    def _new_draw(self, views: _Views, view: int) -> _Draw:
        low, high = self._config.timesteps
        latents = views.latents[view : view + 1]
        timestep = torch.tensor([int(self._rng.integers(low, high + 1))])
        noise = torch.randn(latents.shape, generator=self._noise).to(latents)
        unconditional = None
        if self._config.diffusion_loss_weight:
            noised = self._model.noising.add(latents, noise, timestep)
            prompt = self._model.null_prompt
            unconditional = self._model.unet(noised, timestep.to(latents.device), encoder_hidden_states=prompt).sample
        return _Draw(latents, noise, timestep, views.rows[view : view + 1], unconditional)

    @torch.no_grad()
    def _validate(self, sets: list[_Views]) -> None:
        """Store the present state if the mean IoU of its WAS maps on the annotated images is the best so far."""
        scores = []
        timestep = torch.tensor([self._model.readout.timestep])
        with UNetReadout(self._model, self._parts, self._deltas) as readout:
            for views in sets:
                clean = views.latents[-1:]
                noise = torch.randn(clean.shape, generator=generator(0)).to(clean)
                noised = self._model.noising.add(clean, noise, timestep) if self._model.readout.noise else clean
                was = readout.run(noised, timestep, self._prompt()).was
                rows = _resize_nearest(views.rows[-1:], was.shape[-2:])
                scores.append(_mean_iou(was.argmax(1), rows, self._parts))
        score = float(np.mean(scores))
        if self._best is None or score >= self._best[0]:
            deltas = {name: delta.detach().clone() for name, delta in self._deltas.items()}
            self._best = (score, self._prompt().detach().clone(), deltas)

    def best(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return prompt (L, dim) and deltas of the best validated state, or of the last without validation."""
        if self._best is not None:
            return self._best[1], self._best[2]
        return self._prompt().detach(), {name: delta.detach() for name, delta in self._deltas.items()}


def _resize_nearest(rows: Tensor, grid: Sequence[int]) -> Tensor:
    """Resize rows (B, H, W) to a grid by nearest neighbour with half-pixel centres."""
    planes = rows[:, None].float()
    return functional.interpolate(planes, size=tuple(grid), mode="nearest-exact")[:, 0].long()


def _mean_iou(predicted: Tensor, rows: Tensor, parts: int) -> float:
    """Mean IoU over the parts that the annotation contains. Ignored pixels (-1) do not count."""
    labelled = rows >= 0
    values = []
    for part in range(parts):
        truth = (rows == part) & labelled
        if truth.any():
            prediction = (predicted == part) & labelled
            values.append(float((prediction & truth).sum() / (prediction | truth).sum()))
    return float(np.mean(values))
