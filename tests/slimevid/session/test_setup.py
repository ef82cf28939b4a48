"""Setting up a session: its planner and its remembered references."""

from __future__ import annotations

from slimecore.memory.config import MemoryConfig
from tests.slimevid.sessions import session_of, small_session


def test_glance_interval_counts_frames(slid, tiny):
    """While a part is gone, the full frame is processed about every eighth frame at any key-frame interval."""
    clip, mask = slid
    for every, glances in ((1, 8), (2, 4), (3, 2), (50, 2)):
        session = session_of(clip, mask, tiny, keyframe_interval=every)
        assert session._stream.tracker._planner._full_frame_interval == glances


def test_ignored_pixels_not_remembered(tiny, disc):
    """Ignored pixels are not remembered.

    Pixels marked -1 are remembered neither as a part nor as background. Pixels marked 0 are background.
    """
    rgb, mask = disc(0)
    void = mask.astype(int)
    void[:, 32:] = -1
    assert (mask[:, 32:] > 0).any()
    for propagator in ("fused", "memory_only"):
        keys = []
        for marked in (void, void.clip(0)):
            one = small_session(tiny, propagator, memory=MemoryConfig(keys_per_frame=0))
            one.add_reference(rgb, marked)
            prefix = "memory." if propagator == "fused" else ""
            keys.append(len(one.snapshot()[f"{prefix}permanent.0000.key"]))
        assert 0.4 * keys[1] < keys[0] < 0.6 * keys[1]
