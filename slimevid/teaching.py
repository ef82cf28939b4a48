"""What is learned before the first frame: parts, from references as their windows will show them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slimecore.backbones import Backbone
from slimecore.learn import Progress, learn_parts
from slimecore.types import Annotation, PartEmbeddings
from slimevid.config import RunConfig
from slimevid.window_plan import WindowPlan

__all__ = ["learned_parts"]


def learned_parts(
    backbone: Backbone, annotations: Sequence[Annotation], config: RunConfig, plan: WindowPlan, progress: Progress
) -> PartEmbeddings:
    """Learn the parts of references, seen as large as their windows show them, in the mean."""
    zooms = [plan.around(a.rows > 0).zoom for a in annotations if not a.empty]
    short_side = round(config.short_side * float(np.mean(zooms)))
    return learn_parts(backbone, annotations, config.learn, short_side=short_side, seed=config.seed, progress=progress)
