"""Settings of a video run and its presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from slimecore.backbones import ModelSpec
from slimecore.config import apply, constant, load_yaml, suggest_nearest
from slimecore.errors import ConfigError
from slimecore.learning.probe_config import LearnConfig
from slimecore.memory.config import MemoryConfig

__all__ = ["PRESETS", "FusionConfig", "RunConfig", "as_config", "preset"]


@dataclass(frozen=True, slots=True)
class FusionConfig:
    """How the cues of a frame are combined: weighted log-odds decide foreground, then log-likelihoods decide the part.

    Fields made by :func:`slimecore.config.constant` are fixed numbers of the method, not settings.

    Parameters
    ----------
    appearance_weight : float
        Weight of the map of the learned part embeddings (WAS-attention). 0 leaves it out.
    appearance_interval : int
        Key frames between two such maps. Between them the last map is warped by the flow.
    memory_weight : float
        Weight of the read-out of the mask memory. 0 leaves the memory out.
    flow_weight : float
        Weight of the flow-warped previous labels, scaled by the reliability of the flow at each pixel.
    background_motion_weight : float
        Weight of the evidence for background at pixels that move with the background while the part does not.
    search_radius : float
        Distance from the predicted position of the parts, as a share of the short side, within which they are found
        without penalty while all of them are visible. 0 removes the spatial prior.
    probability_floor : float
        Share of the uniform distribution mixed into every cue, 0..1, so that no cue can veto the others.
    color_weight : float
        Weight of the log-odds of a pixel's colour under the colour histograms of the references.
    refinement_limit : float
        Largest log-odds that the refinement network may add. 0 leaves the network out.
    motion_gate : float
        Colour and refinement network add log-odds, all of which are displayed. Propagated is the smaller of these and
        of `motion_gate` times the support by motion, at least 0. 0 propagates nothing of them.
    guided_filter_radius : int
        Radius of the guided filter at full size, in pixels of a frame of 480 lines, 0..100. 0 leaves the filter out.
    presence_threshold : float
        A part is reported as present if the mean probability of its strongest pixels reaches this value, 0..1.

    Raises
    ------
    ConfigError
        A value is out of range.
    """

    appearance_weight: float = 0.15
    appearance_interval: int = 3
    memory_weight: float = 1.0
    flow_weight: float = 0.5
    background_motion_weight: float = 1.0
    search_radius: float = 0.1
    probability_floor: float = constant(0.02)
    color_weight: float = 0.3
    refinement_limit: float = 4.0
    motion_gate: float = 1.0
    guided_filter_radius: int = 8
    presence_threshold: float = 0.4

    RENAMED = MappingProxyType(
        {
            "parts": "appearance_weight",
            "parts_every": "appearance_interval",
            "memory": "memory_weight",
            "memory_every": "",
            "flow": "flow_weight",
            "parts_apart": "",
            "flow_apart": "",
            "motion": "background_motion_weight",
            "motion_limit": "",
            "reach": "search_radius",
            "floor": "",
            "flow_tolerance": "",
            "colours": "color_weight",
            "completion": "refinement_limit",
            "feedback": "motion_gate",
            "refine": "guided_filter_radius",
            "refine_eps": "",
            "present": "presence_threshold",
        }
    )

    def __post_init__(self) -> None:
        for name in (
            "appearance_weight",
            "memory_weight",
            "flow_weight",
            "background_motion_weight",
            "search_radius",
            "color_weight",
            "refinement_limit",
            "motion_gate",
        ):
            if getattr(self, name) < 0:
                raise ConfigError(f"fusion.{name} must not be negative, got {getattr(self, name)}")
        if self.appearance_interval < 1:
            raise ConfigError(f"fusion.appearance_interval must be at least 1, got {self.appearance_interval}")
        if not 0 <= self.probability_floor < 1:
            raise ConfigError(f"fusion.probability_floor must lie in 0..1, got {self.probability_floor}")
        if not 0 <= self.presence_threshold <= 1:
            raise ConfigError(f"fusion.presence_threshold must lie in 0..1, got {self.presence_threshold}")
        if not 0 <= self.guided_filter_radius <= 100:
            raise ConfigError(f"fusion.guided_filter_radius must lie in 0..100 pixels, got {self.guided_filter_radius}")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Settings of ``slimevid run`` and of :class:`slimevid.Segmenter`.

    Parameters
    ----------
    network_size : int
        Short side of the network's input, 32..4096 pixels.
    flow_size : int
        Short side of the images between which optical flow is estimated, 32..4096 pixels.
    mask_size : int
        Short side of soft masks, 32..4096 pixels.
    max_zoom : float
        Largest magnification of the search region around small parts, 1..16. 1 always processes the full frame.
    keyframe_interval : int
        Every n-th frame, and the last one, is a key frame and is labelled in full, 1..100. Labels of the frames
        between two key frames are interpolated along the flow. Frames given one by one
        (:meth:`slimevid.Segmenter.step`) are all labelled in full.
    bidirectional_span : int
        Frames after which labels are also propagated backward, 0..10000. The result is the mean of both directions. 0
        propagates forward only, as for frames given one by one.
    adaptation_clips : int
        Synthetic clips ("lucid dreams" of the references) on which the refinement network is adapted before the first
        frame, 0..1000. 0 takes the network as shipped.
    propagator : str
        File of ``slimevid/propagators``, path of a Python file, or entry point.
    flow : str
        File of ``slimevid/motion/flows``, path of a Python file, or entry point.
    cues : tuple of str
        Further cues (:mod:`slimevid.cues`): paths of Python files, or entry points.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    seed : int
        Seed of everything random.
    model : ModelSpec
        Backbone and weights.
    learn : LearnConfig
        Learning of part embeddings.
    memory : MemoryConfig
        The mask memory.
    fusion : FusionConfig
        Combination of the cues.

    Raises
    ------
    ConfigError
        A value is out of range.
    """

    network_size: int = 256
    flow_size: int = 240
    mask_size: int = 320
    max_zoom: float = 2.0
    keyframe_interval: int = 2
    bidirectional_span: int = 0
    adaptation_clips: int = 0
    propagator: str = "fused"
    flow: str = "dis"
    cues: tuple[str, ...] = ()
    device: str = "auto"
    seed: int = 0
    model: ModelSpec = field(default_factory=lambda: ModelSpec(dtype="half"))
    learn: LearnConfig = field(default_factory=LearnConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)

    RENAMED = MappingProxyType(
        {
            "short_side": "network_size",
            "flow_side": "flow_size",
            "work_side": "mask_size",
            "zoom": "max_zoom",
            "key_every": "keyframe_interval",
            "bidirectional": "bidirectional_span",
            "dreams": "adaptation_clips",
        }
    )

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must lie in 0..2^63 - 1, got {self.seed}")
        for name, low, high, unit in (
            ("network_size", 32, 4096, " pixels"),
            ("flow_size", 32, 4096, " pixels"),
            ("mask_size", 32, 4096, " pixels"),
            ("max_zoom", 1, 16, ""),
            ("keyframe_interval", 1, 100, " frames"),
            ("bidirectional_span", 0, 10_000, " frames"),
            ("adaptation_clips", 0, 1000, ""),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} must lie in {low}..{high}{unit}, got {value}")


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "fast": {
        "network_size": 192,
        "flow_size": 192,
        "mask_size": 192,
        "keyframe_interval": 3,
        "memory": {"grid_upsampling": 3, "key_dims": 24, "keys_per_frame": 600, "write_interval": 1},
        "fusion": {"appearance_interval": 2, "refinement_limit": 0.0, "color_weight": 0.6},
    },
    "balanced": {},
    "quality": {
        "flow_size": 320,
        "mask_size": 480,
        "keyframe_interval": 1,
        "bidirectional_span": 24,
        "adaptation_clips": 8,
        "memory": {"keys_per_frame": 1500, "recent_frames": 5},
    },
}


def preset(name: str) -> RunConfig:
    """Return the settings of a preset.

    Raises
    ------
    ConfigError
        No such preset. The message names the nearest.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; {suggest_nearest(name, PRESETS)}")
    return apply(RunConfig(), PRESETS[name], where=f"preset {name}")


def as_config(config: RunConfig | str | Path | None) -> RunConfig:
    """Return settings as given, those of a preset, those of a YAML file, or the defaults.

    Raises
    ------
    ConfigError
        No such preset or file, or a value is out of range.
    """
    if config is None or isinstance(config, RunConfig):
        return config or RunConfig()
    if isinstance(config, str) and not config.endswith((".yaml", ".yml")):
        return preset(config)
    return apply(RunConfig(), load_yaml(Path(config)), where=str(config))
