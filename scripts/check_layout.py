#!/usr/bin/env python3
"""Check the size of folders and modules, the folders of tests, and the length of test names.

A folder of a package holds at most 20 modules, a module at most 400 lines. Folders below ``tests/PACKAGE`` are named
as those of the package. The name of a test has at most six words after ``test_``. Ends with status 1 otherwise.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("slimevid", "slime3d", "common/slimecore")
MOST_MODULES = 20  # in a folder, without __init__.py
MOST_LINES = 400  # of a module
MOST_WORDS = 6  # of a test's name, after test_
LONG_NAMES_ALLOWED = ("tests/video", "tests/evaluation")  # folders whose test names are still sentences


def main(root: Path = Path()) -> int:
    """Print each breach below `root`; return 1 where there are any, else 0."""
    breaches = [*crowded_folders(root), *long_modules(root), *unknown_test_folders(root), *long_test_names(root)]
    for line in breaches:
        print(line)
    print(f"layout: {f'FAILED ({len(breaches)} breaches)' if breaches else 'ok'}")
    return int(bool(breaches))


def crowded_folders(root: Path) -> Iterator[str]:
    """Yield a line for every package folder of too many modules."""
    count = Counter(file.parent for file in _modules(root) if file.name != "__init__.py")
    for folder, modules in sorted(count.items()):
        if modules > MOST_MODULES:
            yield f"{_name(folder, root)}: {modules} modules, at most {MOST_MODULES} in a folder"


def long_modules(root: Path) -> Iterator[str]:
    """Yield a line for every module of too many lines."""
    for file in _modules(root):
        lines = len(file.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES:
            yield f"{_name(file, root)}: {lines} lines, at most {MOST_LINES} in a module"


def unknown_test_folders(root: Path) -> Iterator[str]:
    """Yield a line for every folder of tests that mirrors no folder of its package."""
    for package in PACKAGES:
        tests = root / "tests" / Path(package).name
        for folder in sorted({file.parent for file in tests.rglob("test_*.py")}):
            mirrored = root / package / folder.relative_to(tests)
            if not mirrored.is_dir():
                yield f"{_name(folder, root)}: there is no {_name(mirrored, root)} that it would test"


def long_test_names(root: Path) -> Iterator[str]:
    """Yield a line for every test whose name has too many words."""
    for file in sorted((root / "tests").rglob("test_*.py")):
        name = _name(file, root)
        if name.startswith(tuple(f"{folder}/" for folder in LONG_NAMES_ALLOWED)):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                words = len([word for word in node.name.split("_")[1:] if word])
                if words > MOST_WORDS:
                    yield f"{name}:{node.lineno}: {node.name} has {words} words, at most {MOST_WORDS} after test_"


def _modules(root: Path) -> list[Path]:
    return [file for package in PACKAGES for file in sorted((root / package).rglob("*.py"))]


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


if __name__ == "__main__":
    sys.exit(main())
