"""Annotations with different subsets of the parts."""

import numpy as np
import pytest

from slimecore.annotations import union_parts, with_parts
from slimecore.errors import InputError
from slimecore.types import Annotation, Parts

A = Parts((0, 1, 5), ("background", "head", "tail"), ((0, 0, 0), (9, 9, 9), (1, 1, 1)))
B = Parts((0, 3, 5), ("background", "leg", "tail"), ((0, 0, 0), (7, 7, 7), (2, 2, 2)))


def test_union_parts_sorted_and_unique():
    """The union holds every value once, in order."""
    both = union_parts([A, B])
    assert both.values == (0, 1, 3, 5)
    assert both.names == ("background", "head", "leg", "tail")
    assert both.colors == ((0, 0, 0), (9, 9, 9), (7, 7, 7), (1, 1, 1))
    assert union_parts([A]) == A


def test_conflicting_names_refused():
    """Conflicting names are refused."""
    other = Parts((0, 1), ("background", "foot"), ((0, 0, 0),) * 2)
    with pytest.raises(InputError, match=r"value 1 is named 'head' in one annotation and 'foot'"):
        union_parts([A, other])
    moved = Parts((0, 2), ("background", "head"), ((0, 0, 0),) * 2)
    with pytest.raises(InputError, match="part names repeat: head"):
        union_parts([A, moved])


def test_with_parts_rewrites_rows():
    """Rows are rewritten, and ignored pixels stay ignored."""
    rows = np.array([[0, 1, 2, -1]])
    own = Annotation(np.zeros((1, 4, 3), np.uint8), rows, B)
    assert with_parts(own, union_parts([A, B])).rows.tolist() == [[0, 2, 3, -1]]
    assert with_parts(own, B) is own
    with pytest.raises(InputError, match="lack some"):
        with_parts(own, A)
