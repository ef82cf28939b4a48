"""Values are validated once, and frozen."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slimecore.errors import InputError
from slimecore.types import Annotation, Frame, LabelMap, PartEmbeddings, Parts, PartScores

BLACK = (0, 0, 0)


def parts_of(*values: int) -> Parts:
    return Parts(values, tuple(f"p{v}" for v in values), tuple(BLACK for _ in values))


PARTS = parts_of(0, 3, 7)
RGB = np.zeros((4, 5, 3), np.uint8)
ROWS = np.tile([0, 1, 2, -1, 0], (4, 1))


@pytest.mark.parametrize(
    ("values", "names", "colors", "message"),
    [
        ((0,), ("a",), (BLACK,), "at least one part"),
        ((1, 2), ("a", "b"), (BLACK,) * 2, "row 0 must be the background"),
        ((0, 2, 2), ("a", "b", "c"), (BLACK,) * 3, "must increase"),
        ((0, 3, 2), ("a", "b", "c"), (BLACK,) * 3, "must increase"),
        ((0, 1), ("a",), (BLACK,) * 2, "do not match"),
        ((0, 1), ("a", "b"), (BLACK,) * 3, "do not match"),
        ((0, 1, 2), ("x", "y", "y"), (BLACK,) * 3, "names repeat: y"),
    ],
)
def test_invalid_parts_refused(values, names, colors, message) -> None:
    """Invalid parts are refused."""
    with pytest.raises(InputError, match=message):
        Parts(values, names, colors)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sets(st.integers(1, 300), min_size=1, max_size=12),
    hnp.arrays(np.int64, hnp.array_shapes(max_dims=3, max_side=6), elements=st.integers(-3, 310)),
)
def test_parts_index_matches_table(some: set[int], values: np.ndarray) -> None:
    """The rows of values match a table look-up."""
    parts = parts_of(0, *sorted(some))
    table = {v: i for i, v in enumerate(parts.values)}
    expected = np.array([table.get(int(v), -1) for v in values.ravel()]).reshape(values.shape)
    assert np.array_equal(parts.index(values), expected)
    assert len(parts) == len(table)


@pytest.mark.parametrize("rgb", [RGB[..., 0], RGB[..., :2], RGB.astype(np.float32)])
def test_frames_require_uint8_rgb(rgb: np.ndarray) -> None:
    """Frames and annotations take only uint8 RGB."""
    with pytest.raises(InputError, match="frame 3: expected"):
        Frame(3, rgb, "x")
    with pytest.raises(InputError, match=r"must be \(h, w, 3\) uint8"):
        Annotation(rgb, ROWS, PARTS)


def test_frame_size_is_height_width() -> None:
    """A frame's size is its height, then its width."""
    assert Frame(0, RGB, "x").size == (4, 5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS[:3], "mask is"),
        (np.full((4, 5), 3), "outside the parts"),
        (np.full((4, 5), -2), "outside the parts"),
        (np.zeros((4, 5), int), "holds no part"),
        (np.full((4, 5), -1), "holds no part"),
    ],
)
def test_invalid_annotation_rows_refused(rows: np.ndarray, message: str) -> None:
    """Invalid rows of an annotation are refused."""
    with pytest.raises(InputError, match=message):
        Annotation(RGB, rows, PARTS)


@pytest.mark.parametrize("labels", [np.zeros(4, int), np.zeros((4, 4)), np.zeros((2, 4, 4), int)])
def test_label_map_requires_2d_integers(labels: np.ndarray) -> None:
    """Label maps are two-dimensional integers."""
    with pytest.raises(InputError, match="labels must be"):
        LabelMap(labels, PARTS)


def test_scores_need_plane_per_part() -> None:
    """Scores need a plane for every part."""
    with pytest.raises(InputError, match=r"scores must be \(3, h, w\)"):
        PartScores(np.zeros((2, 4, 4), np.float32), PARTS)


def test_label_map_returns_part_values() -> None:
    """The label map gives the most likely part by its value."""
    scores = np.array([[[0.6, 0.1, 0.2]], [[0.3, 0.8, 0.3]], [[0.1, 0.1, 0.5]]], np.float32)
    assert PartScores(scores, PARTS).label_map().labels.tolist() == [[0, 3, 7]]


def embeddings(vectors=None, weights=None) -> PartEmbeddings:
    vectors = np.ones((3, 2, 4)) if vectors is None else vectors
    return PartEmbeddings(PARTS, vectors, np.ones(5) if weights is None else weights, "m", "r", {"steps": 1})


@pytest.mark.parametrize(
    ("vectors", "weights", "message"),
    [
        (np.ones((2, 2, 4)), None, "vectors must be"),
        (np.ones((3, 4)), None, "vectors must be"),
        (np.full((3, 2, 4), np.nan), None, "NaN"),
        (np.full((3, 2, 4), np.inf), None, "infinity"),
        (None, np.ones((1, 5)), "1-D"),
    ],
)
def test_invalid_embeddings_refused(vectors, weights, message) -> None:
    """Invalid embeddings are refused."""
    with pytest.raises(InputError, match=message):
        embeddings(vectors, weights)


def test_arrays_and_settings_frozen() -> None:
    """Arrays and settings are frozen."""
    learned = embeddings()
    frozen = [
        Frame(0, RGB, "x").rgb,
        LabelMap(ROWS, PARTS).labels,
        Annotation(RGB, ROWS, PARTS).rgb,
        Annotation(RGB, ROWS, PARTS).rows,
        PartScores(np.zeros((3, 1, 1), np.float32), PARTS).values,
        learned.vectors,
        learned.layer_weights,
    ]
    assert [a.flags.writeable for a in frozen] == [False] * len(frozen)
    assert RGB.flags.writeable
    assert learned.vectors.dtype == learned.layer_weights.dtype == np.float32
    with pytest.raises(TypeError):
        learned.settings["steps"] = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        learned.model = "other"


def faithful() -> PartEmbeddings:
    """Return embeddings of faithful mode, with a prompt and LoRA weights."""
    rng = np.random.default_rng(1)
    prompt = rng.normal(size=(9, 8)).astype(np.float32)
    deltas = {"a.to_k.down": rng.normal(size=(2, 8)).astype(np.float32), "a.to_k.up": np.zeros((4, 2), np.float32)}
    return PartEmbeddings(
        parts_of(0, 3, 254), prompt[:3, None], np.ones(5), "sd", "abc", {"mode": "faithful"}, prompt, deltas
    )


def test_embeddings_with_mismatched_prompt_refused() -> None:
    """A prompt that does not hold the vectors is refused."""
    made = faithful()
    for prompt in (made.prompt[:2], made.prompt[:, :7], made.prompt[0]):
        with pytest.raises(InputError, match="prompt"):
            PartEmbeddings(parts_of(0, 3, 254), made.vectors, made.layer_weights, "sd", "abc", {}, prompt)
    two = np.repeat(made.vectors, 2, 1)
    with pytest.raises(InputError, match="one token a part"):
        PartEmbeddings(parts_of(0, 3, 254), two, made.layer_weights, "sd", "abc", {}, made.prompt)
