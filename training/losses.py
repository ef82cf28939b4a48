"""The training objectives, as pure functions of read-out tensors.

Shapes: ``b`` pairs, ``n`` cells of the descriptor grid (row-major, ``grid = (h, w)``), ``k`` regions, ``m``
heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "attention_mass",
    "balanced_nll",
    "bilinear_targets",
    "correspondence",
    "cosine_similarity",
    "cross_logits",
    "group",
    "label_transfer",
    "pick",
    "regions",
    "was",
]


def bilinear_targets(positions: Tensor, grid: tuple[int, int], cell: int) -> tuple[Tensor, Tensor]:
    """Find the four cells around a position and their shares.

    Parameters
    ----------
    positions : (..., 2) float
        xy in pixels; cell ``(row, col)`` has its centre at ``(col + 0.5, row + 0.5) * cell``.
    grid : (int, int)
        Rows and columns of cells.
    cell : int
        Side of a cell, pixels.

    Returns
    -------
    index : (..., 4) int64
        Row-major cell numbers.
    weight : (..., 4) float
        Shares, summing to 1.
    """
    h, w = grid
    place = positions / cell - 0.5
    x, y = place[..., 0].clamp(0, w - 1), place[..., 1].clamp(0, h - 1)
    left, top = x.floor().clamp(max=max(w - 2, 0)), y.floor().clamp(max=max(h - 2, 0))
    fx, fy = x - left, y - top
    right, bottom = (left + 1).clamp(max=w - 1), (top + 1).clamp(max=h - 1)
    index = torch.stack([top * w + left, top * w + right, bottom * w + left, bottom * w + right], dim=-1)
    weight = torch.stack([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx], dim=-1)
    return index.long(), weight


def cosine_similarity(a: Tensor, b: Tensor, tau: float = 1.0) -> Tensor:
    """All cosines between (b, n, c) and (b, n', c), over ``tau``: (b, n, n')."""
    return (F.normalize(a, dim=-1) / tau) @ F.normalize(b, dim=-1).transpose(1, 2)


def correspondence(logits: Tensor, positions: Tensor, visible: Tensor, grid: tuple[int, int], cell: int) -> Tensor:
    """InfoNCE with soft bilinear targets.

    Parameters
    ----------
    logits : (b, n, n') Tensor
        Similarity over temperature, from source cells to target cells.
    positions : (b, n, 2) Tensor
        Where the source cells lie in the target frame, pixels.
    visible : (b, n) bool Tensor
        Source cells that count.
    grid, cell
        Of the target frame, see ``bilinear_targets``.

    Returns
    -------
    scalar Tensor
        Mean over visible cells.
    """
    index, weight = bilinear_targets(positions, grid, cell)
    picked = logits.gather(2, index)
    nll = logits.logsumexp(dim=2) - (picked * weight).sum(-1)
    return (nll * visible).sum() / visible.sum().clamp(min=1)


def _balance(labels: Tensor, count: int) -> Tensor:
    """Weights per cell that sum to 1 and give every label present in a row the same share; -1 weighs 0."""
    onehot = F.one_hot(labels.clamp(min=0), count).float() * (labels >= 0).unsqueeze(-1)
    sizes = onehot.sum(1, keepdim=True)
    per_label = torch.where(sizes > 0, 1 / sizes.clamp(min=1), 0.0)
    present = (sizes > 0).sum(-1).clamp(min=1)
    return (onehot * per_label).sum(-1) / present


def balanced_nll(probability: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood in which every class of an image weighs the same.

    Parameters
    ----------
    probability : (b, k, n) Tensor
        Over the k classes.
    labels : (b, n) int64 Tensor
        -1 is ignored.

    Returns
    -------
    scalar Tensor
    """
    weight = _balance(labels, probability.shape[1])
    picked = probability.gather(1, labels.clamp(min=0).unsqueeze(1)).squeeze(1)
    return -(picked.clamp(min=1e-6).log() * weight).sum(1).mean()


def attention_mass(q: Tensor, k: Tensor) -> Tensor:
    """Self-attention averaged over heads, softmax over keys: (b, m, r, d) and (b, m, n, d) -> (b, r, n)."""
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(dim=-1).mean(dim=1)


def group(attention: Tensor, own: Tensor, labels: Tensor) -> Tensor:
    """Minus log of the attention that stays inside one's own region.

    Parameters
    ----------
    attention : (b, r, n) Tensor
        Rows sum to 1.
    own, labels : (b, r) and (b, n) int64 Tensor
        Region numbers, at least 0, of the places that ask and of all places.
    """
    same = (own.unsqueeze(2) == labels.unsqueeze(1)).float()
    inside = (attention * same).sum(-1).clamp(min=1e-6)
    return -(inside.log() * _balance(own, int(labels.max()) + 1)).sum(1).mean()


def pick(items: Tensor, places: Tensor) -> Tensor:
    """Rows of ``items`` (b, n, ...) at ``places`` (b, r) int64: (b, r, ...)."""
    index = places.reshape(*places.shape, *(1,) * (items.ndim - 2)).expand(-1, -1, *items.shape[2:])
    return items.gather(1, index)


def was(attention: Tensor, evidence: Tensor) -> Tensor:
    """Weighted accumulated self-attention: (b, r, n) and (b, k, n) -> (b, k, r)."""
    return evidence @ attention.transpose(1, 2)


def label_transfer(logits: Tensor, source: Tensor, target: Tensor, count: int) -> Tensor:
    """Temporal read-out loss: attention over the source frame with its labels as values gives the target's.

    Parameters
    ----------
    logits : (b, n, n') Tensor
        Similarity over temperature from target cells to source cells.
    source, target : (b, n') and (b, n) int64 Tensor
        Labels below ``count``; -1 for none, ignored.
    count : int
    """
    values = F.one_hot(source.clamp(min=0), count).float() * (source >= 0).unsqueeze(-1)
    return balanced_nll((logits.softmax(-1) @ values).transpose(1, 2), target)


def regions(ids: Tensor, most: int, smallest: int = 4) -> tuple[Tensor, Tensor]:
    """Give numbers to the regions that are large enough in frame A.

    Parameters
    ----------
    ids : (b, 2, n) int64 Tensor
        Object or part ids of frames A and B.
    most : int
        Keep this many, the largest first.
    smallest : int
        Cells that a region needs in A.

    Returns
    -------
    labels : (b, 2, n) int64 Tensor
        Region number in [0, most), or -1.
    present : (b, most) bool Tensor
    """
    b, _, n = ids.shape
    count = max(int(ids.max()) + 1, most)
    sizes = torch.zeros(b, count, dtype=torch.long, device=ids.device)
    sizes.scatter_add_(1, ids[:, 0], torch.ones_like(ids[:, 0]))
    kept = sizes.topk(most, dim=1)
    present = kept.values >= smallest
    number = torch.full((b, count), -1, dtype=torch.long, device=ids.device)
    ranks = torch.arange(most, device=ids.device).expand(b, -1)
    number.scatter_(1, kept.indices, torch.where(present, ranks, -1))
    return number.gather(1, ids.reshape(b, 2 * n)).reshape(b, 2, n), present


def cross_logits(queries: list[Tensor], keys: list[Tensor], grid: tuple[int, int]) -> Tensor:
    """Cross-attention logits of tokens, averaged over heads and modules on the finest grid.

    Parameters
    ----------
    queries : list of (b, m_i, n_i, d_i) Tensor
        A module may have a coarser grid of the same aspect.
    keys : list of (b, m_i, k, d_i) Tensor
    grid : (int, int)
        Finest grid.

    Returns
    -------
    (b, k, n) Tensor
    """
    total = torch.zeros((), device=queries[0].device)
    for q, k in zip(queries, keys, strict=True):
        logits = (k @ q.transpose(-1, -2) / q.shape[-1] ** 0.5).mean(dim=1)
        shrink = round((grid[0] * grid[1] / q.shape[2]) ** 0.5)
        if shrink > 1:
            logits = logits.unflatten(-1, (grid[0] // shrink, grid[1] // shrink))
            logits = F.interpolate(logits, size=grid, mode="bilinear", align_corners=False).flatten(2)
        total = total + logits
    return total / len(queries)
