"""Which window each frame is looked at through, decided two frames ahead: the next one is being prepared already."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Spans, bounding_spans
from slimevid.frame.search_region import SearchRegion, full_frame, next_region, region_around

__all__ = ["RegionPlanner"]

_GLANCE = 8  # while a part is gone, the whole picture is looked at about every so many frames


class RegionPlanner:
    """Windows of the frames to come.

    Parameters
    ----------
    zoom : float
        Largest; 1 always shows the whole picture.
    every : int
        One in so many frames is one of those that windows are planned for.
    """

    def __init__(self, zoom: float, every: int = 1) -> None:
        self._zoom, self._glance = zoom, max(2, _GLANCE // every)
        self._windows: dict[int, SearchRegion] = {}
        self._spans: Spans | None = None

    @property
    def follows(self) -> bool:
        """Whether it matters where the parts are found."""
        return self._zoom > 1

    def around(self, mask: Array) -> SearchRegion:
        """Window for parts that lie where a mask (h, w) bool says."""
        return region_around(bounding_spans(mask), (int(mask.shape[0]), int(mask.shape[1])), self._zoom)

    def start(self, mask: Array) -> SearchRegion:
        """Begin anew at a frame whose parts lie where a mask (h, w) bool says; the window of that frame."""
        window = self.around(mask)
        self._windows, self._spans = {1: window, 2: window}, bounding_spans(mask)
        return window

    def at(self, ordinal: int) -> SearchRegion:
        """Window of the frame so many frames after the start: known once the frame two before it is labelled."""
        return self._windows[ordinal]

    def observe(self, ordinal: int, now: Spans | None, size: tuple[int, int], *, complete: bool) -> None:
        """Decide the window of the frame after the next.

        Parameters
        ----------
        ordinal : int
            Of the frame that was labelled.
        now : Spans or None
            Rows and columns of its parts.
        size : (int, int)
            Of the picture.
        complete : bool
            All parts are there. What is gone may come back anywhere.
        """
        window = next_region(self._windows[ordinal + 1], self._spans, now, size, self._zoom)
        self._windows[ordinal + 2] = window if complete or ordinal % self._glance else full_frame(size)
        self._windows.pop(ordinal - 1, None)
        self._spans = now

    def snapshot(self, ordinal: int) -> dict[str, Array]:
        """What decides the windows from a frame on, as named arrays."""
        windows = np.stack([self._windows[ordinal + i].to_array() for i in (0, 1)])
        return {"windows": windows, "spans": np.array(self._spans or (), np.int64)}

    def restore(self, ordinal: int, state: Mapping[str, Array]) -> None:
        """Take over a :meth:`snapshot`."""
        self._windows = {ordinal + i: SearchRegion.from_array(row) for i, row in enumerate(state["windows"])}
        self._spans = None
        if state["spans"].size:
            rows, columns = state["spans"].tolist()
            self._spans = (rows[0], rows[1]), (columns[0], columns[1])
