"""A first step of a session under a known motion."""

from __future__ import annotations

import numpy as np

from slimevid.fusion import flow_evidence
from tests.slimevid.sessions import unfiltered_session


def first_step(tiny, disc, refiner, **fusion):
    """Return the propagated labels after a frame, and the displayed ones. Masks are as large as the frame."""
    one = unfiltered_session(tiny, refiner, **fusion)
    one.add_reference(*disc(0))
    one.step(disc(1)[0])
    assert refiner.calls == 1
    return one.snapshot()["soft"], one.soft


def set_motion(monkeypatch, odds):
    """Make motion give the same log-odds of the background everywhere."""
    monkeypatch.setattr(
        flow_evidence, "background_log_odds", lambda departures, *_: np.full(departures.shape, odds, np.float32)
    )
