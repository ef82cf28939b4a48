"""Judge an exported model: held-back procedural pairs, and real clips when a DAVIS folder is given.

``python -m training.evaluate --model common/slimecore/models/slime-tiny --davis DAVIS --baselines``
"""

import argparse
import json
from pathlib import Path

import torch

from slimecore.errors import ModelError
from training import losses
from training.davis import Settings, first_frame, mean_j
from training.encoder import descriptor_encoder, lab_patches, load_model, random_model, read
from training.network import joint
from training.pairs import CELL, Batch, make_batch
from training.scene import SceneSettings

__all__ = ["held_back", "pck", "was_keeps"]

HELD_BACK_SEED = 987_654
SEQUENCES = ("camel", "dance-twirl", "dog", "drift-chicane", "kite-surf", "parkour")
BASELINES = ("random", "lab")
TAUS = {
    "model": (0.03, 0.05, 0.07, 0.1, 0.15),
    "random": (0.0005, 0.001, 0.002, 0.005, 0.01),
    "lab": (0.00005, 0.0001, 0.0002, 0.0005, 0.001),
}
"""Temperatures tried for each kind of descriptor: cosines of colour and of random features all lie near 1."""


def pck(similarity: torch.Tensor, positions: torch.Tensor, visible: torch.Tensor, width: int, within: float) -> float:
    """Share of visible cells whose best match lies within so many cells of the truth.

    Parameters
    ----------
    similarity : (b, n, n) Tensor
    positions : (b, n, 2) Tensor
        True xy, pixels.
    visible : (b, n) bool Tensor
    width : int
        Cells per row.
    within : float
        Cells.
    """
    best = similarity.argmax(-1)
    place = torch.stack([best % width, best // width], -1) * CELL + CELL / 2
    good = (place - positions).norm(dim=-1) <= within * CELL
    return float(good[visible].float().mean())


def _like_me(q: torch.Tensor, k: torch.Tensor, descriptor: torch.Tensor, batch: Batch) -> dict[str, float]:
    """IoU of the largest object: labels carried A -> B by descriptors, and by WAS on top."""
    objects = torch.from_numpy(batch.objects).long()
    attention = losses.attention_mass(q[1::2], k[1::2])
    similarity = losses.cosine_similarity(descriptor[1::2], descriptor[0::2])
    ious: dict[str, list[float]] = {"transfer_iou": [], "was_iou": []}
    for row, ids in enumerate(objects):
        sizes = torch.bincount(ids[0])
        sizes[0] = 0
        chosen = int(sizes.argmax())
        mask, truth = (ids[0] == chosen).float(), ids[1] == chosen
        if not truth.any() or not mask.any():
            continue
        carried = (similarity[row] / 0.07).softmax(-1) @ mask
        for name, soft in (("transfer_iou", carried), ("was_iou", attention[row] @ carried)):
            found = soft > 0.5
            ious[name].append(float((found & truth).sum() / (found | truth).sum().clamp(min=1)))
    return {name: sum(values) / max(len(values), 1) for name, values in ious.items()}


@torch.no_grad()
def held_back(model: tuple, batches: int = 4, size: int = 256) -> dict[str, float]:
    """PCK at one cell and segment-like-me IoU on pairs that training never draws."""
    sums: dict[str, float] = {}
    for step in range(batches):
        batch = make_batch(HELD_BACK_SEED, step, 6, size, SceneSettings())
        out = read(model, batch.rgb.reshape(-1, size, size, 3))
        descriptor = joint(out.descriptors)
        similarity = losses.cosine_similarity(descriptor[0::2], descriptor[1::2])
        positions, visible = torch.from_numpy(batch.positions[:, 0]), torch.from_numpy(batch.visible[:, 0])
        scores = {"pck1": pck(similarity, positions, visible, size // CELL, 1.0)}
        scores |= _like_me(out.self_q, out.self_k, descriptor, batch)
        for name, value in scores.items():
            sums[name] = sums.get(name, 0.0) + value / batches
    return sums


@torch.no_grad()
def was_keeps(model: tuple, root: Path, sequences: list[str], short_side: int) -> float:
    """IoU of the true mask before and after WAS on real first frames: how little attention oversmooths."""
    ious = []
    for name in sequences:
        rgb, cells = first_frame(root, name, short_side, CELL)
        out = read(model, rgb)
        mask = torch.from_numpy(cells).flatten()
        kept, truth = losses.attention_mass(out.self_q, out.self_k)[0] @ mask > 0.5, mask > 0.5
        ious.append(float((kept & truth).sum() / (kept | truth).sum().clamp(min=1)))
    return sum(ious) / len(ious)


def _rounded(scores: dict[str, float]) -> str:
    return json.dumps({name: round(value, 3) for name, value in scores.items()})


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="exported folder")
    parser.add_argument("--descriptor", nargs="+", help="modules read in place of the read-out's own")
    parser.add_argument("--davis", type=Path, help="DAVIS root, for real clips")
    parser.add_argument("--sequences", nargs="+", default=list(SEQUENCES))
    parser.add_argument("--frames", type=int, default=25, help="of every clip; 0 for whole clips (default: 25)")
    parser.add_argument("--recent", type=int, default=4, help="frames remembered beside the reference")
    parser.add_argument("--k", type=int, default=10, help="places that vote")
    parser.add_argument("--radius", type=int, default=96, help="of the search in recent frames, pixels")
    parser.add_argument("--short-side", type=int, default=384)
    parser.add_argument("--baselines", nargs="*", choices=BASELINES, help="beside the model (all, if none is named)")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    baselines = BASELINES if args.baselines == [] else args.baselines or ()
    if args.descriptor and not args.model:
        parser.error("--descriptor names modules of --model; give that too")
    if args.davis and not (args.davis / "JPEGImages").is_dir():
        parser.error(f"{args.davis}: no JPEGImages in it; name the root of DAVIS")
    try:
        models = {"model": load_model(args.model, args.descriptor)} if args.model else {}
    except ModelError as error:
        parser.error(str(error))
    if "random" in baselines:
        models["random"] = random_model()
    rivals = {name: descriptor_encoder(model) for name, model in models.items()}
    if "lab" in baselines:
        rivals["lab"] = lab_patches
    for name, model in models.items():
        scores = held_back(model)
        if args.davis:
            scores["real_was_keeps"] = was_keeps(model, args.davis, args.sequences, args.short_side)
        print(name, _rounded(scores), flush=True)
    for name, encode in rivals.items() if args.davis else ():
        settings = Settings(args.short_side, args.frames or None, args.recent, args.k, TAUS[name], args.radius)
        scores = mean_j(args.davis, args.sequences, encode, settings)
        for place, tau in enumerate(settings.taus):
            at = {sequence: values[place] for sequence, values in scores.items()}
            print(name, f"tau {tau:g} mean J {sum(at.values()) / len(at):.3f}", _rounded(at), flush=True)


if __name__ == "__main__":
    _main()
