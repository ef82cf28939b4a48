"""Learn part embeddings in the mode of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slimecore.backbones import Backbone
from slimecore.backbones.stable_diffusion import StableDiffusion
from slimecore.errors import ConfigError
from slimecore.learning.faithful import learn_faithful
from slimecore.learning.probe import learn_parts
from slimecore.pipelines.config import ImageConfig
from slimecore.runtime.progress import Progress
from slimecore.types import Annotation, PartEmbeddings

__all__ = ["learn"]


def learn(
    backbone: Backbone, annotations: Sequence[Annotation], config: ImageConfig, progress: Progress | None = None
) -> PartEmbeddings:
    """Learn part embeddings from annotated pictures.

    The settings of the embeddings record how the model was loaded.

    Parameters
    ----------
    backbone : Backbone
    annotations : sequence of Annotation
        Pictures with their labels, at least one.
    config : ImageConfig
    progress : callable, optional
        Called as ``progress(step, steps, loss)``.

    Returns
    -------
    PartEmbeddings

    Raises
    ------
    InputError
        The annotations do not fit each other or the mode.
    ConfigError
        The mode is faithful and the backbone is no Stable Diffusion UNet.
    """
    if config.mode == "probe":
        embeddings = learn_parts(
            backbone,
            annotations,
            config.probe,
            short_side=config.learning_side,
            seed=config.seed,
            progress=progress,
        )
    elif isinstance(backbone, StableDiffusion):
        embeddings = learn_faithful(
            backbone,
            annotations,
            config.faithful,
            short_side=config.learning_side,
            square=config.square,
            seed=config.seed,
            progress=progress,
        )
    else:
        raise ConfigError("mode=faithful needs a Stable Diffusion backbone; use --mode probe")
    model = {f"model.{name}": getattr(config.model, name) for name in ("revision", "variant", "timestep")}
    return replace(embeddings, settings={**embeddings.settings, **model})
