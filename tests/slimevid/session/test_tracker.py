"""The tracker's steps and its memory."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from slimecore.types import Frame
from slimevid.config import FusionConfig, RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.frame.region_planner import RegionPlanner
from slimevid.propagators import fused
from slimevid.session.tracker import Tracker
from tests.slimevid.sessions import session_of, uniform_flow


def test_steps_carry_motion_between_keyframes():
    """A tracker's steps carry the motion from the key frame before, composed through the skipped frames."""
    flows, config = [], RunConfig(flow_size=32, fusion=FusionConfig(appearance_weight=0.0, memory_weight=0.0))

    def flow(source, target):
        flows.append((int(source[0, 0, 0]), int(target[0, 0, 0])))
        return uniform_flow(0)

    frames = [Frame(i, np.full((32, 40, 3), i, np.uint8), str(i)) for i in range(1, 6)]
    planner = RegionPlanner(1.0)
    planner.start(np.ones((32, 40), bool))
    tracker = Tracker(config, fused.TRAITS, SimpleNamespace(snapshot=dict), None, planner, flow)
    first, second = tracker.steps(frames[1:], 2, FrameFeatures(frames[0], config, None))
    for step, (left, between, right) in ((first, (1, 2, 3)), (second, (3, 4, 5))):
        assert (step.features.frame.index, [f.frame.index for f in step.skipped]) == (right, [between])
        assert (len(step.motion.single_steps), step.motion.steps) == (2, 2)
        asked = [(between, left), (left, between), (right, between), (between, right)]
        assert flows[:4] == asked
        del flows[:4]
    (alone,) = tracker.steps(frames[:1], 1)
    assert alone.motion is None, "nothing is known of the frame before it"


def test_last_labels_count_as_memory(slid, tiny):
    """The last labels count as memory and are in a snapshot, only if frames are interpolated."""
    clip, mask = slid
    keyed, plain = (session_of(clip, mask, tiny, keyframe_interval=n) for n in (2, 1))
    assert keyed.memory_bytes - plain.memory_bytes == keyed.snapshot()["last"].nbytes > 0
    assert "last" not in plain.snapshot()
