"""Features of a frame, read-only, each computed on first use."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.resize import fit_short_side, resize_rgb
from slimecore.types import Frame
from slimevid.frame.search_region import SearchRegion, full_frame

if TYPE_CHECKING:
    from torch import Tensor

    from slimecore.attention.cross_attention import Features
    from slimecore.backbones import Backbone
    from slimecore.memory.grid_features import GridFeatures
    from slimevid.config import RunConfig

__all__ = ["FrameFeatures"]

_CELL_PIXELS = 8  # pixels of the network's input that a descriptor cell spans


class FrameFeatures:
    """Features of a search region of a frame, computed on first use and never changed.

    Parameters
    ----------
    frame : Frame
    config : RunConfig
    backbone : Backbone or None
        None for propagators that need no model.
    ordinal : int
        Number of the key frame in its pass, 1 for the first after the reference.
    region : SearchRegion, optional
        The full frame by default.
    """

    def __init__(
        self,
        frame: Frame,
        config: RunConfig,
        backbone: Backbone | None,
        ordinal: int = 0,
        region: SearchRegion | None = None,
    ) -> None:
        self.frame = frame
        self.config = config
        self.region = region or full_frame(frame.size)
        self.ordinal = ordinal
        self._backbone = backbone

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the search region, in pixels of the frame."""
        return self.region.height, self.region.width

    def scaled_side(self, full_side: int) -> int:
        """Return the region's short side, in pixels, if the full frame's were `full_side`, magnified by the zoom."""
        return max(1, round(full_side * self.region.zoom * min(self.size) / min(self.frame.size)))

    @property
    def mask_size(self) -> tuple[int, int]:
        """Rows and columns of soft masks."""
        return fit_short_side(self.size, self.scaled_side(self.config.mask_size), 1)

    @cached_property
    def rgb(self) -> Array:
        """Search region at the frame's resolution, (h, w, 3) uint8."""
        return np.ascontiguousarray(self.frame.rgb[self.region.box])

    @cached_property
    def flow_image(self) -> Array:
        """Search region at the size for optical flow, (h, w, 3) uint8."""
        return self.flow_image_of(self.frame.rgb)

    def flow_image_of(self, rgb: Array) -> Array:
        """Return the search region of another frame (H, W, 3) uint8, at the size for optical flow."""
        size = fit_short_side(self.size, self.scaled_side(self.config.flow_size), 1)
        return resize_rgb(np.ascontiguousarray(rgb[self.region.box]), size)

    @cached_property
    def mask_image(self) -> Array:
        """Search region at mask size, (h, w, 3) uint8."""
        return resize_rgb(self.rgb, self.mask_size)

    @property
    def _network(self) -> Backbone:
        if self._backbone is None:
            raise RuntimeError("this propagator was built without a backbone")
        return self._backbone

    @property
    def network_size(self) -> tuple[int, int]:
        """Rows and columns of the network's input."""
        return fit_short_side(self.size, self.scaled_side(self.config.network_size), self._network.multiple)

    @cached_property
    def network_image(self) -> Array:
        """Search region at the size of the network's input, (h, w, 3) uint8."""
        return resize_rgb(self.rgb, self.network_size)

    @cached_property
    def features(self) -> Features:
        """Features of the backbone, a batch of one."""
        from slimecore.imaging.tensors import to_tensor

        return self._network.encode(to_tensor(self.network_image[None], self._network.device))

    @cached_property
    def descriptor(self) -> Tensor:
        """Descriptors (1, D, h, w), without the other features unless those are there already."""
        from slimecore.imaging.tensors import to_tensor

        if "features" in self.__dict__:
            return self.features.descriptor
        return self._network.describe(to_tensor(self.network_image[None], self._network.device))

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the memory grid, on which foreground is assigned to parts."""
        upsampling = self.config.memory.grid_upsampling
        rows, columns = (max(1, side * upsampling // _CELL_PIXELS) for side in self.network_size)
        return rows, columns

    @cached_property
    def grid_features(self) -> GridFeatures:
        """Descriptors and colours on a grid ``memory.grid_upsampling`` times denser than that of the descriptors."""
        from slimecore.memory.grid_features import GridFeatures

        upsampling = self.config.memory.grid_upsampling
        # A colour cell needs two pixels. The network's input has them up to half its stride.
        enough = 2 * upsampling * int(self.descriptor.shape[2]) <= self.network_image.shape[0]
        return GridFeatures.of(self.descriptor, self.network_image if enough else self.rgb, upsampling)
