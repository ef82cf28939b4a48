"""SLiMe (ICLR 2024) from its formulas, everything materialised, to test the lean implementation against.

Nothing here is fast or shared. Scores are (B, heads, N, M) tensors in float32 (float64 for a float64 UNet), the
self-attention map is a full (B, N, N) matrix, and images are never mixed. Works with any
`UNet2DConditionModel` of Stable Diffusion layout (1.x, 2.x), any latent size, square or not.

Names: B images, K parts with the background (part 0), L tokens, N image tokens of a layer, (gh, gw) the maps' grid.
A path such as "up_blocks.1.attentions.0" means the first transformer block there: its `attn2` as a cross layer, its
`attn1` as a self layer. Scores are returned under the full module path, so one dict holds both kinds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor

CROSS_PATHS = tuple(f"up_blocks.{block}.attentions.{i}" for block, count in ((1, 3), (2, 2)) for i in range(count))
SELF_PATHS = tuple(f"up_blocks.3.attentions.{i}" for i in range(3))

Box = tuple[int, int, int, int]


class Losses(NamedTuple):
    """Scalars: total = cross_entropy + alpha * squared + beta * diffusion."""

    total: Tensor
    cross_entropy: Tensor
    squared: Tensor
    diffusion: Tensor


# ------------------------------------------------------------------------------------------------ the attention pass


def cross_path(path: str) -> str:
    """Full module path of the cross-attention layer under a short path."""
    return f"{path}.transformer_blocks.0.attn2"


def self_path(path: str) -> str:
    """Full module path of the self-attention layer under a short path."""
    return f"{path}.transformer_blocks.0.attn1"


class NaiveAttention:
    """softmax(q k^T / sqrt(d)) v, with the scores and the probabilities written down."""

    def __init__(self, path: str, scores: dict[str, Tensor], probabilities: dict[str, Tensor], keep: bool) -> None:
        self.path, self.scores, self.probabilities, self.keep = path, scores, probabilities, keep

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """hidden_states (B, N, C), encoder_hidden_states (B, M, D) or None -> (B, N, C)."""
        if attention_mask is not None or hidden_states.ndim != 3 or attn.group_norm or attn.norm_cross or attn.norm_q:
            raise NotImplementedError(f"{self.path}: not an attention layer of Stable Diffusion layout")
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        wide = torch.promote_types(hidden_states.dtype, torch.float32)

        def heads(x: Tensor) -> Tensor:  # (B, N, heads * d) -> (B, heads, N, d)
            return x.unflatten(2, (attn.heads, -1)).transpose(1, 2).to(wide)

        q, k, v = heads(attn.to_q(hidden_states)), heads(attn.to_k(source)), heads(attn.to_v(source))
        scores = torch.einsum("bhnd,bhmd->bhnm", q, k) / math.sqrt(q.shape[-1])
        probabilities = scores.softmax(dim=-1)
        if self.keep:
            self.scores[self.path], self.probabilities[self.path] = scores, probabilities
        out = torch.einsum("bhnm,bhmd->bhnd", probabilities, v).transpose(1, 2).flatten(2).to(hidden_states.dtype)
        out = attn.to_out[1](attn.to_out[0](out))
        if attn.residual_connection:
            out = out + hidden_states
        return out / attn.rescale_output_factor


def naive_pass(
    unet: Any,
    latents: Tensor,
    timestep: int | Tensor,
    prompt: Tensor,
    cross_paths: Sequence[str] = CROSS_PATHS,
    self_paths: Sequence[str] = SELF_PATHS,
    probabilities: dict[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """One pass of the UNet, every attention layer naive; the processors are put back afterwards.

    latents (B, 4, h, w), timestep an int or (B,), prompt (B, L, dim). Returns the raw scores by full module path, cross
    layers (B, heads, N, L) and self layers (B, heads, N, N), in the order cross_paths, self_paths, and the prediction
    (B, 4, h, w). A dict given as `probabilities` is filled with the softmax of the scores over their last axis.
    """
    kept: dict[str, Tensor] = {}
    kept_probabilities = {} if probabilities is None else probabilities
    wanted = [cross_path(p) for p in cross_paths] + [self_path(p) for p in self_paths]
    layers = {name: module for name, module in unet.named_modules() if isinstance(module, Attention)}
    missing = [name for name in wanted if name not in layers]
    if missing:
        raise KeyError(f"no attention layer {missing[0]}")
    before = {name: layer.processor for name, layer in layers.items()}
    try:
        for name, layer in layers.items():
            layer.set_processor(NaiveAttention(name, kept, kept_probabilities, keep=name in wanted))
        prediction = unet(latents, timestep, encoder_hidden_states=prompt).sample
    finally:
        for name, layer in layers.items():
            layer.set_processor(before[name])
    return {name: kept[name] for name in wanted}, prediction


# ------------------------------------------------------------------------------------------------------------ the maps


def layer_grid(latent: tuple[int, int], tokens: int) -> tuple[int, int]:
    """(h, w) of a layer of that many tokens: the latent size halved, rounding up, until it fits."""
    h, w = latent
    while h * w > tokens:
        h, w = -(-h // 2), -(-w // 2)
    if h * w != tokens:
        raise ValueError(f"no level of a {latent} latent has {tokens} tokens")
    return h, w


def naive_cross_maps(
    scores: dict[str, Tensor], K: int, grid: tuple[int, int], latent: tuple[int, int] | None = None
) -> Tensor:
    """Averaged raw logits (B, K, gh, gw) of token columns 0 .. K-1 over the cross layers in `scores`.

    Per layer: mean over heads, bilinear to the grid (align_corners=False); then the mean over layers. `latent` is the
    size the UNet was run at, where it is not the grid itself.
    """
    maps = []
    for name, raw in scores.items():
        if not name.endswith("attn2"):
            continue
        h, w = layer_grid(latent or grid, raw.shape[2])
        logits = raw[..., :K].mean(dim=1)  # (B, N, K)
        plane = logits.transpose(1, 2).unflatten(2, (h, w))  # (B, K, h, w)
        maps.append(F.interpolate(plane, size=grid, mode="bilinear", align_corners=False))
    if not maps:
        raise ValueError("no cross layer among the scores")
    return torch.stack(maps).mean(dim=0)


def naive_self_map(scores: dict[str, Tensor]) -> Tensor:
    """A (B, N query, N key): mean over self layers and heads of the softmax over keys. Every row sums to one."""
    maps = [raw.softmax(dim=-1).mean(dim=1) for name, raw in scores.items() if name.endswith("attn1")]
    if not maps:
        raise ValueError("no self layer among the scores")
    if len({m.shape for m in maps}) > 1:
        raise ValueError("the self layers do not share one grid")
    return torch.stack(maps).mean(dim=0)


def naive_weights(cross: Tensor) -> Tensor:
    """F (B, K, gh, gw): softmax over the K parts of the averaged raw logits (one convention, train and test)."""
    return cross.softmax(dim=1)


def naive_was(A: Tensor, weights: Tensor) -> Tensor:
    """WAS_k[q] = sum_p A[q, p] F_k[p]. A (B, N, N), weights F (B, K, gh, gw) with gh * gw = N -> (B, K, gh, gw)."""
    grid = (weights.shape[-2], weights.shape[-1])
    return torch.einsum("bqp,bkp->bkq", A, weights.flatten(2)).unflatten(2, grid)


# ---------------------------------------------------------------------------------------------------------- the losses


def naive_mask(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Hard labels (B, H, W), -1 ignored -> (B, gh, gw): grid cell (i, j) takes pixel (i*H // gh, j*W // gw)."""
    H, W = mask.shape[-2:]
    rows = torch.arange(grid[0], device=mask.device) * H // grid[0]
    columns = torch.arange(grid[1], device=mask.device) * W // grid[1]
    return mask[..., rows[:, None], columns[None, :]].long()


def naive_class_weights(mask: Tensor, K: int) -> Tensor:
    """(K,) of an image's labels: (#foreground)/(#k) for present foreground parts, w_0 = 1, absent 0."""
    weights = torch.zeros(K, dtype=torch.float64)
    foreground = int((mask > 0).sum())
    for k in range(1, K):
        count = int((mask == k).sum())
        if count:
            weights[k] = foreground / count
    weights[0] = 1.0
    return weights


def naive_cross_entropy(cross: Tensor, mask: Tensor) -> Tensor:
    """Class-weighted cross entropy of each image, (B,). cross: averaged raw logits (B, K, gh, gw); mask (B, gh, gw).

    Per image sum_p w[y_p] * -log softmax(logits_p)[y_p] / sum_p w[y_p] over its valid pixels, the weighted mean of
    `cross_entropy(weight=w, ignore_index=-1)`, with w from that image alone. 0 where no pixel is valid.
    """
    losses = []
    for logits, labels in zip(cross, mask, strict=True):
        w = naive_class_weights(labels, logits.shape[0]).to(logits)
        valid = labels >= 0
        y = labels[valid]  # (V,)
        log_p = logits.log_softmax(dim=0)[:, valid]  # (K, V)
        picked = log_p[y, torch.arange(len(y), device=y.device)]
        losses.append(-(w[y] * picked).sum() / w[y].sum() if len(y) else logits.sum() * 0)
    return torch.stack(losses)


def naive_squared(was: Tensor, mask: Tensor) -> Tensor:
    """mean((WAS - onehot)^2) * K of each image, (B,). was (B, K, gh, gw), mask (B, gh, gw).

    Convention: the mean runs over the valid pixels and the K channels, then times K; so it is the mean over valid
    pixels of the squared distance between the K-vector of WAS and the one-hot vector. 0 where no pixel is valid.
    """
    losses = []
    for maps, labels in zip(was, mask, strict=True):
        K = maps.shape[0]
        valid = labels >= 0
        onehot = torch.stack([(labels == k).to(maps) for k in range(K)])
        error = ((maps - onehot) ** 2)[:, valid]  # (K, V)
        losses.append(error.mean() * K if error.numel() else maps.sum() * 0)
    return torch.stack(losses)


def naive_noisy(clean: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
    """sqrt(abar) x0 + sqrt(1 - abar) noise. clean, noise (B, 4, h, w); abar (B,)."""
    a = abar.to(clean).view(-1, 1, 1, 1)
    return a.sqrt() * clean + (1 - a).sqrt() * noise


def naive_target(clean: Tensor, noise: Tensor, abar: Tensor, prediction: str = "epsilon") -> Tensor:
    """Target of the UNet: the noise, or the velocity sqrt(abar) noise - sqrt(1 - abar) x0."""
    if prediction == "epsilon":
        return noise
    if prediction == "v_prediction":
        a = abar.to(clean).view(-1, 1, 1, 1)
        return a.sqrt() * noise - (1 - a).sqrt() * clean
    raise ValueError(f"unknown prediction type {prediction!r}")


def naive_diffusion_loss(conditional: Tensor, unconditional: Tensor, target: Tensor, guidance: float = 100.0) -> Tensor:
    """mean((u + s (c - u) - target)^2) of each image, (B,); u carries no gradient. All inputs (B, 4, h, w)."""
    u = unconditional.detach()
    guided = u + guidance * (conditional - u)
    return ((guided - target) ** 2).flatten(1).mean(dim=1)


def naive_total(
    unet: Any,
    clean: Tensor,
    noise: Tensor,
    timestep: int | Tensor,
    prompt: Tensor,
    null_prompt: Tensor,
    mask: Tensor,
    alphas_cumprod: Tensor,
    K: int,
    cross_paths: Sequence[str] = CROSS_PATHS,
    self_paths: Sequence[str] = SELF_PATHS,
    alpha: float = 1.0,
    beta: float = 0.005,
    guidance: float = 100.0,
    prediction: str = "epsilon",
    grid: tuple[int, int] | None = None,
) -> Losses:
    """CE + alpha * MSE + beta * SD, each the mean over images of its per-image value.

    clean, noise (B, 4, h, w); timestep an int or (B,); prompt, null_prompt (B or 1, L, dim); mask (B, H, W) hard labels
    with -1 ignored; alphas_cumprod (T,). `grid` is that of the self layers; the latent size where it is not given.
    """
    B, latent = clean.shape[0], (clean.shape[-2], clean.shape[-1])
    grid = grid or latent
    t = torch.as_tensor(timestep, device=clean.device).long().expand(B)
    abar = alphas_cumprod.to(clean.device)[t]
    noisy = naive_noisy(clean, noise, abar)
    scores, conditional = naive_pass(unet, noisy, t, prompt.expand(B, -1, -1), cross_paths, self_paths)
    with torch.no_grad():
        _, unconditional = naive_pass(unet, noisy, t, null_prompt.expand(B, -1, -1), (), ())
    cross = naive_cross_maps(scores, K, grid, latent)
    was = naive_was(naive_self_map(scores), naive_weights(cross))
    labels = naive_mask(mask, grid)
    ce = naive_cross_entropy(cross, labels).mean()
    squared = naive_squared(was, labels).mean()
    target = naive_target(clean, noise, abar, prediction)
    diffusion = naive_diffusion_loss(conditional, unconditional, target, guidance).mean()
    return Losses(ce + alpha * squared + beta * diffusion, ce, squared, diffusion)


def naive_prompt(base: Tensor, vectors: Tensor) -> Tensor:
    """Learned vectors (K-1, dim) put at positions 1 .. K-1 of base (1, L, dim); position 0 (SOS) and the rest stay."""
    K = len(vectors) + 1
    return torch.cat([base[:, :1], vectors[None], base[:, K:]], dim=1)


def naive_gradient(
    unet: Any,
    clean: Tensor,
    noise: Tensor,
    timestep: int | Tensor,
    base_prompt: Tensor,
    vectors: Tensor,
    null_prompt: Tensor,
    mask: Tensor,
    alphas_cumprod: Tensor,
    **options: Any,
) -> tuple[Tensor, Losses]:
    """d total / d vectors, (K-1, dim), and the losses. `options` as in `naive_total` (paths, alpha, beta, ...)."""
    leaf = vectors.detach().clone().requires_grad_(True)
    prompt = naive_prompt(base_prompt, leaf)
    K = len(vectors) + 1
    losses = naive_total(unet, clean, noise, timestep, prompt, null_prompt, mask, alphas_cumprod, K, **options)
    (gradient,) = torch.autograd.grad(losses.total, leaf)
    return gradient, Losses(*(x.detach() for x in losses))


# ------------------------------------------------------------------------------------------------ the published test


def naive_patches(H: int, W: int, n: int, size: int) -> list[Box]:
    """n x n boxes (y0, y1, x0, x1) of size x size, row by row; the step is (H - size) // (n - 1), 0 for n = 1.

    As published: for n = 1 only the top left size x size is covered, and for n > 2 a rounded-down step may leave a rim.
    """
    step_y, step_x = ((H - size) // (n - 1), (W - size) // (n - 1)) if n > 1 else (0, 0)
    return [(i * step_y, i * step_y + size, j * step_x, j * step_x + size) for i in range(n) for j in range(n)]


def naive_patch(weights: Tensor, A: Tensor, size: tuple[int, int], threshold: float = 0.2) -> tuple[Tensor, Tensor]:
    """One patch by the published rules: maps (K, *size) of the parts, and which were kept, (K,) bool.

    weights F (K, gh, gw), A (N, N). A part with max F_k < threshold is dropped (its map is zero). The background, row
    0, keeps only its values above its own mean (published: the first part KEPT, which may be another one). Then WAS,
    bilinear to the patch, and an affine rescale to the min and max that F_k had BEFORE the background was cut. A
    constant WAS becomes the constant min F_k.
    """
    K = weights.shape[0]
    low, high = weights.flatten(1).min(dim=1).values, weights.flatten(1).max(dim=1).values
    kept = high >= threshold
    used = weights.clone()
    used[0] = torch.where(used[0] > used[0].mean(), used[0], torch.zeros_like(used[0]))
    was = naive_was(A[None], used[None])
    was = F.interpolate(was, size=size, mode="bilinear", align_corners=False)[0]
    maps = torch.zeros_like(was)
    for k in range(K):
        if not kept[k]:
            continue
        bottom, span = was[k].min(), was[k].max() - was[k].min()
        unit = (was[k] - bottom) / span if span > 0 else torch.zeros_like(was[k])
        maps[k] = low[k] + unit * (high[k] - low[k])
    return maps, kept


def naive_merge(
    maps: Sequence[Tensor], kept: Sequence[Tensor], boxes: Sequence[Box], H: int, W: int
) -> tuple[Tensor, Tensor]:
    """Labels (H, W) and the canvas (K, H, W) from patch maps (K, y1-y0, x1-x0) and kept flags (K,).

    The canvas is the sum over patches divided by the count of patches that KEPT the part there; 0 where none did. The
    label is the first part of greatest canvas value, so the background where nothing was added.
    """
    canvas = torch.zeros(maps[0].shape[0], H, W, dtype=maps[0].dtype)
    count = torch.zeros_like(canvas)
    for patch, flags, (y0, y1, x0, x1) in zip(maps, kept, boxes, strict=True):
        for k in range(len(flags)):
            if flags[k]:
                canvas[k, y0:y1, x0:x1] += patch[k]
                count[k, y0:y1, x0:x1] += 1
    canvas = canvas / count.clamp(min=1)
    return canvas.argmax(dim=0), canvas


def naive_test(
    unet: Any,
    noisy: Sequence[Tensor],
    timestep: int,
    prompt: Tensor,
    K: int,
    boxes: Sequence[Box],
    H: int,
    W: int,
    threshold: float = 0.2,
    cross_paths: Sequence[str] = CROSS_PATHS,
    self_paths: Sequence[str] = SELF_PATHS,
) -> tuple[Tensor, Tensor]:
    """The test from each patch's noisy latents (1, 4, h, w) and prompt (1, L, dim): labels (H, W), canvas (K, H, W)."""
    maps, kept = [], []
    with torch.no_grad():
        for latents, (y0, y1, x0, x1) in zip(noisy, boxes, strict=True):
            scores, _ = naive_pass(unet, latents, timestep, prompt, cross_paths, self_paths)
            weights = naive_weights(naive_cross_maps(scores, K, (latents.shape[-2], latents.shape[-1])))
            patch, flags = naive_patch(weights[0], naive_self_map(scores)[0], (y1 - y0, x1 - x0), threshold)
            maps.append(patch)
            kept.append(flags)
    return naive_merge(maps, kept, boxes, H, W)
