"""What is trained: the UNet, its neutral prompt and a head for the trainer; and the losses of a step."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training import losses
from training.config import TrainConfig
from training.network import NULL_TOKENS, Reader, Readout, build_scheduler, build_unet, matched, readout, to_latents
from training.pairs import CELL, Batch

__all__ = ["SlimeTiny", "step_losses"]


class SlimeTiny(nn.Module):
    """UNet, neutral prompt ``null`` (1, 8, cross_dim) and the mask -> token head."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.unet = build_unet(config.channels, config.cross_dim, config.layers)
        self.null = nn.Parameter(torch.randn(1, NULL_TOKENS, config.cross_dim) * 0.5)
        self.reader = Reader(self.unet, readout(config.layers) | {"descriptor": matched(config.layers)})
        width = sum(self.unet.get_submodule(f"{path}.to_q").out_features for path in self.reader.cross_paths)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.cross_dim))
        self.schedule = build_scheduler()

    def keys(self, tokens: Tensor) -> list[Tensor]:
        """Keys (b, m, k, d) of tokens (b, k, cross_dim), one per captured cross-attention."""
        paths = self.reader.cross_paths
        return [self.reader.heads(self.unet.get_submodule(f"{path}.to_k")(tokens), path) for path in paths]

    def tokens(self, queries: list[Tensor], masks: Tensor, grid: tuple[int, int]) -> Tensor:
        """Prompt tokens of regions: the mean query under each mask, mapped to a token.

        Parameters
        ----------
        queries : list of (b, m_i, n_i, d_i) Tensor
        masks : (b, k, n) float Tensor
            Soft masks on the finest grid.
        grid : (int, int)

        Returns
        -------
        (b, k, cross_dim) Tensor
        """
        pooled = []
        for q in queries:
            flat = q.transpose(1, 2).flatten(2)
            shrink = round((masks.shape[-1] / flat.shape[1]) ** 0.5)
            share = F.avg_pool2d(masks.unflatten(-1, grid), shrink).flatten(2)
            pooled.append(share @ flat / share.sum(-1, keepdim=True).clamp(min=1e-3))
        return self.head(torch.cat(pooled, dim=-1))

    def denoise(self, latents: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error of v at random timesteps."""
        steps = torch.randint(0, self.schedule.config.num_train_timesteps, (len(latents),), generator=generator)
        noise = torch.randn(latents.shape, generator=generator)
        noisy = self.schedule.add_noise(latents, noise, steps)
        target = self.schedule.get_velocity(latents, noise, steps)
        return F.mse_loss(self.unet(noisy, steps, self.null.expand(len(latents), -1, -1)).sample.float(), target)


def _float(out: Readout) -> Readout:
    cross, descriptors = ([x.float() for x in found] for found in (out.cross, out.descriptors))
    return Readout(cross, out.self_q.float(), out.self_k.float(), descriptors)


def _side(items: Tensor, which: int) -> Tensor:
    return items.unflatten(0, (-1, 2))[:, which]


def _segment(
    model: SlimeTiny, out: Readout, attention: Tensor, places: Tensor, ids: Tensor, grid: tuple[int, int], most: int
) -> tuple[Tensor, Tensor]:
    """Compute the "segment like me" losses (cross-attention, WAS) with tokens from the masks of frame A.

    ``attention`` (2 b, r, n) is that of ``places`` (2 b, r).
    """
    labels, present = losses.regions(ids, most)
    masks = F.one_hot(labels[:, 0].clamp(min=0), most).float() * (labels[:, 0] >= 0).unsqueeze(-1)
    tokens = model.tokens([_side(q, 0) for q in out.cross], masks.transpose(1, 2), grid)
    keys = [k.repeat_interleave(2, dim=0) for k in model.keys(tokens)]
    logits = losses.cross_logits(out.cross, keys, grid)
    logits = logits.masked_fill(~present.repeat_interleave(2, dim=0).unsqueeze(-1), -1e4)
    evidence, flat = logits.softmax(dim=1), labels.flatten(0, 1)
    asked = losses.pick(flat, places)
    return losses.balanced_nll(evidence, flat), losses.balanced_nll(losses.was(attention, evidence), asked)


def step_losses(model: SlimeTiny, batch: Batch, config: TrainConfig, step: int) -> dict[str, Tensor]:
    """All objectives of a step, unweighted.

    Parameters
    ----------
    model : SlimeTiny
    batch : Batch
    config : TrainConfig
    step : int
        Decides the noise too: a step is a pure function of weights, batch and its number.

    Returns
    -------
    dict of scalar Tensor
        Keys are those of ``LossWeights``: the matching ones always, in every ``whole_every``-th step ``denoise`` or the
        rest.
    """
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    rgb = torch.from_numpy(batch.rgb).flatten(0, 1).permute(0, 3, 1, 2).float() / 255
    latents, grid = to_latents(rgb), (rgb.shape[2] // CELL, rgb.shape[3] // CELL)
    objects, parts = torch.from_numpy(batch.objects).long(), torch.from_numpy(batch.parts).long()
    found: dict[str, Tensor] = {}
    seen = latents
    if torch.rand((), generator=generator) < config.noisy:
        when = torch.tensor([model.reader.spec["timestep"]] * len(latents))
        seen = model.schedule.add_noise(latents, torch.randn(latents.shape, generator=generator), when)
    turn, between = divmod(step, config.whole_every)
    out = None
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.bfloat16):
        if between == 0 and turn % 2:
            out = _float(model.reader(seen, model.null))
            descriptors = out.descriptors
        else:
            descriptors = [d.float() for d in model.reader.describe(seen, model.null)]
        if between == 0 and turn % 2 == 0 and config.weights.denoise:
            crop = config.denoise_size // 4
            found["denoise"] = model.denoise(latents[::2, :, :crop, :crop].contiguous(), generator)
    places = _places(len(latents), grid, config.queries, generator)
    found |= _matching(descriptors, batch, places.unflatten(0, (-1, 2)), grid, config)
    if out is None:
        return found
    asking = losses.pick(out.self_q.transpose(1, 2), places).transpose(1, 2)
    attention = losses.attention_mass(asking, out.self_k)
    flat = objects.flatten(0, 1)
    found["group"] = losses.group(attention, losses.pick(flat, places), flat)
    ids = objects.clone()
    ids[::2] = parts[::2]
    found["meta"], found["was"] = _segment(model, out, attention, places, ids, grid, config.regions)
    return found


def _places(count: int, grid: tuple[int, int], most: int, generator: torch.Generator) -> Tensor:
    """Draw ``most`` places (count, r) int64 of each frame, without repetition."""
    chances = torch.rand(count, grid[0] * grid[1], generator=generator)
    return chances.topk(min(most, chances.shape[1]), dim=1).indices


def _matching(
    descriptors: list[Tensor], batch: Batch, places: Tensor, grid: tuple[int, int], config: TrainConfig
) -> dict[str, Tensor]:
    """Losses of the descriptors at ``places`` (b, 2, r): correspondence, and labels carried, from either frame.

    Labels are those of parts, so that a limb is told from the body it belongs to. Each descriptor is asked on its own,
    not their joint one: on real clips what is trained together leans on each other and matches worse.
    """
    positions, visible = torch.from_numpy(batch.positions), torch.from_numpy(batch.visible)
    labels, _ = losses.regions(torch.from_numpy(batch.parts).long(), config.regions)
    corr = transfer = torch.zeros(())
    for source in (0, 1):
        asked, there = places[:, source], 1 - source
        seen, where = losses.pick(visible[:, source], asked), losses.pick(positions[:, source], asked)
        own, known = losses.pick(labels[:, source], asked), labels[:, there]
        own = torch.where((own.unsqueeze(2) == known.unsqueeze(1)).any(-1), own, -1)
        for descriptor in descriptors:
            logits = losses.cosine_similarity(
                losses.pick(_side(descriptor, source), asked), _side(descriptor, there), config.tau
            )
            share = 0.5 / len(descriptors)
            corr = corr + share * losses.correspondence(logits, where, seen, grid, CELL)
            transfer = transfer + share * losses.label_transfer(logits, known, own, config.regions)
    return {"corr": corr, "transfer": transfer}
