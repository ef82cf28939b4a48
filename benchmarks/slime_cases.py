"""What the cost benchmark runs: one random Stable Diffusion model, on it the original recipe's steps and ours.

`heads` scales the model: SD 2.1 has 5 heads of width 64 in its first level, hence 320 channels there; with 2 heads it
has 128, and so on for every level and, in proportion, the VAE. Latents stay 64 x 64, so attention maps are as large as
in the real thing. At 5 heads the architecture is SD 2.1's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import slime_recipe as original
import torch
from torch import Tensor

from slimecore import learn
from slimecore.backbones.checkpoint_loading import read_readout
from slimecore.backbones.noise_schedule import NoiseSchedule
from slimecore.backbones.stable_diffusion import StableDiffusion
from slimecore.learning import faithful
from slimecore.learning.faithful_config import FaithfulConfig
from slimecore.learning.probe_config import LearnConfig
from slimecore.segmentation.config import SegmentConfig
from slimecore.segmentation.part_segmenter import PartSegmenter
from slimecore.types import Annotation, PartEmbeddings, Parts

SIDE = 512
PARTS = 6  # PASCAL car: background, body, light, plate, wheel, window

Run = Callable[[], Any]


@dataclass(frozen=True)
class Bench:
    """One model for both, and one annotated picture."""

    models: original.Models
    backbone: StableDiffusion
    annotation: Annotation

    @property
    def rgb(self) -> np.ndarray:
        """The picture (H, W, 3) uint8."""
        return np.array(self.annotation.rgb)

    def tensors(self) -> Iterator[Tensor]:
        """Everything that is there before a step."""
        for model in (self.models.unet, self.models.vae):
            yield from model.parameters()
            yield from model.buffers()
        yield from (self.models.prompt, self.models.null_prompt, self.backbone.noising.alphas)


def make(heads: int) -> Bench:
    """Random weights; under FakeTensorMode only their shapes."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    torch.manual_seed(0)
    width, codec = 64 * heads, max(8, round(128 * heads / 5 / 8) * 8)
    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(width, 2 * width, 4 * width, 4 * width),
        layers_per_block=2,
        attention_head_dim=(heads, 2 * heads, 4 * heads, 4 * heads),
        cross_attention_dim=1024,
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(codec, 2 * codec, 4 * codec, 4 * codec),
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=32 if codec % 32 == 0 else 8,
        sample_size=SIDE,
    )
    del vae.decoder  # as the original does
    null, prompt = torch.randn(2, 1, 77, 1024)
    alphas = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, dim=0)
    models = original.Models(unet, vae, alphas, null, prompt)
    backbone = StableDiffusion(
        name="random",
        revision=f"{heads}",
        unet=unet,
        vae=vae,
        null_prompt=null,
        readout=read_readout(Path("."), unet),
        noising=NoiseSchedule(alphas, "epsilon"),
        encode_text=lambda _: prompt,
    )
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    rows = np.repeat(np.repeat(rng.integers(0, PARTS, (8, 8)), SIDE // 8, 0), SIDE // 8, 1)
    names = ("background", "body", "light", "plate", "wheel", "window")
    parts = Parts(tuple(range(PARTS)), names, ((0, 0, 0),) * PARTS)
    return Bench(models, backbone, Annotation(rgb, rows.astype(np.int16), parts))


@contextmanager
def shapes_only() -> Iterator[None]:
    """Run real code on tensors that have no data: where it asks for a value, it is told one.

    Numbers that decide nothing about the work (a timestep, a logged loss, whether a part is present: yes) are made up;
    every part passes the threshold of the original's inference, as it does with real weights.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    where = torch.where

    def answered(condition: Tensor, *rest: Any) -> Any:
        return where(condition, *rest) if rest else (_All(range(len(condition))),)

    values = {"__bool__": True, "__int__": 50, "__float__": 1.0, "item": 1.0}
    with FakeTensorMode(allow_non_fake_inputs=True), ExitStack() as stack:
        for name, value in values.items():
            stack.enter_context(mock.patch.object(Tensor, name, lambda *_, value=value: value))
        stack.enter_context(mock.patch.object(Tensor, "numpy", lambda x: np.zeros(tuple(x.shape), np.float32)))
        stack.enter_context(mock.patch.object(torch, "where", answered))
        stack.enter_context(mock.patch.object(torch, "bincount", lambda _, minlength: torch.ones(minlength)))
        stack.enter_context(mock.patch.object(learn, "class_weights", lambda t, *_: torch.ones(t.shape[1])))
        yield


class _All(list[int]):
    def tolist(self) -> list[int]:
        return list(self)


def _original_step(bench: Bench, patches: int, fused: bool = True) -> Run:
    state = original.new_state(bench.models, PARTS, n_patches=patches, threshold=0.0, fused=fused)
    rgb, mask = bench.rgb, np.array(bench.annotation.rows)
    return lambda: original.training_step(bench.models, state, rgb, mask)


def _original_image(bench: Bench, patches: int, fused: bool = True) -> Run:
    state = original.new_state(bench.models, PARTS, threshold=0.0, fused=fused)
    return lambda: original.segment_image(bench.models, state, bench.rgb, patches)


def _learner(bench: Bench, **settings: Any) -> tuple[Any, list[Any]]:
    """A learner of ours and its views, all the same picture: nothing of it is encoded here."""
    start = bench.models.prompt[0]
    learner = faithful._Learner(bench.backbone, FaithfulConfig(**settings), start, PARTS, 0)
    count = learner._config.views + 1
    latents = torch.randn(1, 4, SIDE // 8, SIDE // 8).expand(count, -1, -1, -1)
    rows = torch.from_numpy(np.array(bench.annotation.rows)).long().expand(count, -1, -1)
    return learner, [faithful._Views(latents, rows)]


def _our_step(bench: Bench, **settings: Any) -> Run:
    learner, sets = _learner(bench, **settings)
    optimiser = torch.optim.Adam([learner._vectors], lr=learner._config.lr)
    if learner._config.draws:
        learner._draw(sets, 0, 0)
    unet = bench.models.unet

    def run() -> float:
        if learner._config.checkpointing:
            unet.enable_gradient_checkpointing()
        try:
            return float(learner._step(optimiser, sets, 0, 0))
        finally:
            unet.disable_gradient_checkpointing()

    return run


def _our_view(bench: Bench) -> Run:
    """Two views drawn and encoded: one augmented, and the picture itself."""
    learner, _ = _learner(bench, views=1)
    return lambda: learner.views(bench.annotation, SIDE, True)


def _our_validation(bench: Bench) -> Run:
    learner, sets = _learner(bench)
    return lambda: learner._validate(sets)


def _our_draw(bench: Bench) -> Run:
    learner, sets = _learner(bench)
    return lambda: learner._new_draw(sets[0], 0)


def _our_image(bench: Bench, patches: int) -> Run:
    backbone, parts = bench.backbone, bench.annotation.parts
    prompt = np.random.default_rng(0).standard_normal((77, 1024)).astype(np.float32)
    weights = np.full(backbone.cross_layers, 1 / backbone.cross_layers, np.float32)
    settings = {"mode": "faithful", "short_side": SIDE, "square": True}
    made = PartEmbeddings(parts, prompt[:PARTS, None], weights, "random", backbone.revision, settings, prompt)
    segmenter = PartSegmenter(backbone, made, SegmentConfig(tiles=patches))
    return lambda: segmenter(bench.rgb)


def _probe_encode(bench: Bench) -> Run:
    image = learn.to_tensor(bench.rgb[None], bench.backbone.device)
    return lambda: bench.backbone.encode(image)


PROBE_STEPS = 20


def _probe_steps(bench: Bench) -> Run:
    """PROBE_STEPS steps of probe learning on seven views."""
    config, backbone = LearnConfig(steps=PROBE_STEPS), bench.backbone
    views = 1 + config.views.count
    one = _probe_encode(bench)()
    features = learn.Features.cat([one] * views)
    share, known = learn.one_hot_area(np.array(bench.annotation.rows), bench.annotation.parts, features.grid)
    targets = torch.from_numpy(share).expand(views, -1, -1, -1)
    valid = torch.from_numpy(known).expand(views, 1, -1, -1)
    sets = [learn._Views(features, targets, valid)]
    tokens = torch.randn(PARTS * config.tokens, 1024).requires_grad_(True)

    def run() -> None:
        weights = torch.zeros(backbone.cross_layers)
        learn._optimise(backbone, sets, tokens, weights, PARTS, config, None)

    return run


CASES: dict[str, Callable[[Bench], Run]] = {
    "original step, log 1 patch": lambda b: _original_step(b, 1),
    "original step, log 4 patches": lambda b: _original_step(b, 4),
    "original step, log 1 patch, torch 1.13": lambda b: _original_step(b, 1, fused=False),
    "original image, 1 patch": lambda b: _original_image(b, 1),
    "original image, 1 patch, torch 1.13": lambda b: _original_image(b, 1, fused=False),
    "original image, 4 patches": lambda b: _original_image(b, 4),
    "our step": _our_step,
    "our step, draw prepared": lambda b: _our_step(b, views=16, draws=2),
    "our step, no tether": lambda b: _our_step(b, tether=0.0),
    "our step, checkpointing": lambda b: _our_step(b, checkpointing=True),
    "two views": _our_view,
    "unconditional pass": _our_draw,
    "validation": _our_validation,
    "our image, 1 patch": lambda b: _our_image(b, 1),
    "our image, 2x2 patches": lambda b: _our_image(b, 2),
    "probe view": _probe_encode,
    "probe steps": _probe_steps,
}


def prepared(name: str, heads: int) -> Run:
    """One case on a model of its own: what a fresh process calls."""
    return CASES[name](make(heads))
