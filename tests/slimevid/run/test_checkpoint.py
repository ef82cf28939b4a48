"""The file that a killed run continues from."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from slimevid.run.checkpoint import CheckpointFile, RunPosition


def test_checkpoint_arrays_round_trip(tmp_path):
    """A checkpoint restores arrays of every kind as they were."""
    grid = np.arange(24, dtype=np.float32).reshape(4, 6)
    state = {
        "number": np.array(7),
        "empty": np.zeros((0, 3), np.float32),
        "turned": grid.T,
        "strided": grid[::2, ::-3],
        "bytes": np.arange(5, dtype=np.uint8),
        "frozen": np.broadcast_to(np.float32(2), (3, 2)),
    }
    file, place = CheckpointFile(tmp_path / "state"), RunPosition("key", 1, 0, 5, 99, 7)
    file.save(place, state)
    assert file.load("another") is None
    found, arrays = file.load("key")
    assert found == place
    assert set(arrays) == set(state)
    for name, array in state.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert np.array_equal(arrays[name], array)
    file.remove()
    file.remove()
    assert file.load("key") is None


@pytest.mark.parametrize(("every", "seconds", "due"), [(3, 1e9, [False, False, True]), (9, 0.0, [True, True, True])])
def test_checkpoint_due_after_frames_or_time(tmp_path, every, seconds, due):
    """A checkpoint is due after a number of frames or some time."""
    file = CheckpointFile(tmp_path / "state", every, seconds)
    assert [file.due() for _ in range(3)] == due
    file.save(RunPosition("key", 0, 0, 3, 0, 0), {})
    assert file.due() == (seconds == 0)


def test_damaged_snapshot_never_used(tmp_path):
    """A snapshot with any bit flipped is not loaded, nor one whose scores have changed since."""
    path, scores = tmp_path / "state", tmp_path / "scores.csv"
    scores.write_bytes(b"rows, and more")
    state = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(True)}
    file = CheckpointFile(path, scores=scores)
    file.save(RunPosition("key", 0, 0, 3, 4, zlib.crc32(b"rows")), state)
    whole = path.read_bytes()
    assert file.load("key") is not None
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        found = file.load("key")
        assert found is None or found[0].key == "key", place
        assert found is None or all(np.array_equal(found[1][name], state[name]) for name in state), place
    path.write_bytes(whole)
    for content in (b"", b"row", b"rOws, and more"):
        scores.write_bytes(content)
        assert file.load("key") is None
    scores.unlink()
    assert file.load("key") is None
