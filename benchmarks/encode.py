"""What one pass of a checkpoint over a picture costs, by size, precision, threads and layout of the weights.

    python benchmarks/encode.py [--model slime-tiny] [--sizes 480x848 256x448] [--threads 1 2] [--rounds 9]

All features (``encode``) and the descriptor alone (``describe``), medians and least of the rounds, milliseconds.
Layouts are timed in turn, round by round, so that a host that grows slow does so for both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from slimecore.backbones import ModelSpec, load_model

LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def milliseconds(work: Callable[[], object]) -> float:
    """Of one call."""
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    """Parse, time, print a line a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=ModelSpec().name)
    parser.add_argument("--sizes", nargs="+", default=["480x848", "256x448"], metavar="HxW")
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    for dtype in ("float32", "half"):
        backbones = {}
        for layout, memory_format in LAYOUTS.items():
            backbones[layout] = load_model(ModelSpec(name=arguments.model, dtype=dtype), "cpu", 0)
            backbones[layout].unet.to(memory_format=memory_format)
        for threads in arguments.threads:
            torch.set_num_threads(threads)
            for size in arguments.sizes:
                picture = torch.rand(1, 3, *map(int, size.split("x")), generator=torch.Generator().manual_seed(0))
                taken: dict[tuple[str, str], list[float]] = {}
                for _ in range(arguments.rounds + 1):
                    for layout, backbone in backbones.items():
                        for name in ("encode", "describe"):
                            spent = milliseconds(partial(getattr(backbone, name), picture))
                            taken.setdefault((name, layout), []).append(spent)
                for (name, layout), spent in taken.items():
                    kept = spent[1:]  # the first round makes kernels and memory ready
                    print(
                        f"{dtype:8s} {size:>9s} {threads} threads  {name:8s} {layout:14s} "
                        f"{statistics.median(kept):6.1f} ms (least {min(kept):6.1f})",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
