"""Soft labels kept in two resolutions: whether a place is any part finely, which part it is on a coarser grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from slimecore.array_types import Array
from slimecore.imaging.resize import resize_soft
from slimevid.frame.search_region import SearchRegion, resample_between
from slimevid.motion.warp import resized_sampling_grid, warp_soft

__all__ = ["LabelWarper", "TwoLevelLabels"]


class LabelWarper:
    """Carries labels of the frame before along a flow (h, w, 2) into it.

    Parameters
    ----------
    flow : (h, w, 2) float32
    maps : pair of (h, w) float32
        :func:`slimevid.motion.warp.targets` of it.
    grid : (int, int)
        Rows and columns of what is carried coarsely.
    """

    def __init__(self, flow: Array, maps: tuple[Array, Array], grid: tuple[int, int]) -> None:
        self.flow, self.maps, self.grid = flow, maps, grid

    @cached_property
    def _few(self) -> tuple[Array, Array]:
        return resized_sampling_grid(self.flow, self.grid, (slice(0, self.grid[0]), slice(0, self.grid[1])))

    def carry(self, labels: TwoLevelLabels) -> TwoLevelLabels:
        """Labels of the frame before, the background of any size, the parts on the grid, seen from this one."""
        size = (self.flow.shape[0], self.flow.shape[1])
        ground = warp_soft(resize_soft(labels.background[None], size), self.maps)[0]
        return TwoLevelLabels(ground, warp_soft(labels.parts, self._few) if len(labels.parts) else labels.parts)


@dataclass(frozen=True, slots=True, eq=False)
class TwoLevelLabels:
    """Soft labels.

    Parameters
    ----------
    ground : (h, w) float32
        Probability of the background.
    parts : (P - 1, H, W) float32
        Of the parts. Empty, (0, H, W), where there is one: it is what the background is not.
    """

    background: Array
    parts: Array

    @classmethod
    def of(cls, soft: Array, size: tuple[int, int], grid: tuple[int, int]) -> TwoLevelLabels:
        """Soft labels (P, h, w), brought to a fine size and a coarse one."""
        parts = soft[1:] if len(soft) > 2 else soft[:0]
        return cls(resize_soft(soft[:1], size)[0], resize_soft(parts, grid))

    def to_region(
        self, old: SearchRegion, new: SearchRegion, size: tuple[int, int], grid: tuple[int, int]
    ) -> TwoLevelLabels:
        """What was seen of one window, in another."""
        ground = resample_between(self.background[None], old, new, size)[0]
        return TwoLevelLabels(ground, resample_between(self.parts, old, new, grid, outside=0.0))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.background.nbytes + self.parts.nbytes

    def arrays(self, name: str) -> dict[str, Array]:
        """For a snapshot, under names that begin with one."""
        return {f"{name}.ground": self.background, f"{name}.parts": self.parts}

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, Array]) -> TwoLevelLabels:
        """What :meth:`arrays` gave."""
        return cls(arrays[f"{name}.ground"], arrays[f"{name}.parts"])
