"""A propagator that remembers the references, and nothing else yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import ModuleType

from slimecore.backbones import Backbone
from slimecore.segment import prepare
from slimecore.types import PartEmbeddings
from slimevid.completion import Complete
from slimevid.config import RunConfig
from slimevid.flows import Flow
from slimevid.propagators import Context, Propagator
from slimevid.reference_frame import Reference, one_hot
from slimevid.state import FrameState
from slimevid.window import whole
from slimevid.window_plan import WindowPlan

__all__ = ["remembering"]


def remembering(
    references: Iterable[Reference],
    module: ModuleType,
    config: RunConfig,
    backbone: Backbone | None,
    embeddings: PartEmbeddings | None,
    flow: Flow,
    complete: Complete,
    plan: WindowPlan,
) -> Propagator:
    """Build the propagator of a module of ``slimevid/propagators``, and show it the references.

    A reference is seen whole, as large as the parts in it would be in a window.
    """
    references = list(references)
    keys = None
    if backbone is not None and embeddings is not None and module.NEEDS_PARTS:
        keys = prepare(backbone, embeddings)
    parts = len(references[0].annotation.parts)
    device = "cpu" if backbone is None else str(backbone.device)
    propagator: Propagator = module.build(Context(config, parts, flow, keys, device, complete))
    for reference in references:
        rows = reference.annotation.rows
        window = replace(whole(reference.frame.size), zoom=plan.around(rows > 0).zoom)
        soft = one_hot(reference.annotation, parts)
        soft[0] -= rows < 0  # what is ignored is not remembered as background
        propagator.remember(FrameState(reference.frame, config, backbone, window=window), soft)
    return propagator
