"""Independent evidence for or against the parts, in log-odds (h, w). Each cue is a pure function of arrays.

Built-in cues are colour histograms, motion relative to the background, and distance from the last position. A further
cue is a file with a function ``background_log_odds(inputs: CueInputs) -> (h, w) float32``. The setting ``cues`` names
such files: ``--set cues=[path/to/file.py]``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from slimecore.array_types import Array
from slimecore.errors import ConfigError
from slimecore.runtime import plugins

__all__ = ["Cue", "CueInputs", "load_cues", "summed_log_odds"]


@dataclass(frozen=True, slots=True, eq=False)
class CueInputs:
    """Arrays of a frame that a cue may use, all of one size (h, w).

    Parameters
    ----------
    image : (h, w, 3) uint8
        Search region of the frame.
    background : (h, w) float32
        Probability of the background, warped from the frame labelled before.
    flow : (h, w, 2) float32
        Flow into the frame labelled before, in pixels.
    trust : (h, w) float32
        Reliability of the flow, 0..1.
    """

    image: Array
    background: Array
    flow: Array
    trust: Array


Cue = Callable[[CueInputs], Array]
"""Return log-odds (h, w) float32: positive for background, negative for foreground, 0 for no evidence.

Positive values enter the evidence. Negative values only open the motion gate (:mod:`slimevid.fusion.motion_gate`).
"""


def load_cues(names: Sequence[str]) -> tuple[Cue, ...]:
    """Load cues by path or entry point.

    Raises
    ------
    UnknownPlugin
        No such file.
    ConfigError
        The cue is built in, or the file lacks ``background_log_odds``.
    """
    for name in names:
        if name in plugins.available(__name__):
            raise ConfigError(f"cue {name!r} is built in; fusion.* sets its weight")
    return tuple(plugins.load(__name__, name, "background_log_odds").background_log_odds for name in names)


def summed_log_odds(cues: Sequence[Cue], inputs: CueInputs) -> Array | None:
    """Return the sum of the log-odds of all cues, or None without cues.

    Raises
    ------
    ConfigError
        A cue returns another shape, or values that are not finite.
    """
    total: Array | None = None
    for cue in cues:
        log_odds = np.asarray(cue(inputs), np.float32)
        file = cue.__code__.co_filename if hasattr(cue, "__code__") else cue.__module__
        if log_odds.shape != inputs.background.shape:
            raise ConfigError(f"cue {file}: returns shape {log_odds.shape}, must return {inputs.background.shape}")
        if not np.isfinite(log_odds).all():
            raise ConfigError(f"cue {file}: returns values that are not finite")
        total = log_odds if total is None else total + log_odds
    return total
