"""Batches: reuse and a worker that dies."""

import os

import numpy as np
import pytest

from training.feed import batch_of, batches


def test_reused_batches_differ(tiny):
    """Reuse draws fewer batches and never repeats pixels.

    Three steps share a drawn batch, and the second and third see other pixels.
    """
    first, second, again = (batch_of(tiny, step) for step in (0, 1, 1))
    assert np.array_equal(second.rgb, again.rgb)
    assert not np.array_equal(first.rgb, second.rgb)
    assert sorted(np.unique(first.objects)) == sorted(np.unique(second.objects))
    assert not np.array_equal(np.sort(batch_of(tiny, 3).rgb, None), np.sort(first.rgb, None))


def test_dead_worker_raises_error(tiny, monkeypatch):
    """A worker that dies raises an error instead of an endless wait.

    The system may kill it for its memory, and its batch never arrives then.
    """
    monkeypatch.setattr("training.feed._work", _dying)
    with pytest.raises(RuntimeError, match=r"draws pictures died \(status 3\)"):
        next(batches(tiny, 0, worker=True))


def _dying(*_):
    os._exit(3)
