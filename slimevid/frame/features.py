"""What is known of one frame while it is being labelled; each product is made once, when first asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slimecore.imaging.boxes import Box
from slimecore.imaging.resize import fit_short_side, resize_rgb
from slimecore.types import Frame
from slimevid.frame.search_region import SearchRegion, full_frame

if TYPE_CHECKING:
    from torch import Tensor

    from slimecore.attention.cross_attention import Features
    from slimecore.backbones import Backbone
    from slimecore.memory.grid_features import GridFeatures
    from slimevid.config import RunConfig

__all__ = ["FrameFeatures", "Motion"]

Motion = tuple[npt.NDArray[Any], npt.NDArray[Any]]


class FrameFeatures:
    """Lazy per-frame products.

    Parameters
    ----------
    frame : Frame
    config : RunConfig
    backbone : Backbone or None
        None for propagators that need no model.
    ordinal : int
        Frames labelled in full since the reference the pass began with, this one included.
    window : Window, optional
        What is looked at; the whole picture by default. All products are of it.

    Attributes
    ----------
    motion : pair of (h, w, 2) float32, or None
        Flow, at the size of `small`, into the frame labelled before this one and back, where it was made ahead.
    apart : int
        Steps of that motion.
    between : tuple of FrameState
        Frames between the two, which are not labelled in full.
    steps : tuple of pairs of (h, w, 2) float32
        Flow of every step through them: into the frame before, and back.
    shown : (Box, (h, w) float32), or None
        Where at the working size labels were worked out, and the log-odds to add there to all parts in what is shown of
        this frame, but not in what is carried on.
    """

    def __init__(
        self,
        frame: Frame,
        config: RunConfig,
        backbone: Backbone | None,
        ordinal: int = 0,
        window: SearchRegion | None = None,
    ) -> None:
        self.frame = frame
        self.config = config
        self.window = window or full_frame(frame.size)
        self.ordinal = ordinal
        self.motion: Motion | None = None
        self.flow_steps = 1
        self.skipped_frames: tuple[FrameFeatures, ...] = ()
        self.step_flows: tuple[Motion, ...] = ()
        self.display_correction: tuple[Box, npt.NDArray[Any]] | None = None
        self._backbone = backbone

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the window, pixels of the frame."""
        return self.window.height, self.window.width

    def scaled_side(self, whole_side: int) -> int:
        """Short side of the window where that of the whole picture would be `whole_side`, but for the zoom."""
        return max(1, round(whole_side * self.window.zoom * min(self.size) / min(self.frame.size)))

    @property
    def work_size(self) -> tuple[int, int]:
        """Rows and columns of soft masks."""
        return fit_short_side(self.size, self.scaled_side(self.config.mask_size), 1)

    @cached_property
    def rgb(self) -> npt.NDArray[Any]:
        """(h, w, 3) uint8, what the window shows."""
        return np.ascontiguousarray(self.frame.rgb[self.window.box])

    @cached_property
    def flow_image(self) -> npt.NDArray[Any]:
        """(h, w, 3) uint8, the same at the size at which motion is seen."""
        return self.flow_image_of(self.frame.rgb)

    def flow_image_of(self, rgb: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What this window shows of another frame, at the size at which motion is seen."""
        size = fit_short_side(self.size, self.scaled_side(self.config.flow_size), 1)
        return resize_rgb(np.ascontiguousarray(rgb[self.window.box]), size)

    @cached_property
    def work_image(self) -> npt.NDArray[Any]:
        """(h, w, 3) uint8, the same at the working size."""
        return resize_rgb(self.rgb, self.work_size)

    @cached_property
    def features(self) -> Features:
        """Features of the picture at the network's size, batch of one."""
        from slimecore.imaging.tensors import to_tensor

        return self._network.encode(to_tensor(self.network_image[None], self._network.device))

    @property
    def _network(self) -> Backbone:
        if self._backbone is None:
            raise RuntimeError("this propagator was built without a backbone")
        return self._backbone

    @property
    def network_size(self) -> tuple[int, int]:
        """Rows and columns of what the network sees of the window."""
        return fit_short_side(self.size, self.scaled_side(self.config.network_size), self._network.multiple)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns at which parts are told apart: the memory's places, where descriptors span 8 pixels."""
        rows, columns = (max(1, side * self.config.memory.grid_upsampling // 8) for side in self.network_size)
        return rows, columns

    @cached_property
    def network_image(self) -> npt.NDArray[Any]:
        """(h, w, 3) uint8, the window at the network's size."""
        return resize_rgb(self.rgb, self.network_size)

    @cached_property
    def descriptor(self) -> Tensor:
        """(1, D, h, w) descriptors; without the rest of the features when those were not asked for before."""
        from slimecore.imaging.tensors import to_tensor

        if "features" in self.__dict__:
            return self.features.descriptor
        return self._network.describe(to_tensor(self.network_image[None], self._network.device))

    @cached_property
    def grid_features(self) -> GridFeatures:
        """Descriptors and colours on a grid ``memory.grid_upsampling`` times denser than that of the descriptors."""
        from slimecore.memory.grid_features import GridFeatures

        detail = self.config.memory.grid_upsampling
        # Colours need two pixels a place: what the network sees has them up to half its stride.
        enough = 2 * detail * int(self.descriptor.shape[2]) <= self.network_image.shape[0]
        return GridFeatures.of(self.descriptor, self.network_image if enough else self.rgb, detail)
