"""Settings of a run and its presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slimecore.backbones import ModelSpec
from slimecore.config import apply, nearest
from slimecore.errors import ConfigError
from slimecore.learning.probe_config import LearnConfig
from slimecore.memory.config import MemoryConfig

__all__ = ["PRESETS", "FusionConfig", "RunConfig", "preset"]


@dataclass(frozen=True, slots=True)
class FusionConfig:
    """How evidence is combined: a weighted sum of log-probabilities, then softmax over parts.

    Parameters
    ----------
    parts : float
        Weight of the learned embeddings' WAS map (what it looks like).
    parts_every : int
        It is read from the network every so many frames, and carried along the flow between them.
    memory : float
        Weight of the memory read-out (where it was and what it looked like).
    memory_every : int
        The memory is read every so many frames, and what was read is carried along the flow between them.
    flow : float
        Weight of the flow-warped previous mask, scaled by the flow's reliability at each pixel.
    parts_apart, flow_apart : float
        How much more of its weight the WAS map, or the warped mask, has in telling several parts from each other: the
        memory knows well what is one of them, and confuses one leg with another; motion does not. Where the flow is not
        to be trusted, that weight goes to the previous labels nearby.
    motion : float
        Weight of the evidence for the background from pixels that move with it while the part does not; 0 for none.
    motion_limit : float
        Largest log-odds of that evidence, and of motion that speaks for a part.
    reach : float
        How far from where the parts were, as a share of the short side, they can be found next, while they are all
        there; from twice that on, nothing is taken for one of them but on strong evidence. 0: anywhere.
    floor : float
        Probabilities are mixed with this much of the uniform distribution first: no single cue can veto.
    flow_tolerance : float
        Round-trip error of the motion from one frame to the next, in pixels, at which trust in it falls to 1/e.
    colours : float
        Weight of the log-odds of a pixel's colour on the references.
    completion : float
        Largest log-odds that the completing network may add to what all evidence says; 0 leaves it out.
    feedback : float
        What colours and the completing network add is shown; carried on to later frames is of it, at most, this share
        of the log-odds with which motion speaks for a part. 0: nothing.
    refine : int
        Radius of the edge-aware (guided) filter at full size, in pixels of a 480-line picture; 0 switches it off.
    refine_eps : float
        Its regularisation, in squared intensity 0..1.
    present : float
        A part is reported present when its strongest pixels' mean probability reaches this.
    """

    parts: float = 0.15
    parts_every: int = 3
    memory: float = 1.0
    memory_every: int = 1
    flow: float = 0.5
    parts_apart: float = 1.0
    flow_apart: float = 2.0
    motion: float = 1.0
    motion_limit: float = 4.0
    reach: float = 0.1
    floor: float = 0.02
    flow_tolerance: float = 1.0
    colours: float = 0.3
    completion: float = 4.0
    feedback: float = 1.0
    refine: int = 8
    refine_eps: float = 1e-4
    present: float = 0.4

    def __post_init__(self) -> None:
        of_cues = (self.parts, self.memory, self.flow, self.motion, self.colours, self.parts_apart, self.flow_apart)
        if min(*of_cues, self.motion_limit, self.reach, self.completion, self.feedback) < 0 or self.flow_tolerance <= 0:
            raise ConfigError("fusion weights must not be negative and fusion.flow_tolerance must be above 0")
        for name in ("parts_every", "memory_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"fusion.{name} must be at least 1, got {getattr(self, name)}")
        if not (0 <= self.floor < 1 and 0 <= self.present <= 1 and 0 <= self.refine <= 100 and self.refine_eps > 0):
            raise ConfigError(
                "fusion needs floor in 0..1, present in 0..1, refine in 0..100 pixels and refine_eps above 0, got "
                f"{self.floor}, {self.present}, {self.refine}, {self.refine_eps}"
            )


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything ``slimevid run`` can be told.

    Parameters
    ----------
    short_side : int
        Short side of the network's input, pixels.
    flow_side : int
        Short side of the pictures between which flow runs, pixels.
    work_side : int
        Short side at which soft masks are kept, pixels; at least `flow_side`.
    zoom : float
        Where the parts fill little of the picture, only their surroundings are looked at, up to so many times larger
        for the same work; 1 always looks at the whole picture.
    key_every : int
        One frame in so many, and the last, is labelled in full; those between take their labels from both its
        neighbours, along the flow. 1: every frame in full, as frames that come one by one
        (:meth:`slimevid.Segmenter.step`) always are. Where something is said of every so many frames, or of the
        frame before, those labelled in full are meant.
    bidirectional : int
        After so many frames (as many times `key_every` as fit) labels are carried back over them, too, and the mean of
        both directions is the result; 0: forward alone, as frames that come one by one always are.
    dreams : int
        Lucid dreams of the references on which the completing network is adapted to the clip before its first frame; 0
        takes it as shipped.
    propagator, flow : str
        Files of ``slimevid/propagators`` and ``slimevid/flows``.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    seed : int
        The only source of randomness.
    """

    short_side: int = 256
    flow_side: int = 240
    work_side: int = 320
    zoom: float = 2.0
    key_every: int = 2
    bidirectional: int = 0
    dreams: int = 0
    propagator: str = "fused"
    flow: str = "dis"
    device: str = "auto"
    seed: int = 0
    model: ModelSpec = field(default_factory=lambda: ModelSpec(dtype="half"))
    learn: LearnConfig = field(default_factory=LearnConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must not be negative, got {self.seed}")
        if not 1 <= self.key_every <= 100:
            raise ConfigError(f"key_every must lie in 1..100 frames, got {self.key_every}")
        if not 0 <= self.bidirectional <= 10_000:
            raise ConfigError(f"bidirectional must lie in 0..10000 frames, got {self.bidirectional}")
        if not 0 <= self.dreams <= 1000:
            raise ConfigError(f"dreams must lie in 0..1000, got {self.dreams}")
        if not 1 <= self.zoom <= 16:
            raise ConfigError(f"zoom must lie in 1..16, got {self.zoom}")
        for name, low, high in (("short_side", 32, 4096), ("flow_side", 32, 4096), ("work_side", 32, 4096)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} must lie in {low}..{high} pixels, got {value}")


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {
        "short_side": 192,
        "flow_side": 192,
        "work_side": 192,
        "key_every": 3,
        "memory": {"detail": 3, "dims": 24, "budget": 600, "every": 1},
        "fusion": {"parts_every": 2, "completion": 0.0, "colours": 0.6},
    },
    "balanced": {},
    "quality": {
        "flow_side": 320,
        "work_side": 480,
        "key_every": 1,
        "bidirectional": 24,
        "dreams": 8,
        "memory": {"budget": 1500, "recent": 5},
    },
}


def preset(name: str) -> RunConfig:
    """Settings of a preset.

    Raises
    ------
    ConfigError
        No such preset; the message names the nearest.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; {nearest(name, PRESETS)}")
    return apply(RunConfig(), PRESETS[name], where=f"preset {name}")
