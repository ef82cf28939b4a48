"""What is learned before the first frame: parts, from references as their windows will show them, and from dreams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import numpy as np

from slimecore.backbones import Backbone
from slimecore.io.embeddings import require_parts
from slimecore.learning.probe import learn_parts
from slimecore.runtime.progress import Progress
from slimecore.types import Annotation, PartEmbeddings
from slimevid.config import RunConfig
from slimevid.frame.region_planner import RegionPlanner
from slimevid.refinement.adaptation import ProgressCounter, Session, adapt
from slimevid.refinement.network import RefinementNet, Refiner

__all__ = ["Teacher"]


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """Learns what a session needs to know of its references.

    Parameters
    ----------
    module : module
        Of ``slimevid/propagators``: says what it needs.
    config : RunConfig
    backbone : Backbone or None
    plan : WindowPlan
    session : callable(PartEmbeddings or None, Complete)
        Makes a session that segments dreams.
    network : Complete
        What is adapted.
    """

    module: ModuleType
    config: RunConfig
    backbone: Backbone | None
    plan: RegionPlanner
    session: Callable[[PartEmbeddings | None, Refiner], Session]
    network: Refiner

    def taught(
        self,
        annotations: Sequence[Annotation],
        known: PartEmbeddings | None,
        adapted: RefinementNet | None,
        progress: Progress | None,
    ) -> tuple[PartEmbeddings | None, RefinementNet | None]:
        """Part embeddings and the adapted network; those `known` and `adapted` before are handed on.

        Raises
        ------
        ArtifactError
            The embeddings are of other parts.
        """
        adapts = adapted is None and self.module.COMPLETED and self.config.fusion.refinement_limit > 0
        dreams = self.config.adaptation_clips if adapts else 0
        counted = ProgressCounter(progress, dreams)
        if self.backbone is not None and self.module.NEEDS_PARTS:
            known = known or self._learned(self.backbone, annotations, counted.learned)
            require_parts(known, annotations[0].parts, "part embeddings")
        if dreams:
            seen = [one for one in annotations if not one.empty]
            session = partial(self.session, known)
            adapted = adapt(seen, dreams, session, self.network, self.config.seed, counted.dreamt)
        return known, adapted

    def _learned(self, backbone: Backbone, annotations: Sequence[Annotation], progress: Progress) -> PartEmbeddings:
        """Parts, seen as large as the windows of the references show them, in the mean."""
        zooms = [self.plan.around(a.rows > 0).zoom for a in annotations if not a.empty]
        short_side = round(self.config.network_size * float(np.mean(zooms)))
        config, seed = self.config.learn, self.config.seed
        return learn_parts(backbone, annotations, config, short_side=short_side, seed=seed, progress=progress)
