"""Learn from the references before the first frame: part embeddings, and the refinement network's adaptation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from slimecore.backbones import Backbone
from slimecore.io.embeddings import require_parts
from slimecore.learning.probe import learn_parts
from slimecore.runtime.progress import Progress
from slimecore.types import Annotation, PartEmbeddings
from slimevid.config import RunConfig
from slimevid.frame.region_planner import RegionPlanner
from slimevid.propagators import Traits
from slimevid.refinement.adaptation import ProgressCounter, Session, adapt
from slimevid.refinement.network import RefinementNet, Refiner

__all__ = ["Learned", "learn_from_references"]

Learned = tuple[PartEmbeddings | None, RefinementNet | None]
"""Part embeddings, and the refinement network adapted to the clip."""


def learn_from_references(
    annotations: Sequence[Annotation],
    known: Learned,
    config: RunConfig,
    traits: Traits,
    backbone: Backbone | None,
    refiner: Refiner,
    make_session: Callable[[PartEmbeddings | None, Refiner], Session],
    progress: Progress | None = None,
) -> Learned:
    """Learn the embeddings, and adapt the refinement network, unless known already or unused by the propagator.

    Parameters
    ----------
    annotations : sequence of Annotation
        Of all references, with a common set of parts.
    known : Learned
        Results of earlier learning, or None each.
    config : RunConfig
    traits : Traits
    backbone : Backbone or None
    refiner : Refiner
        The network before adaptation.
    make_session : callable(PartEmbeddings or None, Refiner)
        Makes a session that segments synthetic clips.
    progress : callable(step, steps, loss), optional

    Returns
    -------
    Learned

    Raises
    ------
    ArtifactError
        Known embeddings are of other parts.
    """
    embeddings, adapted = known
    adapts = adapted is None and traits.refinement and config.fusion.refinement_limit > 0
    clips = config.adaptation_clips if adapts else 0
    counter = ProgressCounter(progress, clips)
    if backbone is not None and traits.needs_embeddings:
        if embeddings is None:
            size = _learning_size(annotations, config, traits)
            embeddings = learn_parts(
                backbone, annotations, config.learn, short_side=size, seed=config.seed, progress=counter.learned
            )
        require_parts(embeddings, annotations[0].parts, "part embeddings")
    if clips:
        marked = [annotation for annotation in annotations if not annotation.empty]
        session = partial(make_session, embeddings)
        adapted = adapt(marked, clips, session, refiner, config.seed, counter.dreamt)
    return embeddings, adapted


def _learning_size(annotations: Sequence[Annotation], config: RunConfig, traits: Traits) -> int:
    """Return the short side at which parts are as large as in their search regions, on average, in pixels."""
    planner = RegionPlanner(config.max_zoom if traits.search_region else 1.0)
    zooms = [planner.around(a.rows > 0).zoom for a in annotations if not a.empty]
    return round(config.network_size * float(np.mean(zooms)))
