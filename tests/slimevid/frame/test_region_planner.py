"""The planner of search regions."""

from __future__ import annotations

import numpy as np

from slimecore.imaging.boxes import bounding_spans
from slimevid.frame.region_planner import RegionPlanner
from slimevid.frame.search_region import (
    full_frame,
)

SIZE = (120, 200)


def marked(top, left, bottom, right):
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_full_frame_every_eighth_while_gone():
    """While a part is gone the full frame is processed every eighth time."""
    plan, mask = RegionPlanner(2.0), marked(50, 60, 80, 90)
    window = plan.start(mask)
    for ordinal in range(1, 20):
        plan.observe(ordinal, bounding_spans(mask), SIZE, complete=ordinal < 5)
        assert plan.at(ordinal + 2) == (full_frame(SIZE) if ordinal in (8, 16) else window)
    other = RegionPlanner(2.0)
    other.restore(20, plan.snapshot(20))
    for each in (plan, other):
        each.observe(20, ((50, 80), (70, 100)), SIZE, complete=True)
    assert other.at(22) == plan.at(22) != window


def test_planner_without_parts_restored():
    """A planner that saw no part is restored."""
    plan, other = RegionPlanner(2.0), RegionPlanner(2.0)
    plan.start(marked(50, 60, 80, 90))
    plan.observe(1, None, SIZE, complete=False)
    other.restore(2, plan.snapshot(2))
    for each in (plan, other):
        each.observe(2, ((10, 40), (10, 40)), SIZE, complete=True)
    assert other.at(4) == plan.at(4)
