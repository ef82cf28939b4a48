"""What a training step and a test image cost: the published SLiMe recipe against ours, on one random SD 2.1 model.

    python benchmarks/slime_cost.py [flops] [memory] [time] [--heads 1] [--repeats 3]

`slime_recipe.py` is the original written out plainly. Both sides run on the same weights, in the same process, and are
first shown to read the same maps.

flops   FLOPs and bytes of live tensors at full size (SD 2.1's UNet and VAE, 512 pixels). The very code that the other
        two run is run on tensors that have shapes and no data (FakeTensorMode), so it needs neither memory nor time.
memory  High-water mark of resident memory, each case in a process of its own, model of `--heads`.
time    Wall seconds, cases interleaved, medians, model of `--heads` (5 is full size). Cases with four patches or torch
        1.13's attention run once, the others `--repeats` times, all but those after one warm-up.

Ours spends some work once a run and not in every step; tables add it in, spread over the published 200 steps.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import slime_recipe as original
import torch
from counting import count, live_peak, peak_memory
from slime_cases import CASES, PARTS, PROBE_STEPS, Bench, make, prepared, shapes_only

from slimecore.backbones.unet_readout import UNetReadout
from slimecore.learning.faithful_config import FaithfulConfig
from slimecore.learning.losses import diffusion_loss
from slimecore.learning.probe_config import LearnConfig

STEPS = [name for name in CASES if " step" in name and "probe" not in name]
IMAGES = [name for name in CASES if " image" in name]
ROUNDS = FaithfulConfig()
VIEWS, DRAWS = 16, 32  # of "our step, draw prepared": 16 views, two draws each


def training(cost: dict[str, float]) -> dict[str, float]:
    """Cost of a training step with everything that belongs to a run of 200 steps, spread over them."""
    view, steps = cost["two views"] / 2, ROUNDS.epochs
    checks = steps // ROUNDS.validate * cost["validation"]
    fixed = ((ROUNDS.views + 1) * view + checks) / steps
    drawn = ((VIEWS + 1) * view + DRAWS * cost["unconditional pass"] + checks) / steps
    probe = cost["probe steps"] / PROBE_STEPS
    views = 1 + LearnConfig().views.count
    return {
        "original, 1 patch logged": cost["original step, log 1 patch"],
        "original, 1 patch logged, and its validation image an epoch": cost["original step, log 1 patch"]
        + cost["original image, 1 patch"],
        "original, 1 patch logged, attention as under torch 1.13": cost["original step, log 1 patch, torch 1.13"],
        "original, 4 patches logged (its default)": cost["original step, log 4 patches"],
        "original, 4 patches logged, and its validation image an epoch": cost["original step, log 4 patches"]
        + cost["original image, 4 patches"],
        "ours, faithful (default), the step alone": cost["our step"],
        "ours, faithful (default), with views and validation": cost["our step"] + fixed,
        "ours, 16 views x 2 draws prepared, the step alone": cost["our step, draw prepared"],
        "ours, 16 views x 2 draws prepared, with them and validation": cost["our step, draw prepared"] + drawn,
        "ours, no tether, with views and validation": cost["our step, no tether"] + fixed,
        "ours, checkpointing, with views and validation": cost["our step, checkpointing"] + fixed,
        "ours, probe, the step alone": probe,
        "ours, probe, with its 7 views encoded": probe + views * cost["probe view"] / LearnConfig().steps,
    }


def print_training(rows: dict[str, float], unit: str) -> None:
    """One line a row, and how many times cheaper it is than each of the original's four."""
    baselines = [value for name, value in rows.items() if name.startswith("original") and "torch" not in name]
    print(f"\n| training step | {unit} | /1 patch | /1 and validation | /4 patches | /4 and validation |")
    print("|---|---|---|---|---|---|")
    for name, value in rows.items():
        times = " | ".join(f"{base / value:.2f}" if base / value < 100 else f"{base / value:.0f}" for base in baselines)
        print(f"| {name} | {_digits(value)} | {times} |", flush=True)


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def print_images(cost: dict[str, float], unit: str) -> None:
    """Test images, ours beside the original."""
    print(f"\n| original | ours | original, {unit} | ours, {unit} | times cheaper |")
    print("|---|---|---|---|---|")
    for theirs, ours in (("1 patch", "1 patch"), ("1 patch, torch 1.13", "1 patch"), ("4 patches", "2x2 patches")):
        a, b = cost[f"original image, {theirs}"], cost[f"our image, {ours}"]
        print(f"| {theirs} | {ours} | {_digits(a)} | {_digits(b)} | {a / b:.2f} |", flush=True)


def print_cases(cost: dict[str, float], unit: str) -> None:
    """What was counted or measured, before anything is added up."""
    print(f"\n| case | {unit} |")
    print("|---|---|")
    for name, value in cost.items():
        print(f"| {name} | {_digits(value)} |", flush=True)


def flops(heads: int = 5) -> None:
    """Count at full size."""
    cost, live = {}, {}
    with shapes_only():
        bench = make(heads)
        weights = sum(p.numel() * 4 for model in (bench.models.unet, bench.models.vae) for p in model.parameters())
        for name, case in CASES.items():
            run = case(bench)
            cost[name] = count(run) / 1e9
            if name in STEPS:
                live[name] = live_peak(run, bench.tensors()) / 2**20
    print(f"\n## FLOPs, {heads} heads (5 is SD 2.1)")
    print_cases(cost, "GFLOP")
    print_training(training(cost), "GFLOP")
    print_images(cost, "GFLOP")
    print_memory(live, "live tensors", weights / 2**20, "weights")


def print_memory(extra: dict[str, float], what: str, before: float, which: str) -> None:
    """MB a step adds, alone and together with what was there before, as shares of the original's."""
    base = extra[STEPS[0]]
    print(f"\n| step | {what}, MB | share of the original's | with {before:.0f} MB of {which} | share |")
    print("|---|---|---|---|---|")
    for name, value in extra.items():
        both = (before + value) / (before + base)
        print(f"| {name} | {value:.0f} | {value / base:.0%} | {before + value:.0f} | {both:.0%} |", flush=True)


def memory(heads: int) -> None:
    """Measure in fresh processes."""
    print(f"\n## Peak memory, {heads} heads")
    peaks = {name: peak_memory(prepared, name, heads) for name in STEPS}
    before = statistics.median(peak.before for peak in peaks.values()) / 2**20
    extra = {name: peak.extra / 2**20 for name, peak in peaks.items()}
    print_memory(extra, "added by the step", before, "Python, torch and weights")
    print(f"read by: {', '.join(sorted({peak.method for peak in peaks.values()}))}")


def seconds(heads: int, repeats: int) -> None:
    """Time interleaved."""
    bench = make(heads)
    print(f"\n## Wall time, {heads} heads, {torch.get_num_threads()} thread(s)")
    equal_maps(bench)
    runs = {name: case(bench) for name, case in CASES.items()}
    spent: dict[str, list[float]] = {name: [] for name in runs}
    worked: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            rare = "4 patches" in name or "2x2" in name or "torch" in name
            if rare and turn != 1:
                continue
            wall, cpu = _timed(run)
            if turn:
                spent[name].append(wall)
                worked[name].append(cpu)
    cost = {name: statistics.median(values) for name, values in spent.items()}
    processor = {name: statistics.median(values) for name, values in worked.items()}
    print_cases(cost, "wall seconds")
    for name, values in spent.items():
        print(f"{name:32s} {len(values)}x, {min(values):.2f} .. {max(values):.2f} s, CPU {processor[name]:.2f} s")
    print_training(training(cost), "wall s")
    print_images(cost, "wall s")
    print("\nCPU seconds, which other work on the machine does not stretch:")
    print_training(training(processor), "CPU s")
    print_images(processor, "CPU s")


def _timed(run: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def equal_maps(bench: Bench, timestep: int = 50) -> None:
    """Both read the same picture, noise, timestep and prompt; the largest differences as shares of a map's range."""
    models = bench.models
    state = original.new_state(models, PARTS)
    image, prompts = original.picture(models, state, bench.rgb), original.prompts_of(models, state)
    start = state.generator.get_state()
    with torch.no_grad():
        loss, cross, self_map = original.unet_pass(models, state, prompts, image, timestep, train=True, grad=False)
        was = torch.einsum("kp,pyx->kyx", cross.softmax(0).flatten(1), self_map)
        state.generator.set_state(start)
        clean = original.encode(models, state, image)
        noise, steps = original.noise_like(clean, state), torch.tensor([timestep])
        noised = bench.backbone.noising.add(clean, noise, steps)
        with UNetReadout(bench.backbone, PARTS) as reader:
            seen = reader.run(noised, steps, prompts[1], predict=True)
        free = models.unet(noised, steps, encoder_hidden_states=prompts[:1]).sample
        ours = diffusion_loss(seen.prediction, free, noise, state.guidance)
    pairs = {"cross logits": (cross, seen.logits[0]), "WAS": (was, seen.was[0])}
    for name, (theirs, mine) in pairs.items():
        gap = float((theirs - mine).abs().max() / (theirs.max() - theirs.min()))
        print(f"equal maps: {name} differ by {gap:.1e} of their range {float(theirs.max() - theirs.min()):.3g}")
        assert gap < 1e-4, name
    print(f"equal maps: diffusion loss {float(loss):.6g}, ours {float(ours):.6g}")
    assert abs(float(loss - ours)) < 1e-3 * float(loss)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["flops", "memory", "time"], help="flops, memory, time; all")
    parser.add_argument("--heads", type=int, default=1, help="scale of the model that runs, 5 is SD 2.1 (default 1)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    if not {*arguments.what} <= {"flops", "memory", "time"}:
        parser.error(f"choose among flops, memory and time, got {' '.join(arguments.what)}")
    torch.set_num_threads(arguments.threads)
    if "flops" in arguments.what:
        flops()
    if "memory" in arguments.what:
        memory(arguments.heads)
    if "time" in arguments.what:
        seconds(arguments.heads, arguments.repeats)


if __name__ == "__main__":
    main()
