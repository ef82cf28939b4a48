"""Plug-ins that carry labels from frame to frame, one file each.

``fused`` is the default, the others are baselines. A file holds ``TRAITS``, a :class:`Traits`, and
``build(context) -> Propagator``. It is found by its file name (``--propagator NAME``) or by
its path (``--propagator path/to/file.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from slimecore.array_types import Array
from slimecore.errors import ConfigError
from slimecore.runtime import plugins

if TYPE_CHECKING:
    from slimecore.segmentation.readout import PartKeys
    from slimevid.config import RunConfig
    from slimevid.frame.features import FrameFeatures
    from slimevid.fusion.motion_gate import DisplayCorrection
    from slimevid.motion.composition import StepMotion
    from slimevid.motion.flows import Flow
    from slimevid.refinement.network import Refiner

__all__ = ["Context", "Propagator", "StepResult", "Traits", "load_propagator"]


@dataclass(frozen=True, slots=True)
class Traits:
    """Needs of a propagator that the session fulfils. The defaults are those of the simplest baseline.

    Parameters
    ----------
    needs_model : bool
        A backbone must be loaded.
    needs_embeddings : bool
        Part embeddings must have been learned with that backbone.
    guided_filter : bool
        Soft labels are coarse, and follow image edges after the guided filter at full size.
    search_region : bool
        The propagator works in a search region that follows the parts, and returns labels of that region.
    refinement : bool
        The propagator uses the refinement network, so adapting the network to a clip pays.
    keyframes : bool
        Only key frames are labelled in full. Labels of the frames between are interpolated along the flow.
    motion : bool
        The session estimates the motion of every step ahead, in another thread.
    prefetch : callable(FrameFeatures), optional
        Computes in another thread the features of a frame that a step reads.
    """

    needs_model: bool = False
    needs_embeddings: bool = False
    guided_filter: bool = False
    search_region: bool = False
    refinement: bool = False
    keyframes: bool = False
    motion: bool = False
    prefetch: Callable[[FrameFeatures], object] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """Everything a propagator may use.

    Parameters
    ----------
    config : RunConfig
    parts : int
        Number of parts, the background included.
    flow : Flow
        Flow method for motion that was not estimated ahead.
    keys : PartKeys or None
        Projected part embeddings. None if the propagator needs none.
    device : str
        Device of the backbone.
    refiner : Refiner or None
        Refinement network.
    """

    config: RunConfig
    parts: int
    flow: Flow
    keys: PartKeys | None
    device: str = "cpu"
    refiner: Refiner | None = None


@dataclass(frozen=True, slots=True, eq=False)
class StepResult:
    """Labels of a frame.

    Parameters
    ----------
    labels : (P, h, w) float32
        Propagated probabilities at any size, summing to 1 over P.
    correction : DisplayCorrection, optional
        Log-odds that are displayed but not propagated.
    """

    labels: Array
    correction: DisplayCorrection | None = None

    @property
    def displayed(self) -> Array:
        """Labels to display, (P, h, w) float32."""
        return self.labels if self.correction is None else self.correction.applied_to(self.labels)


class Propagator(Protocol):
    """Label the frames of a clip, each after the other."""

    def remember(self, features: FrameFeatures, soft: Array) -> None:
        """Remember a reference for good.

        Parameters
        ----------
        features : FrameFeatures
            Of the reference frame.
        soft : (P, h, w) float32
            Labels at the clip's size, summing to 1 over P, or to 0 at ignored pixels.
        """
        ...

    def start(self, features: FrameFeatures, soft: Array) -> None:
        """Continue from a remembered frame. The next step is its neighbour. Parameters as of :meth:`remember`."""
        ...

    def step(self, features: FrameFeatures, motion: StepMotion | None = None) -> StepResult:
        """Label the next frame.

        Parameters
        ----------
        features : FrameFeatures
        motion : StepMotion, optional
            Motion into the frame labelled before, if the session estimated it ahead.

        Returns
        -------
        StepResult
        """
        ...

    def snapshot(self) -> dict[str, Array]:
        """Return everything that later steps depend on, as named arrays."""
        ...

    def restore(self, state: Mapping[str, Array]) -> None:
        """Continue from a :meth:`snapshot`. All later steps are equal, bit for bit."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes remembered between frames."""
        ...


def load_propagator(name: str) -> tuple[Traits, Callable[[Context], Propagator]]:
    """Load a propagator's traits and its ``build`` function.

    Raises
    ------
    UnknownPlugin
        No implementation of that name.
    ConfigError
        The file has no ``TRAITS`` or no ``build``.
    """
    module = plugins.load(__name__, name)
    traits = getattr(module, "TRAITS", None)
    if not isinstance(traits, Traits):
        raise ConfigError(f"propagator {name!r}: {module.__file__} must define TRAITS = Traits(...)")
    return traits, module.build
