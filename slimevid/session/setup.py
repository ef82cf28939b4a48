"""Set up a session: load the backbone, and build a tracker whose memory holds the references."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from slimecore.backbones import Backbone, load_model
from slimecore.runtime import plugins
from slimecore.segmentation.readout import project_embeddings
from slimecore.types import PartEmbeddings
from slimevid.config import RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.frame.region_planner import RegionPlanner
from slimevid.frame.search_region import full_frame
from slimevid.motion.flows import Flow
from slimevid.propagators import Context, load_propagator
from slimevid.references.reference import Reference, one_hot
from slimevid.refinement.network import Refiner
from slimevid.session.schedule import Schedule
from slimevid.session.tracker import Tracker

__all__ = ["backbone_for", "build_tracker"]


def backbone_for(config: RunConfig, given: Backbone | None = None) -> Backbone | None:
    """Return the given backbone, or load the configured backbone. None if the propagator needs no model."""
    traits, _ = load_propagator(config.propagator)
    _new_flow(config)  # an unknown flow is reported before weights are read
    if not traits.needs_model:
        return None
    return given or load_model(config.model, config.device, config.seed)


def build_tracker(
    references: Collection[Reference],
    config: RunConfig,
    backbone: Backbone | None,
    embeddings: PartEmbeddings | None,
    refiner: Refiner,
) -> Tracker:
    """Build a tracker and let its propagator remember the references.

    A reference is processed as a full frame, magnified as the search region around its parts would be.

    Parameters
    ----------
    references : collection of Reference
        With a common set of parts.
    config : RunConfig
    backbone : Backbone or None
    embeddings : PartEmbeddings or None
    refiner : Refiner
        Refinement network.

    Returns
    -------
    Tracker
    """
    traits, build = load_propagator(config.propagator)
    keys = None
    if backbone is not None and embeddings is not None and traits.needs_embeddings:
        keys = project_embeddings(backbone, embeddings)
    parts = len(next(iter(references)).annotation.parts)
    device = "cpu" if backbone is None else str(backbone.device)
    propagator = build(Context(config, parts, _new_flow(config), keys, device, refiner))
    zoom = config.max_zoom if traits.search_region else 1.0
    planner = RegionPlanner(zoom, Schedule.of(config, traits).keyframe_interval)
    for reference in references:
        rows = reference.annotation.rows
        region = replace(full_frame(reference.frame.size), zoom=planner.around(rows > 0).zoom)
        soft = one_hot(reference.annotation, parts)
        soft[0] -= rows < 0  # ignored pixels are not remembered as background
        propagator.remember(FrameFeatures(reference.frame, config, backbone, region=region), soft)
    return Tracker(config, traits, propagator, backbone, planner, _new_flow(config))


def _new_flow(config: RunConfig) -> Flow:
    """Build a flow. Each thread needs one of its own, because flows keep working memory."""
    flow: Flow = plugins.load("slimevid.motion.flows", config.flow).build()
    return flow
