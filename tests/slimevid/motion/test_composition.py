"""Flow composed through the frames between key frames."""

from __future__ import annotations

import cv2
import numpy as np

from slimecore.types import Frame
from slimevid.config import FusionConfig, RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.frame.search_region import SearchRegion, full_frame
from slimevid.motion.composition import bidirectional_flow, compose_flows, step_motion
from tests.slimevid.sessions import uniform_flow


def test_composed_flow_follows_steps():
    """A composed flow leads to where its steps lead in order.

    The naive implementation follows single pixels: the second step depends on where the first led.
    """
    rng = np.random.default_rng(0)
    size = (32, 40)
    smooth = [cv2.GaussianBlur(rng.normal(0, 12, (*size, 2)).astype(np.float32), (0, 0), 4) for _ in range(6)]
    steps = list(zip(smooth[:3], smooth[3:], strict=True))
    there, back = compose_flows(steps)

    def follow(x, y, flows):
        start = x, y
        for flow in flows:
            u, v = (
                cv2.remap(
                    np.ascontiguousarray(flow[..., k]),
                    np.full((1, 1), x, np.float32),
                    np.full((1, 1), y, np.float32),
                    cv2.INTER_LINEAR,
                    borderMode=cv2.BORDER_REPLICATE,
                )[0, 0]
                for k in (0, 1)
            )
            x, y = x + u, y + v
        return x - start[0], y - start[1]

    # The frames are 0, 1, 2, 3; a step holds the flow into the frame before and back.
    for y, x in ((10, 14), (12, 20), (8, 9)):
        assert np.allclose(there[y, x], follow(x, y, [steps[2][0], steps[1][0], steps[0][0]]), atol=0.2)
        assert np.allclose(back[y, x], follow(x, y, [steps[0][1], steps[1][1], steps[2][1]]), atol=0.2)
    assert compose_flows(steps[:1]) is steps[0]
    assert compose_flows([]) is None


def test_step_motion_uses_single_region():
    """Motion is estimated through the skipped frames in the search region of the key frame."""
    asked = []

    def flow(source, target):
        asked.append((int(source[0, 0, 0]), int(target[0, 0, 0]), source.shape))
        return uniform_flow(0)

    window = SearchRegion(0, 0, 24, 16, 1.0)
    alone = FusionConfig(appearance_weight=0.0, memory_weight=0.0)
    config = RunConfig(flow_size=32, mask_size=32, fusion=alone)
    one, two, three = (
        FrameFeatures(Frame(i, np.full((32, 40, 3), i, np.uint8), str(i)), config, None, i, w)
        for i, w in ((1, full_frame((32, 40))), (2, window), (3, window))
    )
    motion = step_motion(three, (one, two), flow)
    assert (len(motion.single_steps), motion.steps) == (2, 2)
    assert asked == [(a, b, (24, 16, 3)) for a, b in ((2, 1), (1, 2), (3, 2), (2, 3))]
    assert step_motion(three, (one, two), lambda *_: None) is None
    assert bidirectional_flow(lambda *_: None, three.flow_image, two.flow_image) is None
