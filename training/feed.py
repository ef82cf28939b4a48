"""Batches in step order, from this process or from a niced worker that draws ahead."""

import multiprocessing
import os
from collections.abc import Iterator
from functools import lru_cache
from queue import Empty, Full
from typing import Any

import cv2
import numpy as np

from training.config import TrainConfig
from training.pairs import Batch, make_batch
from training.symmetry import varied

__all__ = ["batch_of", "batches"]

_AHEAD = 6


@lru_cache(maxsize=1)
def _drawn(config: TrainConfig, number: int) -> Batch:
    which = number % len(config.sizes)
    return make_batch(config.seed, number, config.counts[which], config.sizes[which], config.scenes)


def batch_of(config: TrainConfig, step: int) -> Batch:
    """Give the batch of a step, always the same: each drawn batch serves ``reuse`` steps, never twice alike."""
    batch = _drawn(config, step // config.reuse)
    return varied(batch, np.random.default_rng((config.seed, 3, step))) if step % config.reuse else batch


def _work(config: TrainConfig, start: int, queue: "multiprocessing.Queue[Batch]") -> None:
    cv2.setNumThreads(1)
    os.nice(5)
    parent = os.getppid()
    for step in range(start, config.steps):
        batch = batch_of(config, step)
        while True:
            try:
                queue.put(batch, timeout=5.0)
                break
            except Full:
                if os.getppid() != parent:  # the trainer was killed: nobody will ever read
                    queue.cancel_join_thread()
                    return


def batches(config: TrainConfig, start: int, worker: bool) -> Iterator[Batch]:
    """Batches of the steps from ``start`` to the last.

    Parameters
    ----------
    config : TrainConfig
    start : int
    worker : bool
        Draw in another process, ahead of time; the batches are the same.
    """
    if not worker:
        for step in range(start, config.steps):
            yield batch_of(config, step)
        return
    context = multiprocessing.get_context("spawn")
    queue = context.Queue(maxsize=_AHEAD)
    process = context.Process(target=_work, args=(config, start, queue), daemon=True)
    process.start()
    try:
        for _ in range(start, config.steps):
            yield _next(queue, process)
    finally:
        process.terminate()
        process.join()


def _next(queue: Any, process: Any) -> Batch:
    """The next batch; a worker that died never puts one.

    Raises
    ------
    RuntimeError
        It died: it may have been killed for its memory, or what it said is above.
    """
    while True:
        alive = process.is_alive()
        try:
            batch: Batch = queue.get(timeout=1.0)
            return batch
        except Empty:
            if not alive:
                raise RuntimeError(f"the process that draws pictures died (status {process.exitcode})") from None
