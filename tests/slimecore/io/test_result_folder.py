"""Result folders: one writer at a time, and nothing outside them is touched."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from slimecore.errors import InputError, OutputError
from slimecore.io.result_folder import lock_folder, open_in_place, refuse_links, require_file_name

_HOLD = """
import sys, time
from pathlib import Path
from slimecore.io.result_folder import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of ``tmp_path / "out"``."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, tmp_path / "out"], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("name", ["", ".", "..", "/etc", "../a", "a/b", "a\\b", "C:a", "a\x1b[2J", "a\x00"])
def test_unsafe_names_refused(name):
    """A name that leads out of a folder, or holds control characters, is refused."""
    with pytest.raises(InputError, match=r"list\.txt: .* is no plain name"):
        require_file_name(name, "list.txt")


def test_plain_names_accepted():
    """Names of folders are accepted as they are."""
    for name in ("bike-packing", "..a", "été 2", "ab:c"):
        assert require_file_name(name, "list.txt") == name


def test_links_out_of_folder_refused(tmp_path):
    """A link inside the result folder is accepted, a link out of it is refused, and the folder may be a link."""
    out, away = tmp_path / "out", tmp_path / "away"
    (out / "real").mkdir(parents=True)
    away.mkdir()
    (out / "inside").symlink_to(out / "real")
    (out / "outside").symlink_to(away)
    (tmp_path / "link").symlink_to(out)
    refuse_links(tmp_path / "link", [tmp_path / "link" / name for name in ("inside", "real", "missing")])
    with pytest.raises(OutputError, match="outside is a link out of the result folder"):
        refuse_links(out, [out / "inside", out / "outside"])


def test_file_in_place_follows_no_link(tmp_path):
    """A file that grows in place is never another file behind a link."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "link").symlink_to(victim)
    for keep in (True, False):
        with pytest.raises(OSError, match="symbolic links"):
            open_in_place(tmp_path / "link", keep=keep)
    assert victim.read_bytes() == b"mine"
    with open_in_place(victim, keep=True) as file:
        assert file.read() == b"mine"
    with open_in_place(victim, keep=False, encoding="utf-8") as file:
        assert file.read() == ""


def test_second_writer_refused(holder, tmp_path):
    """A second process is refused in a line that names the first."""
    with (
        pytest.raises(OutputError, match=rf"another process \({holder.pid}\) writes into it"),
        lock_folder(tmp_path / "out"),
    ):
        pass


def test_lock_of_dead_process_taken_over(holder, tmp_path):
    """The lock of a killed process is taken over."""
    holder.kill()
    holder.wait()
    assert (tmp_path / "out" / ".lock").read_text() == str(holder.pid)
    with lock_folder(tmp_path / "out"):
        assert (tmp_path / "out" / ".lock").read_text() == str(os.getpid())


def test_lock_leaves_nothing_behind(tmp_path):
    """The lock's file goes, and a folder that was made for it goes if nothing was written."""
    with lock_folder(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []
    with lock_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "result").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["result"]


def test_lock_needs_folder(tmp_path):
    """A result folder that is a file is refused in a line."""
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="cannot write into"), lock_folder(tmp_path / "out"):
        pass
