"""Number formats and threads of a device."""

from __future__ import annotations

import pytest
import torch

from slimecore.errors import ConfigError
from slimecore.runtime import device
from slimecore.runtime.device import threads_for


@pytest.mark.parametrize(
    ("name", "kind", "native", "expected"),
    [
        ("auto", "cpu", True, torch.float32),
        ("half", "cpu", True, torch.bfloat16),
        ("half", "cpu", False, torch.float32),
        ("half", "cuda", True, torch.float16),
        ("auto", "cuda", False, torch.float16),
        ("half", "mps", True, torch.float32),
        ("bfloat16", "cpu", False, torch.bfloat16),
    ],
)
def test_half_picks_fast_dtype_of_device(monkeypatch, name, kind, native, expected):
    """``half`` picks a half-precision type only where the device is fast with it."""
    capabilities = {"avx512_bf16": native, "amx_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert device.pick_dtype(name, torch.device(kind)) == expected


def test_unknown_dtype_refused():
    """An unknown dtype is named in the error."""
    with pytest.raises(ConfigError, match="unknown dtype 'int8'; choose auto, half, float32"):
        device.pick_dtype("int8", torch.device("cpu"))


@pytest.mark.parametrize(("operations", "expected"), [(0, 1), (1.5e8, 1), (2.5e8, 2), (1e12, 4)])
def test_small_work_uses_few_threads(operations, expected):
    """Small work gets few threads, and all threads are given back."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)

    def fail():
        with threads_for(operations):
            seen.append(torch.get_num_threads())
            raise KeyError

    seen = []
    try:
        with pytest.raises(KeyError):
            fail()
        assert (seen, torch.get_num_threads()) == ([expected], 4)
    finally:
        torch.set_num_threads(before)
