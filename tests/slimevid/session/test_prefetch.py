"""Preparation in another thread keeps items, order and errors."""

from __future__ import annotations

import threading

import pytest
import torch

from slimevid.session.prefetch import prefetch


def unchanged(item, _before):
    return item


def test_prefetch_keeps_order_and_passes_previous():
    """Prepared items come in order, and each is prepared with the prepared item before it."""
    seen = []

    def prepare(item, before):
        seen.append((item, before))
        return item + 10

    assert list(prefetch(iter(range(5)), prepare)) == [10, 11, 12, 13, 14]
    assert seen == [(0, None), (1, 10), (2, 11), (3, 12), (4, 13)]
    assert list(prefetch(iter(range(2)), prepare, -1)) == [10, 11]
    assert seen[5:] == [(0, -1), (1, 10)]


def test_next_item_prepared_ahead():
    """The next item is prepared while the consumer works on the present one."""
    prepared = threading.Event()

    def prepare(item, _before):
        if item == 1:
            prepared.set()
        return item

    items = prefetch(iter(range(3)), prepare)
    assert next(items) == 0
    assert prepared.wait(5)
    items.close()


def test_error_raised_after_earlier_items():
    """An error of the other thread is raised after the items before it."""

    def broken():
        yield 1
        yield 2
        raise KeyError("third")

    items = prefetch(broken(), unchanged)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError, match="third"):
        next(items)


def test_threads_restored_on_early_stop():
    """Torch gets its threads back even if the consumer stops early."""
    before = torch.get_num_threads()
    items = prefetch(iter(range(3)), unchanged)
    next(items)
    items.close()
    assert torch.get_num_threads() == before


def test_threads_restored_in_any_end_order():
    """Torch gets its threads back in whatever order two readers end.

    Of two clips side by side, the first to begin need not be the last to end.
    """
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        one, other = (prefetch(iter(range(3)), unchanged) for _ in range(2))
        next(one)
        next(other)
        assert torch.get_num_threads() == 2
        assert list(one) == [1, 2]
        assert torch.get_num_threads() == 2
        other.close()
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
