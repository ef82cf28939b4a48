"""Choose device, dtype, threads and seed. No other module names a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from slimecore.errors import ConfigError

__all__ = ["DTYPES", "generator", "pick_device", "pick_dtype", "threads_for"]

_MULTIPLICATIONS_PER_THREAD = 1e8  # of a call; fewer do not pay for another thread
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of a name. ``auto`` takes cuda, then mps, then cpu.

    Raises
    ------
    ConfigError
        The name is unknown, or the device is not available.
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
    """Return the dtype of a name on a device.

    ``auto`` is float16 on cuda and float32 elsewhere. ``half`` is bfloat16 on a processor with bfloat16 arithmetic,
    and ``auto`` elsewhere. It is meant for features without gradients.

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
    """Return True if the processor multiplies bfloat16 in hardware. Emulated, it is slower than float32."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a seeded generator. The global random state stays untouched."""
    return torch.Generator(device=device).manual_seed(seed)


@contextmanager
def threads_for(operations: float) -> Iterator[None]:
    """Limit torch's threads to the number that a call of `operations` multiplications keeps busy.

    Small steps gain nothing from a second thread. On a busy machine, threads that wait for each other cost many times
    the step itself.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, int(operations / _MULTIPLICATIONS_PER_THREAD))))
    try:
        yield
    finally:
        torch.set_num_threads(before)
