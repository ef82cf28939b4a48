"""Object arrays are read without executing them."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slime3d.io.label_files import read_label_file
from slimecore.errors import InputError


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.int64, np.uint16, ">i4"])
def test_partnet_e_labels_read_without_pickle(tmp_path, kind):
    """PartNet-E labels are read without executing them."""
    last = -1 if np.dtype(kind).kind == "i" else 7
    labels = {"semantic_seg": np.array([0, 2, last], kind), "instance_seg": np.ones(300, int)}
    np.save(tmp_path / "label.npy", labels, allow_pickle=True)
    expected = [1, 3, -1] if last < 0 else [0, 2, 7]
    assert read_label_file(tmp_path / "label.npy").values.tolist() == expected


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_object_arrays_of_every_protocol(tmp_path, protocol):
    """Object arrays of every pickle protocol are read."""
    import importlib
    import io

    unsafe = importlib.import_module("pickle")  # writes what the reader reads; the package itself never uses it
    value = {
        "semantic_seg": np.arange(-1, 400),
        "names": ["a", None, True, 3, 70000, (1, 2)],
        "more": {"x": np.arange(3)},
    }
    holder = np.array(None, object)
    holder[()] = value
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(holder))
    (tmp_path / "a.npy").write_bytes(buffer.getvalue() + unsafe.dumps(holder, protocol))
    from slime3d.io.object_arrays import read_object_array

    found = read_object_array(tmp_path / "a.npy")
    np.testing.assert_array_equal(found["semantic_seg"], value["semantic_seg"])
    assert found["names"] == ["a", None, True, 3, 70000, [1, 2]]
    assert found["more"]["x"].tolist() == [0, 1, 2]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1))
def test_damaged_object_array_raises_input_error(tmp_path, seed):
    """Damaged object arrays raise an input error and no other."""
    rng = np.random.default_rng(seed)
    np.save(tmp_path / "d.npy", {"semantic_seg": np.arange(40), "names": [1, "x"]}, allow_pickle=True)
    data = bytearray((tmp_path / "d.npy").read_bytes())
    for place in rng.integers(128, len(data), rng.integers(1, 4)):
        data[place] = rng.integers(0, 256)
    (tmp_path / "d.npy").write_bytes(data[: rng.integers(128, len(data)) if seed % 3 == 0 else None])
    with contextlib.suppress(InputError):
        assert read_label_file(tmp_path / "d.npy").values.dtype == np.int64


def test_object_array_with_call_refused(tmp_path):
    """Object arrays that would call a function are refused."""

    class Evil:
        def __reduce__(self):
            return (print, ("called",))

    for value in ({"semantic_seg": Evil()}, {"semantic_seg": np.zeros(3)}, {"other": np.arange(3)}, Evil(), {1, 2}):
        np.save(tmp_path / "x.npy", np.array(value, dtype=object), allow_pickle=True)
        with pytest.raises(InputError, match="semantic_seg"):
            read_label_file(tmp_path / "x.npy")
