"""Propagators: how labels get from one frame to the next. One file each, holding ``build(context) -> Propagator``.

A file sets ``NEEDS_MODEL`` (a backbone must be loaded), ``NEEDS_PARTS`` (parts must have been learned with it) and
``REFINE`` (its soft labels are coarse and want the edge-aware filter at full size) and ``WINDOWED`` (it looks through
a window that follows the parts, and what it returns is of that window) and ``COMPLETED`` (it asks the completing
network, which is then worth adapting to the clip) and ``KEYED`` (it labels key frames, and those between them take
their labels from these: see :mod:`slimevid.session.keyframes`). ``AHEAD`` is None, or a function of a frame's state,
that of the
frame labelled before it (or None) and a flow: it makes, in another thread and while that frame is still being labelled,
what a step needs and labels do not decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy.typing as npt

if TYPE_CHECKING:
    from slimecore.segmentation.readout import PartKeys
    from slimevid.config import RunConfig
    from slimevid.frame.features import FrameFeatures
    from slimevid.motion.flows import Flow
    from slimevid.refinement.network import Refiner

__all__ = ["Ahead", "Context", "Propagator"]

Ahead: TypeAlias = "Callable[[FrameFeatures, FrameFeatures | None, Flow], None]"


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a propagator may use.

    Parameters
    ----------
    config : RunConfig
    parts : int
        Parts with the background.
    flow : Flow
    keys : ReadKeys or None
        Learned parts, projected; None when the propagator needs none.
    device : str
        Where the model computes.
    complete : Complete or None
        The completing network.
    """

    config: RunConfig
    parts: int
    flow: Flow
    keys: PartKeys | None
    device: str = "cpu"
    complete: Refiner | None = None


class Propagator(Protocol):
    """Labels of the frames of a clip, one after the other."""

    def remember(self, state: FrameFeatures, soft: npt.NDArray[Any]) -> None:
        """Take a reference for good: its labels (P, h, w) float32 at the clip's size.

        They sum to 1 over parts, or to 0 where a pixel is marked as one to ignore.
        """
        ...

    def start(self, state: FrameFeatures, soft: npt.NDArray[Any]) -> None:
        """Go on from a frame, which was remembered before: the next step is its neighbour."""
        ...

    def step(self, state: FrameFeatures) -> npt.NDArray[Any]:
        """Label the next frame: (P, h, w) float32 at any size, summing to 1 over parts.

        These are the labels that are carried on. A propagator that shows more than it carries on says in
        ``state.shown`` where, and what to add.
        """
        ...

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Everything that later steps depend on, as named arrays."""
        ...

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over a :meth:`snapshot`: steps from here are the same, bit for bit."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of what is remembered between frames."""
        ...
