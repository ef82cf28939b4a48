"""Groundwork in another thread: same items, same order, same errors, same labels."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from slimecore.io.masks import MaskFile, make_parts
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.types import Annotation
from slimevid import open_clip
from slimevid.config import RunConfig
from slimevid.session.prefetch import prefetch
from slimevid.session.segmenter import Segmenter


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


@pytest.mark.parametrize(
    ("propagator", "every"), [("fused", 1), ("fused", 2), ("per_frame", 1), ("memory_only", 1), ("flow_warp", 1)]
)
def test_propagate_matches_stepping(two_tone, tiny, tmp_path, propagator, every):
    """``propagate`` gives the labels of stepping through the frames.

    With a thread for each half and a single thread in all, kernels and therefore bits are the same.
    """
    import cv2

    rgb, mask = two_tone
    for i in range(6):
        cv2.imwrite(str(tmp_path / f"{i:03d}.png"), np.roll(rgb, 5 * i, 1)[..., ::-1])
    clip = open_clip(tmp_path)
    parts = make_parts(MaskFile(mask.astype(np.int32), {}))
    learn = LearnConfig(tokens=2, steps=10, views=ViewConfig(count=1))
    config = RunConfig(network_size=96, mask_size=96, keyframe_interval=1, learn=learn, propagator=propagator)
    config = replace(config, fusion=replace(config.fusion, appearance_interval=every))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = []
        for way in ("step", "from the reference on", "from after it on"):
            session = Segmenter(config, tiny)
            first = next(clip.read(0, 1))
            session.add_reference(first, Annotation(first.rgb, parts.index(mask), parts))
            if way == "step":
                results = [session.step(f) for f in clip.read(1, 6)]
            elif way == "from the reference on":
                results = list(session.propagate(clip))[1:]
            else:
                results = list(session.propagate(clip, start=1))
            found.append([result.labels for result in results])
    finally:
        torch.set_num_threads(threads)
    assert len(found[0]) == 5
    for stepped, *others in zip(*found, strict=True):
        assert all(np.array_equal(stepped, other) for other in others)


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
