"""A propagator that remembers the references, and nothing else yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import ModuleType

from slimecore.backbones import Backbone
from slimecore.segmentation.readout import project_embeddings
from slimecore.types import PartEmbeddings
from slimevid.config import RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.frame.region_planner import RegionPlanner
from slimevid.frame.search_region import full_frame
from slimevid.motion.flows import Flow
from slimevid.propagators import Context, Propagator
from slimevid.references.reference import Reference, one_hot
from slimevid.refinement.network import Refiner

__all__ = ["build_propagator"]


def build_propagator(
    references: Iterable[Reference],
    module: ModuleType,
    config: RunConfig,
    backbone: Backbone | None,
    embeddings: PartEmbeddings | None,
    flow: Flow,
    complete: Refiner,
    plan: RegionPlanner,
) -> Propagator:
    """Build the propagator of a module of ``slimevid/propagators``, and show it the references.

    A reference is seen whole, as large as the parts in it would be in a window.
    """
    references = list(references)
    keys = None
    if backbone is not None and embeddings is not None and module.NEEDS_PARTS:
        keys = project_embeddings(backbone, embeddings)
    parts = len(references[0].annotation.parts)
    device = "cpu" if backbone is None else str(backbone.device)
    propagator: Propagator = module.build(Context(config, parts, flow, keys, device, complete))
    for reference in references:
        rows = reference.annotation.rows
        window = replace(full_frame(reference.frame.size), zoom=plan.around(rows > 0).zoom)
        soft = one_hot(reference.annotation, parts)
        soft[0] -= rows < 0  # what is ignored is not remembered as background
        propagator.remember(FrameFeatures(reference.frame, config, backbone, window=window), soft)
    return propagator
