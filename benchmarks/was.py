"""The read-out against the plain way: a materialised attention map, averaged over heads, times the evidence.

    python benchmarks/was.py [--places 4096] [--keys 4096] [--heads 5] [--width 64] [--parts 6]

Both run in the same process on the same numbers, interleaved; medians of the repeats, and the largest difference of the
results. FLOPs and bytes are counted, not measured.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from slimecore.attention.was import was_attention


def plain(query: torch.Tensor, key: torch.Tensor, evidence: torch.Tensor) -> torch.Tensor:
    """SLiMe as published: build A (heads, N, M), average over heads, accumulate."""
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return scores.softmax(-1).mean(-3) @ evidence


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("places", 4096), ("keys", 4096), ("heads", 5), ("width", 64), ("parts", 6), ("repeats", 7)):
        parser.add_argument(f"--{name}", type=int, default=value)
    a = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(a.heads, a.places, a.width, generator=generator)
    key = torch.randn(a.heads, a.keys, a.width, generator=generator)
    evidence = torch.rand(a.keys, a.parts, generator=generator)
    ways = {
        "plain (materialised)": lambda: plain(query, key, evidence),
        "was_attention (fused)": lambda: was_attention(query, key, evidence),
        "was_attention (chunk 512)": lambda: was_attention(query, key, evidence, chunk=512),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    with torch.no_grad():
        reference = plain(query, key, evidence)
        for _ in range(a.repeats):
            for name, way in ways.items():
                start = time.perf_counter()
                result = way()
                spent[name].append(time.perf_counter() - start)
                assert torch.allclose(result, reference, atol=1e-4), name
    pairs = a.heads * a.places * a.keys
    print(
        f"{a.heads} heads, {a.places} places, {a.keys} keys, {a.width} wide, {a.parts} parts, "
        f"{torch.get_num_threads()} threads"
    )
    print(f"scores {2e-9 * pairs * a.width:.1f} GFLOP, map {4e-6 * pairs:.0f} MB in float32")
    for name, seconds in spent.items():
        print(f"{name:28s} {1e3 * statistics.median(seconds):8.1f} ms")


if __name__ == "__main__":
    main()
