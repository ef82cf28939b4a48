"""Train slime-tiny.

``python -m training.train --config configs/slime_tiny.yaml --work runs/slime_tiny`` starts, or goes on from
the last checkpoint in the work folder. A run that was stopped and continued ends with the same weights as
one that was not.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from slimecore.errors import ConfigError, SlimeError
from training.checkpoint import Ema, load_state, save_state
from training.config import TrainConfig, load_config
from training.curves import append_row, plot, trim
from training.encoder import load_model
from training.export import export
from training.feed import batches
from training.model import SlimeTiny, step_losses

__all__ = ["Run", "learning_rate", "start_run", "train"]


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, constant, linear fall to a twentieth over the last ``cooldown`` share of the run."""
    fall = max(1, round(config.steps * config.cooldown))
    left = (config.steps - step) / fall
    return config.lr * min(1.0, (step + 1) / max(1, config.warmup), max(0.05, left))


@dataclass(eq=False)
class Run:
    """Everything that changes while training.

    Attributes
    ----------
    model : SlimeTiny
    ema : Ema
    optimizer : torch.optim.AdamW
    seed : int
        Of the configuration.
    step : int
        Steps done.
    seconds : float
        Training time so far, over all restarts.
    """

    model: SlimeTiny
    ema: Ema
    optimizer: torch.optim.AdamW
    seed: int = 0
    step: int = 0
    seconds: float = 0.0

    def state(self) -> dict:
        """Collect what a checkpoint holds."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.values,
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "seed": self.seed,
            "step": self.step,
            "seconds": self.seconds,
        }

    def restore(self, state: dict) -> None:
        """Go back to a checkpoint. ConfigError: it is of a run of another seed."""
        if state.get("seed", self.seed) != self.seed:
            raise ConfigError(f"the checkpoint is of seed {state['seed']}, the configuration says {self.seed}")
        self.model.load_state_dict(state["model"])
        self.ema.values = {name: state["ema"][name].clone() for name in self.ema.values}
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        self.step, self.seconds = state["step"], state["seconds"]


def start_run(config: TrainConfig) -> Run:
    """Start a fresh run; the weights follow from the seed, or are those of the folder ``config.start``."""
    torch.manual_seed(config.seed)
    model = SlimeTiny(config)
    if config.start:
        unet, _, prompt = load_model(Path(config.start))
        try:
            model.unet.load_state_dict(unet.state_dict())
            model.null.data.copy_(prompt)
        except RuntimeError as error:
            raise ConfigError(
                f"start: {config.start} has other channels, cross_dim or layers than asked for"
            ) from error
    flat = [p for p in model.parameters() if p.ndim < 2]
    deep = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": deep, "weight_decay": config.weight_decay}, {"params": flat, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98))
    return Run(model, Ema(model, config.ema), optimizer, config.seed)


def _advance(run: Run, config: TrainConfig, found: dict[str, Tensor]) -> dict[str, float]:
    total = sum(getattr(config.weights, name) * value for name, value in found.items())
    for part in run.optimizer.param_groups:
        part["lr"] = learning_rate(config, run.step)
    run.optimizer.zero_grad(set_to_none=True)
    total.backward()
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), config.clip)
    run.optimizer.step()
    run.ema.update(run.model, run.step)
    run.step += 1
    return {name: value.item() for name, value in found.items()} | {
        "total": total.item(),
        "norm": norm.item(),
    }


def train(
    run: Run,
    config: TrainConfig,
    until: int,
    worker: bool = False,
    every: int = 50,
    report: Callable[[Run, dict[str, float]], None] | None = None,
) -> None:
    """Train up to step ``until``.

    Parameters
    ----------
    run : Run
        Changed in place.
    config : TrainConfig
    until : int
        At most ``config.steps``.
    worker : bool
        Draw batches in another process.
    every : int
        Steps per report.
    report : callable, optional
        Gets the run and the means of the values over the interval.
    """
    run.model.train()
    sums: dict[str, list[float]] = {}
    for batch in batches(replace(config, steps=until), run.step, worker):
        begin = time.perf_counter()
        for name, value in _advance(run, config, step_losses(run.model, batch, config, run.step)).items():
            sums.setdefault(name, []).append(value)
        run.seconds += time.perf_counter() - begin
        if report and (run.step % every == 0 or run.step == until):
            report(run, {name: sum(values) / len(values) for name, values in sums.items()})
            sums = {}


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, help="YAML file; the defaults without")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/slime_tiny"), help="folder of the checkpoint and curves"
    )
    parser.add_argument("--until", type=int, help="stop after this step (default: the config's last)")
    parser.add_argument("--save-every", type=int, default=200, help="steps; at the next row of the curves (every 50)")
    parser.add_argument("--export", type=Path, help="folder to write the averaged model to at every save")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    saved = load_state(args.work / "state.pt")
    try:
        config = load_config(args.config)
        run = start_run(config)
        if saved:
            run.restore(saved)
    except SlimeError as error:
        parser.error(str(error))
    if saved:
        trim(args.work / "curves.csv", run.step)
    saved_at = run.step
    print(f"at step {run.step} of {config.steps}", flush=True)

    def report(run: Run, means: dict[str, float]) -> None:
        # An interval may be without a step of some kind; every row has the same columns all the same.
        losses = {field.name: means.get(field.name, math.nan) for field in fields(config.weights)}
        row = {"step": run.step, "seconds": run.seconds} | losses | {key: means[key] for key in ("total", "norm")}
        print(" ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)
        append_row(args.work / "curves.csv", row)
        nonlocal saved_at
        if run.step - saved_at >= args.save_every or run.step == until:
            saved_at = run.step
            save_state(args.work / "state.pt", run.state())
            plot(args.work / "curves.csv", args.work / "curves.png")
            if args.export:
                export(run, config, args.export)

    until = config.steps if args.until is None else min(args.until, config.steps)
    args.work.mkdir(parents=True, exist_ok=True)
    train(run, config, until, worker=True, report=report)


if __name__ == "__main__":
    _main()
