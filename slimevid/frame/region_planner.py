"""Plan the search region of each key frame, two key frames ahead, since the next frame is being prepared already."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Spans, bounding_spans
from slimevid.frame.search_region import SearchRegion, full_frame, next_region, region_around

__all__ = ["RegionPlanner"]

_FULL_FRAME_INTERVAL = 8  # frames between two full frames while a part is missing


class RegionPlanner:
    """Search regions of the key frames to come.

    Parameters
    ----------
    max_zoom : float
        Largest magnification. 1 always gives the full frame.
    keyframe_interval : int
        Every n-th frame is a key frame, at least 1.
    """

    def __init__(self, max_zoom: float, keyframe_interval: int = 1) -> None:
        self._max_zoom = max_zoom
        self._full_frame_interval = max(2, _FULL_FRAME_INTERVAL // keyframe_interval)  # in key frames
        self._regions: dict[int, SearchRegion] = {}
        self._extent: Spans | None = None

    @property
    def follows(self) -> bool:
        """True if regions depend on the position of the parts."""
        return self._max_zoom > 1

    def around(self, mask: Array) -> SearchRegion:
        """Return the region around the parts, given by a mask (h, w) bool of the frame."""
        return region_around(bounding_spans(mask), (int(mask.shape[0]), int(mask.shape[1])), self._max_zoom)

    def start(self, mask: Array) -> SearchRegion:
        """Restart at a frame whose parts are given by a mask (h, w) bool. Return its region."""
        region = self.around(mask)
        self._regions, self._extent = {1: region, 2: region}, bounding_spans(mask)
        return region

    def at(self, ordinal: int) -> SearchRegion:
        """Return the region of a key frame, known once the key frame two before it was observed."""
        return self._regions[ordinal]

    def observe(self, ordinal: int, extent: Spans | None, size: tuple[int, int], *, complete: bool) -> None:
        """Plan the region of the key frame after the next.

        Parameters
        ----------
        ordinal : int
            Number of the key frame that was labelled.
        extent : Spans or None
            Rows and columns of its parts.
        size : (int, int)
            Rows and columns of the frame.
        complete : bool
            All parts are visible. A missing part may reappear anywhere.
        """
        region = next_region(self._regions[ordinal + 1], self._extent, extent, size, self._max_zoom)
        follow = complete or ordinal % self._full_frame_interval
        self._regions[ordinal + 2] = region if follow else full_frame(size)
        self._regions.pop(ordinal - 1, None)
        self._extent = extent

    def snapshot(self, ordinal: int) -> dict[str, Array]:
        """Return the state that decides the regions from a key frame on, as named arrays."""
        regions = np.stack([self._regions[ordinal + i].to_array() for i in (0, 1)])
        return {"regions": regions, "extent": np.array(self._extent or (), np.int64)}

    def restore(self, ordinal: int, state: Mapping[str, Array]) -> None:
        """Continue from a :meth:`snapshot`."""
        self._regions = {ordinal + i: SearchRegion.from_array(row) for i, row in enumerate(state["regions"])}
        self._extent = None
        if state["extent"].size:
            rows, columns = state["extent"].tolist()
            self._extent = (rows[0], rows[1]), (columns[0], columns[1])
