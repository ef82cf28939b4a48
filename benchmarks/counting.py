"""Measure a callable: its floating-point operations, and the memory it needs. One multiply-add is two operations.

Operations. `count` runs the callable under torch's FlopCounterMode, which counts matrix products and convolutions,
forward and backward, and nothing else: no softmax, norm, interpolation, and not the elementwise K x 4096 x 64 x 64
product of the original's WAS (2 * K * 4096^2, 33.6 MFLOP per part). torch's table has the CUDA kernels of
scaled_dot_product_attention but NOT the fused CPU one, which would count as zero: it is added here, forward and
backward, with torch's own formulas (a fused backward is 5 matrix products: scores are recomputed). Under
FakeTensorMode, where tensors have shapes and no data, the same kernels are dispatched and counted, at any size.

Memory. `peak_memory` runs the callable in a fresh process and reads VmHWM, the kernel's own high-water mark of resident
memory, from /proc/self/status. A sampling thread can miss a short peak and fights for the cores, so it is only the
fallback where the mark cannot be reset. `getrusage().ru_maxrss` is NOT usable: Linux carries it over exec, so a child
starts at the high-water mark of its parent. The mark is reset (clear_refs) after the set-up and the warm-up, so
`extra = peak - before` is what the call added. In the child glibc gives blocks >= 64 KiB straight back to the system
(MALLOC_MMAP_THRESHOLD_), else freed tensors would still count as resident; that slows allocation: take times elsewhere.
`live_peak` is the peak of tensors alive, by the sizes of their storages: exact, and possible under FakeTensorMode, but
blind to what kernels allocate inside.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import multiprocessing
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten


def _attention(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return sdpa_backward_flop_count(grad, query, key, value)


CPU_KERNELS = {
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def by_kernel(run: Callable[[], Any]) -> dict[str, int]:
    """Operations of run() by kernel name, e.g. {"convolution": ..., "bmm": ...}. A backward inside run() is counted."""
    with FlopCounterMode(display=False, custom_mapping=CPU_KERNELS) as counter:
        run()
    table = counter.get_flop_counts().get("Global", {})
    return {str(kernel).removeprefix("aten."): int(flop) for kernel, flop in table.items()}


def count(run: Callable[[], Any]) -> int:
    """Operations of run(), a backward inside it included. Works on the cpu, cuda and meta devices."""
    return sum(by_kernel(run).values())


class _Live(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._meet(tensor.untyped_storage())
        self.peak = max(self.peak, self.now)
        return out

    def know(self, tensors: Iterable[torch.Tensor]) -> None:
        """Leave out storages that were there before."""
        self._known.update(id(tensor.untyped_storage()) for tensor in tensors)

    def _meet(self, storage: Any) -> None:
        key, size = id(storage), int(storage.nbytes())
        if key not in self._known:
            self._known.add(key)
            self.now += size
            weakref.finalize(storage, self._leave, key, size)

    def _leave(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def live_peak(run: Callable[[], Any], before: Iterable[torch.Tensor]) -> int:
    """Most bytes alive at once of tensors made by run(); `before` are those it is handed (weights, inputs)."""
    gc.collect()
    with _Live() as live:
        live.know(before)
        run()
    return live.peak


class Peak(NamedTuple):
    """Resident bytes: before the call, at its peak, and the difference; and how it was read (kernel or sampled)."""

    before: int
    peak: int
    extra: int
    method: str


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


def _measure(run: Callable[[], Any]) -> Peak:
    """Peak of run() in this process."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = _status("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5")
        reset = _status("VmHWM") < before + 2**20 * 8
    except OSError:
        reset = False
    if reset:
        run()
        peak = _status("VmHWM")
        return Peak(before, peak, peak - before, "kernel")
    highest, done = [before], threading.Event()

    def sample() -> None:
        while not done.is_set():
            highest[0] = max(highest[0], _status("VmRSS"))
            time.sleep(0.002)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        run()
    finally:
        done.set()
        thread.join()
    return Peak(before, highest[0], highest[0] - before, "sampled")


def _child(pipe: Any, make: str | Callable[..., Any], arguments: tuple[Any, ...], warm: int, threads: int) -> None:
    try:
        torch.set_num_threads(threads)
        if isinstance(make, str):
            module, _, name = make.partition(":")
            make = getattr(importlib.import_module(module), name)
        run = make(*arguments)
        for _ in range(warm):
            run()
        pipe.send(_measure(run))
    except BaseException as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise


def peak_memory(make: str | Callable[..., Any], *arguments: Any, warm: int = 0, threads: int = 1) -> Peak:
    """Peak resident memory of run(), where run = make(*arguments) is made and called in a fresh process.

    `make` is a function at the top of a module (or "module:function"), since the new process must find it by name; what
    it builds (weights, inputs) counts as `before`. With `warm` calls first, one-off costs of the first call (kernel
    caches) are left out. A script that calls this needs `if __name__ == "__main__":`.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    settings = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    old = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        process = context.Process(target=_child, args=(theirs, make, arguments, warm, threads))
        process.start()
    finally:
        for name, value in old.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        answer = "the process ended without an answer"
    process.join()
    if isinstance(answer, str):
        raise RuntimeError(f"peak_memory: {answer} (exit status {process.exitcode})")
    return answer  # type: ignore[no-any-return]
