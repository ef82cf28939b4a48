"""The published SLiMe recipe written out plainly, costs included: the baseline of a benchmark, not something to use.

What it spends, all of it on purpose, is what the published program spends:
- every training step encodes the picture with the VAE (a posterior sample) and runs the UNet on a batch of two, [empty
  prompt; learned prompt], with gradients through both rows;
- EVERY attention layer computes its scores by baddbmm, their softmax (thrown away), and then runs
  scaled_dot_product_attention over the same queries and keys; eight layers keep the scores of both rows. That is the
  code under torch 2; under torch 1.13, which it pins, there is no scaled_dot_product_attention, and the softmax is what
  multiplies the values (`State.fused = False`): fewer FLOPs, and every layer's probabilities stay for the backward;
- WAS multiplies the self map (1, N, h, w) with the weights (K, N, 1, 1) and sums: a (K, N, h, w) product;
- the learned vectors and Adam live on the CPU and are copied to the device every step; logs come back every step;
- before the backward, the whole patched inference runs on the training picture, for a training IoU that is only logged;
  its UNet passes run with gradients enabled on the vectors that require them (`State.published_bug`), so each builds a
  second graph while that of the training step is alive.
Augmentation is left to the caller: hand in the augmented picture. Sizes come from what is given (`State.size`, the
UNet, the VAE), so it can be scaled down; pictures are square, as there. Floating point 32 throughout. A validation
inference every epoch, which the published program adds, is one `segment_image` by the caller.

Three places differ from the published program, none in cost. Installed diffusers instead of a vendored one, so a store
in place of forward hooks. The channel order is the caller's. `State.test_softmax = "parts"` is the softmax over the K
parts of the averaged logits at the test; the published one, "tokens", the default, is over all tokens in every head.
With random weights that is about 1/77 everywhere, below the threshold of 0.2: no part is kept and no WAS is computed.
Set `State.threshold = 0` for an honest cost without real weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor

CROSS_LAYERS = tuple(
    f"up_blocks.{block}.attentions.{i}.transformer_blocks.0.attn2" for block, n in ((1, 3), (2, 2)) for i in range(n)
)
SELF_LAYERS = tuple(f"up_blocks.3.attentions.{i}.transformer_blocks.0.attn1" for i in range(3))


@dataclass
class Models:
    """The frozen networks and prompts. alphas_cumprod (T,), null_prompt and prompt (1, L, dim)."""

    unet: Any
    vae: Any
    alphas_cumprod: Tensor
    null_prompt: Tensor
    prompt: Tensor
    prediction: str = "epsilon"  # the published program knows only this; "v_prediction" changes the SD target

    def __post_init__(self) -> None:
        self.unet.requires_grad_(False).eval()
        self.vae.requires_grad_(False).eval()

    @property
    def device(self) -> torch.device:
        """Where the UNet is."""
        return next(self.unet.parameters()).device


@dataclass
class State:
    """What is learned, K-1 vectors (1, 1, dim) on the CPU, its Adam, and every published setting."""

    vectors: list[Tensor]
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    size: int = 512
    n_patches: int = 4
    patch_size: int | None = None  # None: 400 of 512 with 4 patches, the whole picture with 1
    train_t: tuple[int, int] = (5, 100)
    test_t: int = 100
    guidance: float = 100.0
    alpha: float = 1.0
    beta: float = 0.005
    threshold: float = 0.2
    test_softmax: str = "tokens"
    published_bug: bool = True
    fused: bool = True
    log: dict[str, float] = field(default_factory=dict)

    @property
    def parts(self) -> int:
        """K, the background included."""
        return len(self.vectors) + 1


def new_state(models: Models, parts: int, seed: int = 0, lr: float = 0.1, **settings: Any) -> State:
    """The vectors start as the prompt's own, positions 1 .. parts-1; Adam on the CPU."""
    vectors = [models.prompt[:, i : i + 1].detach().cpu().clone().requires_grad_(True) for i in range(1, parts)]
    optimizer = torch.optim.Adam(vectors, lr=lr)
    generator = torch.Generator(models.device).manual_seed(seed)
    return State(vectors, optimizer, generator, **settings)


# --------------------------------------------------------------------------------------------------------- attention


class PublishedAttention:
    """Scores by baddbmm with their softmax, then, if fused, scaled_dot_product_attention all the same."""

    def __init__(self, name: str, store: dict[str, Tensor], keep: bool, fused: bool) -> None:
        self.name, self.store, self.keep, self.fused = name, store, keep, fused

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """hidden_states (B, N, C), encoder_hidden_states (B, M, D) -> (B, N, C); stores scores (B * heads, N, M)."""
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            x.view(len(x), -1, attn.heads, x.shape[-1] // attn.heads).transpose(1, 2)  # (B, heads, N or M, d)
            for x in (attn.to_q(hidden_states), attn.to_k(source), attn.to_v(source))
        )
        flat_query, flat_key = query.flatten(0, 1), key.flatten(0, 1)  # copies, as there
        empty = flat_query.new_empty(len(flat_query), flat_query.shape[1], flat_key.shape[1])
        scores = torch.baddbmm(empty, flat_query, flat_key.transpose(1, 2), beta=0, alpha=attn.scale)
        probabilities = scores.softmax(dim=-1)
        if self.fused:
            out = F.scaled_dot_product_attention(query, key, value)
        else:
            out = torch.bmm(probabilities, value.flatten(0, 1)).unflatten(0, query.shape[:2])
        if self.keep:
            self.store[self.name] = scores
        del probabilities
        out = out.transpose(1, 2).reshape(len(out), -1, attn.heads * out.shape[-1])
        return attn.to_out[1](attn.to_out[0](out))


@contextmanager
def published_attention(unet: Any, store: dict[str, Tensor], fused: bool = True) -> Iterator[None]:
    """Every attention layer in the published manner; the processors are put back afterwards."""
    layers = {name: module for name, module in unet.named_modules() if isinstance(module, Attention)}
    before = {name: layer.processor for name, layer in layers.items()}
    kept = {*CROSS_LAYERS, *SELF_LAYERS}
    try:
        for name, layer in layers.items():
            layer.set_processor(PublishedAttention(name, store, name in kept, fused))
        yield
    finally:
        for name, layer in layers.items():
            layer.set_processor(before[name])


# -------------------------------------------------------------------------------------------------------- the UNet pass


def noise_like(x: Tensor, state: State) -> Tensor:
    """Gaussian noise of the shape, type and place of x."""
    return torch.randn(x.shape, generator=state.generator, device=x.device, dtype=x.dtype)


def encode(models: Models, state: State, image: Tensor) -> Tensor:
    """The picture (1, 3, S, S) in 0 .. 1 -> scaled latents (1, 4, s, s), a SAMPLE of the posterior."""
    posterior = models.vae.encode(2 * image - 1).latent_dist
    return posterior.sample(generator=state.generator) * models.vae.config.scaling_factor


def unet_pass(
    models: Models, state: State, prompts: Tensor, image: Tensor, t: int, train: bool, grad: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """One call on [empty; learned] prompts (2, L, dim) and one picture (1, 3, any, any).

    Returns the SD loss, the cross maps (K, s, s) of the second row and its self map (s*s keys, s, s queries), s the
    latent side. Training: raw logits, averaged; test: probabilities (`State.test_softmax`).
    """
    if image.shape[-2:] != (state.size, state.size):
        image = F.interpolate(image, (state.size, state.size), mode="bilinear", align_corners=False)
    clean = encode(models, state, image)
    store: dict[str, Tensor] = {}
    with torch.set_grad_enabled(grad):
        noise = noise_like(clean, state)
        abar = models.alphas_cumprod[t].to(clean)
        noisy = abar.sqrt() * clean + (1 - abar).sqrt() * noise
        with published_attention(models.unet, store, state.fused):
            prediction = models.unet(torch.cat([noisy] * 2), t, encoder_hidden_states=prompts).sample
    cross, self_map = average_maps(store, state, clean.shape[-1], train)
    store.clear()
    unconditional, conditional = prediction.chunk(2)
    guided = unconditional + state.guidance * (conditional - unconditional)
    target = noise if models.prediction == "epsilon" else abar.sqrt() * noise - (1 - abar).sqrt() * clean
    return F.mse_loss(guided, target, reduction="none").mean([1, 2, 3]).mean(), cross, self_map


def average_maps(store: dict[str, Tensor], state: State, side: int, train: bool) -> tuple[Tensor, Tensor]:
    """From scores (2 * heads, N, M) by layer: cross maps (K, side, side), self map (side*side keys, side, side)."""
    cross_maps, self_maps = [], []
    logits_only = train or state.test_softmax == "parts"
    for name in CROSS_LAYERS:
        scores = torch.stack(store[name].chunk(2))  # (2, heads, N, L), a copy of both rows
        columns = scores if logits_only else scores.softmax(dim=-1)
        columns = columns[..., torch.arange(state.parts)]
        small = math.isqrt(columns.shape[2])
        planes = columns.reshape(*columns.shape[:2], small, small, state.parts).permute(0, 1, 4, 2, 3)
        rows = [F.interpolate(row, size=side, mode="bilinear").mean(dim=0) for row in planes]  # the first: for nothing
        cross_maps.append(torch.stack(rows))
    for name in SELF_LAYERS:
        scores = store[name][len(store[name]) // 2 :]  # (heads, N query, N key), the learned prompt's row
        small = math.isqrt(scores.shape[1])
        planes = scores.softmax(dim=-1).reshape(len(scores), small, small, -1).permute(0, 3, 1, 2)
        self_maps.append(F.interpolate(planes, size=side, mode="bilinear").mean(dim=0))
    cross = torch.stack(cross_maps).mean(dim=0)[1]
    if not train and state.test_softmax == "parts":
        cross = cross.softmax(dim=0)
    return cross, torch.stack(self_maps).mean(dim=0)


# ------------------------------------------------------------------------------------------------------------ training


def prompts_of(models: Models, state: State) -> Tensor:
    """(2, L, dim): the empty prompt, and the prompt with the vectors, copied from the CPU, in positions 1 .. K-1."""
    device = models.device
    vectors = [v.to(device) for v in state.vectors]
    learned = torch.cat([models.prompt[:, :1].to(device), *vectors, models.prompt[:, state.parts :].to(device)], dim=1)
    return torch.cat([models.null_prompt.to(device), learned])


def picture(models: Models, state: State, rgb: np.ndarray | Tensor) -> Tensor:
    """The picture (H, W, 3) uint8 -> (1, 3, size, size) in 0 .. 1 on the device, squashed to the square."""
    image = torch.as_tensor(rgb).to(models.device).permute(2, 0, 1)[None].float() / 255
    if image.shape[-2:] != (state.size, state.size):
        image = F.interpolate(image, (state.size, state.size), mode="bilinear", align_corners=False, antialias=True)
    return image


def losses(
    cross: Tensor, self_map: Tensor, mask: Tensor, sd_loss: Tensor, state: State
) -> tuple[Tensor, Tensor, Tensor]:
    """Total, cross entropy and squared loss; cross (K, s, s) logits, self_map (s*s, s, s), mask (s, s) labels."""
    counts = torch.bincount(mask.flatten(), minlength=state.parts)
    counts[0] = 0
    weights = torch.where(counts > 0, counts.sum() / counts, 0.0)
    weights[0] = 1
    ce = F.cross_entropy(cross[None], mask[None], weight=weights)
    probabilities = cross.softmax(dim=0)
    was = (self_map[None] * probabilities.flatten(1)[..., None, None]).sum(dim=1)  # the product is (K, s*s, s, s)
    onehot = torch.zeros_like(was).scatter_(0, mask[None], 1.0)
    squared = F.mse_loss(was, onehot) * state.parts
    return ce + state.beta * sd_loss + state.alpha * squared, ce, squared


def training_step(models: Models, state: State, rgb: np.ndarray | Tensor, mask: np.ndarray | Tensor) -> float:
    """One step on one (augmented) picture: rgb (H, W, 3) uint8, mask (H, W) labels 0 .. K-1. Returns the loss."""
    image = picture(models, state, rgb)
    side = state.size // 2 ** (len(models.vae.config.block_out_channels) - 1)
    labels = F.interpolate(torch.as_tensor(mask)[None, None].float(), (side, side), mode="nearest")[0, 0]
    labels = labels.long().to(models.device)
    prompts = prompts_of(models, state)
    t = int(
        torch.randint(state.train_t[0], state.train_t[1] + 1, (1,), generator=state.generator, device=models.device)
    )
    sd_loss, cross, self_map = unet_pass(models, state, prompts, image, t, train=True, grad=True)
    loss, ce, squared = losses(cross, self_map, labels, sd_loss, state)
    del cross, self_map

    guess = patched_labels(models, state, prompts, image, side, state.n_patches)  # while the graph of `loss` is alive
    ious = []
    for k in range(state.parts):
        truth, ours = labels == k, guess == k
        if truth.any():
            ious.append((truth & ours).sum() / ((truth | ours).sum() + 1e-7))
    state.log = {
        name: float(value.detach().cpu())
        for name, value in (
            ("ce", ce),
            ("mse", squared),
            ("sd", sd_loss),
            ("iou", sum(ious) / len(ious)),
            ("loss", loss),
        )
    }
    state.optimizer.zero_grad()
    loss.backward()
    state.optimizer.step()
    return state.log["loss"]


# ----------------------------------------------------------------------------------------------------------- inference


def patched_labels(models: Models, state: State, prompts: Tensor, image: Tensor, output: int, n_patches: int) -> Tensor:
    """The patched inference on image (1, 3, size, size): labels (output, output), one patch at a time.

    Everything runs without gradients, except that with `published_bug` the UNet call turns them on again.
    """
    ratio = state.size // output
    per_side = math.isqrt(n_patches)
    size = state.patch_size or (state.size if per_side == 1 else state.size * 400 // 512 // ratio * ratio)
    step = (state.size - size) // (per_side - 1) if per_side > 1 else 0
    out_size = size // ratio
    canvas = torch.zeros(state.parts, output, output, device=models.device)
    count = torch.full_like(canvas, 1e-7)
    if not state.published_bug:
        prompts = prompts.detach()
    for i in range(per_side):
        for j in range(per_side):
            y, x = i * step, j * step
            here = (slice(y // ratio, y // ratio + out_size), slice(x // ratio, x // ratio + out_size))
            with torch.no_grad():
                crop = image[:, :, y : y + size, x : x + size]
                grad = state.published_bug
                _, cross, self_map = unet_pass(models, state, prompts, crop, state.test_t, train=False, grad=grad)
                cross = cross.flatten(1)  # (K, N)
                high, low = cross.max(dim=1).values, cross.min(dim=1).values
                kept = torch.where(high >= state.threshold)[0]
                cross = cross[kept]
                if len(kept):
                    cross[0] = torch.where(cross[0] > cross[0].mean(), cross[0], 0.0)
                for row, k in zip(cross, kept.tolist(), strict=True):
                    was = (row[:, None, None] * self_map).sum(dim=0)  # the product is (N, s, s)
                    was = F.interpolate(was[None, None], out_size, mode="bilinear")[0, 0]
                    scale = (was.max() - was.min()) / (high[k] - low[k])
                    if torch.isnan(scale) or scale == 0:
                        scale = torch.full_like(scale, 1e-7)
                    canvas[k][here] += was / scale + (low[k] - was.min() / scale)
                    count[k][here] += 1
    return (canvas / count).argmax(dim=0)


def segment_image(models: Models, state: State, rgb: np.ndarray | Tensor, n_patches: int | None = None) -> Tensor:
    """Labels (size, size) of rgb (H, W, 3) uint8, squashed to the square; n_patches 1 or 4 (default: the state's)."""
    prompts = prompts_of(models, state).detach()
    image = picture(models, state, rgb)
    return patched_labels(models, state, prompts, image, state.size, n_patches or state.n_patches)
