"""A reader sees the old file or the new one, never half of it."""

import json
from pathlib import Path

import pytest

from slimecore.errors import InputError, OutputError
from slimecore.io.atomic_files import atomic_path, make_folder, write_bytes, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with atomic_path(target) as part:
        part.write_text("new")
        assert target.read_text() == "old"
        assert part.suffix == ".txt"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
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
def test_an_impossible_place_is_an_output_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"cannot write .*a\.txt: .*choose another --out"):
        write_bytes(tmp_path / place, b"x")


def test_folders_are_made_with_parents_and_probed(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert names(make_folder(tmp_path / "a" / "b")) == []


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_is_no_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write into"):
        make_folder(tmp_path / place)


def test_json_is_strict_and_keeps_letters(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "Füße", "n": [1]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"name": "Füße", "n": [1]}
    assert "Füße" in text
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))
    assert names(tmp_path) == ["a.json"]
