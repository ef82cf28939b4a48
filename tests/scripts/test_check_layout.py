"""The gate on the layout of packages and tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.check_layout import MOST_LINES, MOST_MODULES, MOST_WORDS, main


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a repository as large as allowed."""
    write(tmp_path / "slimevid" / "io" / "__init__.py")
    for number in range(MOST_MODULES):
        write(tmp_path / "slimevid" / "io" / f"module_{number}.py")
    write(tmp_path / "common" / "slimecore" / "io" / "long.py", "x = 1\n" * MOST_LINES)
    write(tmp_path / "tests" / "slimecore" / "io" / "test_long.py", source_of(MOST_WORDS))
    write(tmp_path / "tests" / "video" / "test_video.py", source_of(MOST_WORDS + 9))
    return tmp_path


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def source_of(words: int) -> str:
    return f"class TestIt:\n    def test_{'_'.join(['word'] * words)}(self): ...\n"


def test_allowed_sizes_pass(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tree) == 0
    assert capsys.readouterr().out == "layout: ok\n"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("slimevid/io/another.py", "", "slimevid/io: 21 modules, at most 20"),
        ("common/slimecore/io/long.py", "x = 1\n" * (MOST_LINES + 1), "long.py: 401 lines, at most 400"),
        ("tests/slimecore/oi/test_long.py", "", "tests/slimecore/oi: there is no common/slimecore/oi"),
        ("tests/cli/test_cli.py", source_of(MOST_WORDS + 1), "has 7 words, at most 6"),
    ],
)
def test_breaches_fail(file: str, text: str, message: str, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tree / file, text)
    assert main(tree) == 1
    printed = capsys.readouterr().out
    assert message in printed
    assert printed.endswith("layout: FAILED (1 breaches)\n")
