"""What is looked at: where windows lie, when they move, and that what is seen through two of them fits together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slimecore.memory import MaskMemory
from slimecore.memory_config import MemoryConfig
from slimevid.window import Window, around, follow, seen_through, whole
from tests.known_places import KnownPlaces

SIZE = (120, 200)


def marked(top, left, bottom, right):
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


@given(st.data())
def test_a_window_lies_in_the_picture_and_holds_the_parts_at_no_more_work(data):
    top, left = data.draw(st.integers(0, SIZE[0] - 1)), data.draw(st.integers(0, SIZE[1] - 1))
    bottom, right = data.draw(st.integers(top + 1, SIZE[0])), data.draw(st.integers(left + 1, SIZE[1]))
    window = around(marked(top, left, bottom, right), 2.0)
    assert 0 <= window.top <= top
    assert 0 <= window.left <= left
    assert bottom <= window.top + window.height <= SIZE[0]
    assert right <= window.left + window.width <= SIZE[1]
    assert window.zoom**2 * window.height * window.width <= SIZE[0] * SIZE[1] * (1 + 1e-9)
    assert 1 <= window.zoom <= 2
    assert window.height >= 0.4 * SIZE[0]
    assert window.width >= 0.4 * SIZE[1]
    assert Window.from_array(window.to_array()) == window


def test_nothing_to_follow_and_no_zoom_show_the_whole_picture():
    assert around(np.zeros(SIZE, bool), 2.0) == whole(SIZE)
    assert around(marked(50, 80, 60, 90), 1.0) == whole(SIZE)
    assert follow(around(marked(50, 80, 60, 90), 2.0), np.zeros(SIZE, bool), 2.0) == whole(SIZE)


def test_a_window_stays_until_the_parts_come_near_its_border_or_fill_too_little_of_it():
    window = around(marked(50, 90, 80, 120), 2.0)
    assert follow(window, marked(52, 94, 82, 124), 2.0) is window
    moved = follow(window, marked(50, 118, 80, 148), 2.0)
    assert moved == around(marked(50, 118, 80, 148), 2.0) != window
    wide = around(marked(10, 20, 110, 180), 2.0)
    assert follow(wide, marked(50, 90, 80, 120), 2.0) == window
    # At the picture's own border there is no room to ask for.
    corner = around(marked(0, 0, 40, 40), 2.0)
    assert follow(corner, marked(0, 0, 38, 38), 2.0) is corner


def test_seen_through_another_window_labels_lie_where_they_lay():
    soft = np.zeros((2, 60, 100), np.float32)
    y, x = np.mgrid[:60, :100]
    soft[1] = (np.hypot(y - 30, x - 40) < 12).astype(np.float32)
    soft[0] = 1 - soft[1]
    old, new = Window(0, 0, 60, 100), Window(10, 20, 40, 50, 1.3)
    cut = seen_through(soft, old, new, (40, 50))
    assert np.array_equal(cut, soft[:, 10:50, 20:70])
    back = seen_through(cut, new, old, (60, 100))
    assert np.array_equal(back, soft)  # the disc lay inside; all else is background
    fine = seen_through(soft, old, new, (80, 100))
    assert fine[1].sum() == pytest.approx(4 * soft[1].sum(), rel=0.02)
    assert (y * soft[1]).sum() / soft[1].sum() == pytest.approx(
        10 + ((np.mgrid[:80, :100][0] + 0.5) * fine[1]).sum() / fine[1].sum() / 2 - 0.5, abs=0.05
    )


def test_a_memory_in_another_frame_of_reference_answers_the_same_places():
    """Places remembered in a picture, asked for through a window of it: nearness is judged where they are."""
    config = MemoryConfig(every=1, budget=0, color=0.0, temperature=10.0, balance=0.0, window=0.1, unknown=0.0)
    grid, part = (12, 20), (6, 10)
    flat = torch.ones(240, 4) / 2
    soft = torch.rand(2, *grid, generator=torch.Generator().manual_seed(0)).softmax(0)
    memory = MaskMemory(config)
    memory.write(KnownPlaces(flat, torch.zeros(240, 3), grid), soft)
    memory.reframe((-3.0, -5.0), 12.0, 6.0)  # rows 3..9 and columns 5..15 of 12 x 20
    found = memory.read(KnownPlaces(flat[:60], torch.zeros(60, 3), part)).T.reshape(2, *part)
    wide = MaskMemory(MemoryConfig(**{**config_values(config), "window": 0.05}))
    wide.write(KnownPlaces(flat, torch.zeros(240, 3), grid), soft)
    same = wide.read(KnownPlaces(flat, torch.zeros(240, 3), grid)).T.reshape(2, *grid)
    torch.testing.assert_close(found, same[:, 3:9, 5:15], atol=0.02, rtol=0)
    assert (found[0] - soft[0, 3:9, 5:15]).abs().max() > 0.001


def config_values(config):
    return {name: getattr(config, name) for name in config.__dataclass_fields__}
