"""Train the network that completes slimevid's masks, on what ``training.completion_data`` collected.

``python -m training.completion --data runs/evidence --work runs/completion --out runs/completion.safetensors``
trains, going on from ``<work>/state.pt`` where a run was stopped, logs ``curves.csv`` and ``.png``, and writes the
averaged weights with batch norm folded into the convolutions. Every 20th clip is held back and only judged.
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from slimecore.io.atomic_files import atomic_path
from slimevid.refinement.network import INPUT_CHANNELS, RefinementNet, log_odds
from slimevid.refinement.samples import RefinementSample, batch_of, loss, random_crop
from training.checkpoint import Ema, load_state, save_state
from training.completion_data import read_records
from training.curves import append_row, plot, trim

__all__ = ["CompletionConfig", "folded", "rate", "train"]

_HELD_BACK = 20


@dataclass(frozen=True)
class CompletionConfig:
    """One run.

    Attributes
    ----------
    seed, steps, batch : int
    size : int
        Side of the pieces, pixels of the mask size.
    lr : float
        Highest learning rate of AdamW; constant in the first half after 50 steps, then falling linearly to a fiftieth.
    decay : float
        Of the average of the weights.
    log_every : int
        Steps between two states and two rows of the curves.
    """

    seed: int = 0
    steps: int = 4000
    batch: int = 8
    size: int = 160
    lr: float = 2e-3
    decay: float = 0.99
    log_every: int = 250


def rate(step: int, config: CompletionConfig) -> float:
    """Learning rate of a step, from 1."""
    falling = max(0.02, (config.steps - step) / (config.steps / 2))
    return config.lr * min(1.0, step / 50, falling)


def _batch(records: list[RefinementSample], config: CompletionConfig, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of a step, always the same: a stopped run goes on exactly."""
    rng = np.random.default_rng((config.seed, 9, step))
    pieces = [random_crop(rng, records[int(rng.integers(len(records)))], config.size) for _ in range(config.batch)]
    return batch_of(pieces)


def folded(net: RefinementNet) -> RefinementNet:
    """Without batch norm: its running statistics as scale and bias of the convolutions before it."""
    plain = RefinementNet()
    plain.load_state_dict(net.state_dict(), strict=False)
    for stage, other in zip([*net.down, *net.up], [*plain.down, *plain.up], strict=True):
        for i in range(0, len(stage), 3):
            conv = torch.nn.utils.fuse_conv_bn_eval(stage[i].eval(), stage[i + 1].eval())
            other[i].load_state_dict(conv.state_dict())
    return plain.eval()


@torch.no_grad()
def judge(net: nn.Module, records: list[RefinementSample]) -> tuple[float, float, float]:
    """Mean Jaccard index in the undecided boxes: as it is, with all the network says, with what it adds alone."""
    rows = []
    for record in records:
        planes = torch.from_numpy(record.planes.astype(np.float32))[None]
        rgb = torch.from_numpy(record.rgb.transpose(2, 0, 1).astype(np.float32))[None] / 255
        added = net(planes, rgb)
        truth = torch.from_numpy(record.truth > 127)
        before = log_odds(planes[:, 0])
        found = [(odds[0] > 0) for odds in (before, before + added, before + added.clamp_min(0))]
        rows.append([float((f & truth).sum()) / max(1.0, float((f | truth).sum())) for f in found])
    before_it, all_of_it, adding = np.mean(rows, 0)
    return float(before_it), float(all_of_it), float(adding)


def train(
    records: list[RefinementSample], held_back: list[RefinementSample], work: Path, config: CompletionConfig
) -> RefinementNet:
    """Train from the state in `work`, or from nothing; the average of the weights, with batch norm."""
    with torch.random.fork_rng(devices=[]):  # torch draws first weights from its global state: leave that as it was
        torch.manual_seed(config.seed)
        net = RefinementNet(normed=True)
    optimiser = torch.optim.AdamW(net.parameters(), config.lr, weight_decay=1e-3)
    ema = Ema(net, config.decay)
    saved = load_state(work / "state.pt")
    first = 0
    if saved is not None:
        net.load_state_dict(saved["net"])
        optimiser.load_state_dict(saved["optimiser"])
        ema.values, first = saved["ema"], int(saved["step"])
        trim(work / "curves.csv", first)
    losses: list[float] = []
    began = time.monotonic()
    for step in range(first + 1, config.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = rate(step, config)
        planes, rgb, truth = _batch(records, config, step)
        value = loss(net.train()(planes, rgb), planes, truth)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        ema.update(net, step - 1)
        losses.append(value.item())
        if step % config.log_every == 0 or step == config.steps:
            averaged = _averaged(net, ema)
            before, everything, adding = judge(averaged, held_back) if held_back else (math.nan,) * 3
            row = {
                "step": step,
                "loss": float(np.mean(losses)),
                "evidence_J": before,
                "J": everything,
                "adding_J": adding,
            }
            save_state(
                work / "state.pt",
                {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "ema": ema.values, "step": step},
            )
            append_row(work / "curves.csv", {**row, "seconds": time.monotonic() - began})
            print(" ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)
            losses = []
    return _averaged(net, ema)


def _averaged(net: RefinementNet, ema: Ema) -> RefinementNet:
    """Averaged weights, with the running statistics as they are."""
    other = RefinementNet(normed=True)
    other.load_state_dict(net.state_dict())
    ema.copy_to(other)
    return other.eval()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=CompletionConfig.steps)
    parser.add_argument("--seed", type=int, default=CompletionConfig.seed)
    args = parser.parse_args()
    clips = [read_records(path) for folder in args.data for path in sorted(folder.glob("*.npz"))]
    held_back = [record for clip in clips[::_HELD_BACK] for record in clip]
    records = [record for i, clip in enumerate(clips) if i % _HELD_BACK for record in clip]
    if not records:
        parser.error(f"{args.data[0]}: no clips; run python -m training.completion_data --out {args.data[0]} first")
    if any(len(record.planes) != len(INPUT_CHANNELS) for record in records):
        parser.error(
            f"{args.data[0]}: collected for other cues than {', '.join(INPUT_CHANNELS)}; collect again, elsewhere"
        )
    args.work.mkdir(parents=True, exist_ok=True)
    net = train(records, held_back, args.work, CompletionConfig(seed=args.seed, steps=args.steps))
    weights = {name: value.half().contiguous() for name, value in folded(net).state_dict().items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(args.out) as temporary:
        save_file(weights, temporary)
    plot(args.work / "curves.csv", args.work / "curves.png")
    print(f"{len(records)} frames of {len(clips)} clips; weights written to {args.out}")


if __name__ == "__main__":
    _main()
