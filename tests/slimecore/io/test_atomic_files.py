"""Atomic writing: a reader sees the old file or the new file, never half of either."""

import json
from pathlib import Path

import pytest

from slimecore.errors import InputError, OutputError
from slimecore.io.atomic_files import atomic_path, make_folder, write_bytes, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_old_file_stays_until_replaced(tmp_path: Path) -> None:
    """The old file stays until the new file is whole."""
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with atomic_path(target) as part:
        part.write_text("new")
        assert target.read_text() == "old"
        assert part.suffix == ".txt"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_failed_write_leaves_old_file(tmp_path: Path) -> None:
    """A failure leaves the old file and nothing else."""
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail() -> None:
        with atomic_path(target) as part:
            part.write_text("half")
            raise InputError("no")

    with pytest.raises(InputError, match="no"):
        fail()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("place", ["gone/a.txt", "file/a.txt"])
def test_impossible_path_raises_output_error(tmp_path: Path, place: str) -> None:
    """An impossible path is an output error."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"cannot write .*a\.txt: .*choose another --out"):
        write_bytes(tmp_path / place, b"x")


def test_make_folder_creates_parents(tmp_path: Path) -> None:
    """Folders are made with their parents and probed."""
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert names(make_folder(tmp_path / "a" / "b")) == []


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_file_in_place_of_folder_refused(tmp_path: Path, place: str) -> None:
    """A file where a folder is needed is refused."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write into"):
        make_folder(tmp_path / place)


def test_json_strict_and_unescaped(tmp_path: Path) -> None:
    """JSON is strict and keeps letters unescaped."""
    write_json(tmp_path / "a.json", {"name": "Füße", "n": [1]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"name": "Füße", "n": [1]}
    assert "Füße" in text
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))
    assert names(tmp_path) == ["a.json"]
