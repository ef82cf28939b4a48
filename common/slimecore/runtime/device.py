"""Device, dtype, threads and seed: the only file that says "cuda"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from slimecore.errors import ConfigError

__all__ = ["DTYPES", "generator", "pick_device", "pick_dtype", "threads_for"]

_WORTH_A_THREAD = 1e8
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` takes cuda, then mps, then cpu.

    Raises
    ------
    ConfigError
        The name is unknown, or the device is not there.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if available[device]))
    kind = name.split(":")[0]
    if kind not in available:
        raise ConfigError(f"unknown device {name!r}; choose auto, cpu, cuda or mps")
    if not available[kind]:
        raise ConfigError(f"device {name!r} is not available here; use --device auto or --device cpu")
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """``auto`` is float32 on cpu and mps, float16 on cuda; ``half`` is bfloat16 on a cpu that computes with it.

    ``half`` is for features that are read, not trained through: elsewhere it is what ``auto`` is.

    Raises
    ------
    ConfigError
        The name is unknown.
    """
    if name == "half" and device.type == "cpu" and _computes_bfloat16():
        return torch.bfloat16
    if name in {"auto", "half"}:
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise ConfigError(f"unknown dtype {name!r}; choose auto, half, {', '.join(DTYPES)}")
    return DTYPES[name]


def _computes_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself: emulated, it is slower than float32."""
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Give a seeded generator; nothing here touches the global random state."""
    return torch.Generator(device=device).manual_seed(seed)


@contextmanager
def threads_for(operations: float) -> Iterator[None]:
    """Let torch use no more threads than so many multiplications a call keep busy.

    Small steps gain nothing from a second thread, and on a busy machine threads that wait for each other cost many
    times the step itself.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, int(operations / _WORTH_A_THREAD))))
    try:
        yield
    finally:
        torch.set_num_threads(before)
