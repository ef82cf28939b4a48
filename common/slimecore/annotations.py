"""Combine annotations of several pictures, each with its own subset of the parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slimecore.errors import InputError
from slimecore.types import Annotation, Parts

__all__ = ["union_parts", "with_parts", "with_shared_parts"]


def union_parts(several: Sequence[Parts]) -> Parts:
    """Return the union of several parts. A value means the same part in each.

    Parameters
    ----------
    several : sequence of Parts
        Not empty. The first colour of a value counts.

    Raises
    ------
    InputError
        A value has two names, or a name has two values.
    """
    names: dict[int, str] = {}
    colors: dict[int, tuple[int, int, int]] = {}
    for parts in several:
        for value, name, color in zip(parts.values, parts.names, parts.colors, strict=True):
            if names.setdefault(value, name) != name:
                raise InputError(
                    f"part value {value} is named {names[value]!r} in one annotation and {name!r} in another; "
                    "a value must mean the same part in each"
                )
            colors.setdefault(value, color)
    values = tuple(sorted(names))
    return Parts(values, tuple(names[v] for v in values), tuple(colors[v] for v in values))


def with_parts(annotation: Annotation, parts: Parts) -> Annotation:
    """Return the annotation with the rows of `parts`, a superset of its own parts.

    Raises
    ------
    InputError
        `parts` lacks a part value of the annotation.
    """
    if annotation.parts.values == parts.values:
        return annotation
    table = np.append(parts.index(np.asarray(annotation.parts.values)), -1)  # row -1 (ignored) indexes the last entry
    if (table[:-1] < 0).any():
        raise InputError(f"the parts {parts.values} lack some of the annotation's, {annotation.parts.values}")
    return Annotation(annotation.rgb, table[annotation.rows], parts, annotation.empty)


def with_shared_parts(annotations: Sequence[Annotation]) -> tuple[Parts, list[Annotation]]:
    """Return the union of all parts, and the annotations with the rows of this union.

    Raises
    ------
    InputError
        The sequence is empty, or names and values contradict each other.
    """
    if not annotations:
        raise InputError("learning needs at least one annotated picture")
    parts = union_parts([annotation.parts for annotation in annotations])
    return parts, [with_parts(annotation, parts) for annotation in annotations]
