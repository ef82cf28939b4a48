"""docs/reference/constants.md names constants that exist, with their values."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "constants.md").read_text(encoding="utf-8")


def rows():
    """Yield package, module, constant cell and value cell of every row."""
    package = ""
    for line in PAGE.splitlines():
        if line.startswith("## "):
            package = line[3:]
        elif line.startswith("| `"):
            module, constant, value = (cell.strip() for cell in line.split(" | ")[:3])
            yield package, module.strip("| `"), constant, value


def source(package: str, module: str) -> str:
    """Return the text of a module."""
    folder = ROOT / "common" / "slimecore" if package == "slimecore" else ROOT / package
    path = folder / (module.replace(".", "/") + ".py")
    return (path if path.is_file() else path.with_suffix("") / "__init__.py").read_text(encoding="utf-8")


def constants(text: str) -> dict[str, ast.expr]:
    """Return the constants of a module, by name."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                found |= {name.id: node.value for name in names if isinstance(name, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found[node.target.id] = node.value
    return found


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: f"{row[0]}.{row[1]} {row[2]}")
def test_constant_exists_with_value(row):
    """A plain number equals the table's value. Other expressions are only looked up."""
    package, module, cell, value = row
    names = re.findall(r"`([A-Za-z_]\w*)", cell)
    known = constants(source(package, module))
    text = source(package, module)
    assert names
    assert all(name in known or re.search(rf"\b{name}\b", text) for name in names)
    expression = known.get(names[0])
    if len(names) == 1 and isinstance(expression, ast.Constant) and re.fullmatch(r"-?[\d.]+(e-?\d+)?", value):
        assert float(value) == pytest.approx(float(expression.value))
