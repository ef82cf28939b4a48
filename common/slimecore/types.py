"""Value types passed between the modules of the toolkit.

They are frozen, validated on construction, and hold read-only NumPy views. Torch tensors stay inside functions
(docs/adr/0002). Row 0 along an axis of parts is the background. See docs/reference/conventions.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from slimecore.array_types import Array
from slimecore.errors import InputError

__all__ = ["Annotation", "Frame", "LabelMap", "PartEmbeddings", "PartScores", "Parts", "ScalarSetting"]

ScalarSetting = str | int | float | bool | None


def _frozen(array: Array) -> Array:
    """Return a contiguous read-only view."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(message)


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of an annotation, in row order.

    Parameters
    ----------
    values : tuple of int
        Mask value of every row, strictly increasing. ``values[0]`` is 0, the background. Values are those of the
        user's mask, in every output too.
    names : tuple of str
        Name of every row, unique.
    colors : tuple of (int, int, int)
        RGB colour of every row, 0..255.

    Raises
    ------
    InputError
        Lengths differ, values do not increase, names repeat, or row 0 is not the background.
    """

    values: tuple[int, ...]
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        _require(len(self.values) >= 2, "an annotation needs at least one part beside the background (value 0)")
        _require(self.values[0] == 0, f"row 0 must be the background (value 0), got {self.values[0]}")
        _require(
            all(a < b for a, b in zip(self.values, self.values[1:], strict=False)),
            f"part values must increase, got {self.values}",
        )
        _require(
            len(self.values) == len(self.names) == len(self.colors),
            f"{len(self.values)} part values, {len(self.names)} names and {len(self.colors)} colours do not match",
        )
        repeated = {name for name in self.names if self.names.count(name) > 1}
        _require(not repeated, f"part names repeat: {', '.join(sorted(repeated))}; give every part its own name")

    def __len__(self) -> int:
        return len(self.values)

    def index(self, values: Array) -> Array:
        """Return the rows of mask values, -1 for values of no part.

        Parameters
        ----------
        values : (...) int array

        Returns
        -------
        (...) int64 array, -1 .. len(self) - 1
        """
        table = np.asarray(self.values)
        position = np.searchsorted(table, values).clip(0, len(table) - 1)
        return np.where(table[position] == values, position, -1)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Frame of a clip.

    Parameters
    ----------
    index : int
        Position in the clip, from 0.
    rgb : (h, w, 3) uint8
        RGB, never BGR.
    name : str
        File stem of the mask of this frame.
    """

    index: int
    rgb: Array
    name: str

    def __post_init__(self) -> None:
        _require(
            self.rgb.ndim == 3 and self.rgb.shape[2] == 3 and self.rgb.dtype == np.uint8,
            f"frame {self.index}: expected (h, w, 3) uint8 RGB, got {self.rgb.shape} {self.rgb.dtype}",
        )
        object.__setattr__(self, "rgb", _frozen(self.rgb))

    @property
    def size(self) -> tuple[int, int]:
        """Return ``(h, w)`` in pixels."""
        return self.rgb.shape[0], self.rgb.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """Exclusive labels of a picture.

    Parameters
    ----------
    labels : (h, w) int
        Mask values, not rows. -1 marks pixels to ignore, in annotations only.
    parts : Parts
    """

    labels: Array
    parts: Parts

    def __post_init__(self) -> None:
        _require(self.labels.ndim == 2, f"labels must be (h, w), got {self.labels.shape}")
        _require(
            np.issubdtype(self.labels.dtype, np.integer),
            f"labels must be integers, got {self.labels.dtype}",
        )
        object.__setattr__(self, "labels", _frozen(self.labels))


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """Picture with its labels, given by the user.

    Parameters
    ----------
    rgb : (h, w, 3) uint8
    rows : (h, w) int16
        Row of `parts` at each pixel, or -1 for pixels to ignore.
    parts : Parts
    empty : bool
        Accept a picture without any part, an example of background beside other annotations. Afterwards: the picture
        has no part.
    """

    rgb: Array
    rows: Array
    parts: Parts
    empty: bool = False

    def __post_init__(self) -> None:
        _require(
            self.rgb.ndim == 3 and self.rgb.shape[2] == 3 and self.rgb.dtype == np.uint8,
            f"annotation picture must be (h, w, 3) uint8, got {self.rgb.shape} {self.rgb.dtype}",
        )
        _require(
            self.rows.shape == self.rgb.shape[:2],
            f"mask is {self.rows.shape}, picture is {self.rgb.shape[:2]}",
        )
        _require(
            int(self.rows.min()) >= -1 and int(self.rows.max()) < len(self.parts),
            "mask rows lie outside the parts",
        )
        marked = bool((self.rows > 0).any())
        _require(marked or self.empty, "the mask holds no part: every pixel is background (0)")
        object.__setattr__(self, "empty", not marked)
        object.__setattr__(self, "rgb", _frozen(self.rgb))
        object.__setattr__(self, "rows", _frozen(self.rows.astype(np.int16)))


@dataclass(frozen=True, slots=True, eq=False)
class PartScores:
    """Soft labels of a picture.

    Parameters
    ----------
    values : (P, h, w) float32
        Probabilities, 0..1, summing to 1 over P. Row 0 is the background.
    parts : Parts
    """

    values: Array
    parts: Parts

    def __post_init__(self) -> None:
        _require(
            self.values.ndim == 3 and self.values.shape[0] == len(self.parts),
            f"scores must be ({len(self.parts)}, h, w), got {self.values.shape}",
        )
        object.__setattr__(self, "values", _frozen(self.values))

    def label_map(self) -> LabelMap:
        """Return the most likely part at each pixel, as mask values."""
        return LabelMap(np.asarray(self.parts.values)[self.values.argmax(0)], self.parts)


@dataclass(frozen=True, slots=True, eq=False)
class PartEmbeddings:
    """Learned tokens of the parts of an annotation, for a single model.

    Parameters
    ----------
    parts : Parts
    vectors : (P, tokens, dim) float32
        Learned tokens in the text-embedding space of the model. The logit of a part is the log-sum-exp over its tokens.
    layer_weights : (layers,) float32
        Weight of each cross-attention layer in the averaged logits.
    model : str
        Name, path or Hub id of the checkpoint.
    revision : str
        Content fingerprint of the weights. Embeddings are meaningless to any other model.
    settings : mapping of str to scalar
        Settings of the learning and of the model.
    prompt : (length, dim) float32 or None
        Faithful mode: the complete prompt of the UNet. Its first rows are the part vectors. None means probe mode: the
        UNet runs with the neutral prompt, and the vectors are keys of the read-out only.
    deltas : mapping of str to float32 array
        Low-rank changes of attention projections (:mod:`slimecore.backbones.lora`), empty for a plain model.
    columns : (P, tokens, C) float32, optional
        Weights of each token for the columns of :mod:`slimecore.attention.query_features`.
    """

    parts: Parts
    vectors: Array
    layer_weights: Array
    model: str
    revision: str
    settings: Mapping[str, ScalarSetting] = field(default_factory=dict)
    prompt: Array | None = None
    deltas: Mapping[str, Array] = field(default_factory=dict)
    columns: Array | None = None

    def __post_init__(self) -> None:
        _require(
            self.vectors.ndim == 3 and self.vectors.shape[0] == len(self.parts),
            f"vectors must be ({len(self.parts)}, tokens, dim), got {self.vectors.shape}",
        )
        _require(bool(np.isfinite(self.vectors).all()), "part vectors hold NaN or infinity")
        _require(self.layer_weights.ndim == 1, f"layer_weights must be 1-D, got {self.layer_weights.shape}")
        _require(bool(np.isfinite(self.layer_weights).all()), "layer_weights hold NaN or infinity")
        object.__setattr__(self, "vectors", _frozen(self.vectors.astype(np.float32)))
        object.__setattr__(self, "layer_weights", _frozen(self.layer_weights.astype(np.float32)))
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))
        if self.prompt is not None:
            fits = self.prompt.ndim == 2 and self.prompt.shape[1] == self.vectors.shape[2]
            _require(
                fits and self.vectors.shape[1] == 1 and len(self.prompt) >= len(self.parts),
                f"prompt {self.prompt.shape} does not fit vectors {self.vectors.shape}: one token a part, all in it",
            )
            object.__setattr__(self, "prompt", _frozen(self.prompt.astype(np.float32)))
        if self.columns is not None:
            _require(
                self.columns.ndim == 3 and self.columns.shape[:2] == self.vectors.shape[:2],
                f"columns must be {(*self.vectors.shape[:2], 'C')}, got {self.columns.shape}",
            )
            _require(bool(np.isfinite(self.columns).all()), "part columns hold NaN or infinity")
            object.__setattr__(self, "columns", _frozen(self.columns.astype(np.float32)))
        deltas = {name: _frozen(value.astype(np.float32)) for name, value in self.deltas.items()}
        object.__setattr__(self, "deltas", MappingProxyType(deltas))

    @property
    def mode(self) -> str:
        """Return ``faithful`` or ``probe``."""
        return "probe" if self.prompt is None else "faithful"
