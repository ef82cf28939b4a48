"""Soft labels at two resolutions: the foreground finely, the parts on a coarser grid."""

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
    """Warp labels of the previous frame to the present one.

    Parameters
    ----------
    flow : (h, w, 2) float32
        From the present frame into the previous one, in pixels.
    maps : pair of (h, w) float32
        :func:`slimevid.motion.warp.sampling_grid` of `flow`.
    grid : (int, int)
        Rows and columns of the coarse level.
    """

    def __init__(self, flow: Array, maps: tuple[Array, Array], grid: tuple[int, int]) -> None:
        self.flow, self.maps, self.grid = flow, maps, grid

    @cached_property
    def _coarse_maps(self) -> tuple[Array, Array]:
        return resized_sampling_grid(self.flow, self.grid, (slice(0, self.grid[0]), slice(0, self.grid[1])))

    def warp(self, labels: TwoLevelLabels) -> TwoLevelLabels:
        """Return labels of the previous frame as seen from the present one, the fine level at the flow's size."""
        size = (self.flow.shape[0], self.flow.shape[1])
        background = warp_soft(resize_soft(labels.background[None], size), self.maps)[0]
        return TwoLevelLabels(
            background, warp_soft(labels.parts, self._coarse_maps) if len(labels.parts) else labels.parts
        )


@dataclass(frozen=True, slots=True, eq=False)
class TwoLevelLabels:
    """Soft labels: a fine background and coarse parts.

    Parameters
    ----------
    background : (h, w) float32
        Probability of the background.
    parts : (P - 1, H, W) float32
        Probabilities of the parts. Empty, ``(0, H, W)``, for a single part, which is the complement of the background.
    """

    background: Array
    parts: Array

    @classmethod
    def of(cls, soft: Array, size: tuple[int, int], grid: tuple[int, int]) -> TwoLevelLabels:
        """Resize soft labels to a fine and a coarse level.

        Parameters
        ----------
        soft : (P, h', w') float32
        size, grid : (int, int)
            Rows and columns of the fine and the coarse level.
        """
        parts = soft[1:] if len(soft) > 2 else soft[:0]
        return cls(resize_soft(soft[:1], size)[0], resize_soft(parts, grid))

    def to_region(
        self, old: SearchRegion, new: SearchRegion, size: tuple[int, int], grid: tuple[int, int]
    ) -> TwoLevelLabels:
        """Resample the labels of a search region to another region.

        Parameters
        ----------
        old, new : SearchRegion
        size, grid : (int, int)
            Rows and columns of the fine and the coarse level in the new region.
        """
        background = resample_between(self.background[None], old, new, size)[0]
        return TwoLevelLabels(background, resample_between(self.parts, old, new, grid, outside=0.0))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.background.nbytes + self.parts.nbytes

    def arrays(self, name: str) -> dict[str, Array]:
        """Return the arrays of a snapshot, their keys prefixed with `name`."""
        return {f"{name}.background": self.background, f"{name}.parts": self.parts}

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, Array]) -> TwoLevelLabels:
        """Restore labels from :meth:`arrays`."""
        return cls(arrays[f"{name}.background"], arrays[f"{name}.parts"])
