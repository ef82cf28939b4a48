#!/usr/bin/env python3
"""Check that docstrings are plain, and that parameters are documented.

Counts vague words and semicolons per 1000 words over all docstrings, and lists public functions, methods and classes
of three or more parameters without a numpydoc ``Parameters`` section that names each of them. A vague word is a pronoun
or determiner in place of a noun. Prints the worst places, and ends with status 1 where a limit is broken.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

PACKAGES = ("slimevid", "slime3d", "common/slimecore")
VAGUE_LIMIT = 10.0  # vague words per 1000
SEMICOLON_LIMIT = 3.0  # semicolons per 1000 words
FEWEST_PARAMETERS = 3  # from here on a Parameters section is needed

_VAGUE = re.compile(r"\b(what|which|whether|so many|some|such|there|of it|those|these|one)\b", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z']+")
_LINK = re.compile(r"See :(class|func|meth):`")  # an implementation of a documented interface
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Prose:
    """Counts of a docstring.

    Parameters
    ----------
    place : str
        ``file:line``.
    text : str
        The docstring on a single line.
    words, vague, semicolons : int
        Counts in it.
    """

    place: str
    text: str
    words: int
    vague: int
    semicolons: int


def main(arguments: list[str] | None = None) -> int:
    """Print the counts and the worst places; return 1 where a limit is broken, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", default=PACKAGES, help=f"packages (default: {' '.join(PACKAGES)})")
    parser.add_argument("--worst", type=int, default=10, metavar="N", help="places to print of each kind (default 10)")
    parser.add_argument("--all", action="store_true", help="print every place")
    given = parser.parse_args(arguments)
    prose: list[Prose] = []
    undocumented: list[str] = []
    for folder in given.folders:
        files = sorted(Path(folder).rglob("*.py"))
        if not files:
            parser.error(f"{folder}: no Python files; run this in the root of the repository")
        for file in files:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            prose += count_prose(tree, file.as_posix())
            undocumented += undocumented_parameters(tree, file.as_posix())
    return _report(prose, undocumented, None if given.all else given.worst)


def count_prose(tree: ast.Module, name: str) -> Iterator[Prose]:
    """Yield the counts of every docstring of a module."""
    for node in ast.walk(tree):
        text = ast.get_docstring(node) if isinstance(node, _Documented) else None
        if text:
            place = f"{name}:{getattr(node, 'lineno', 1)}"
            counts = len(_WORD.findall(text)), len(_VAGUE.findall(text)), text.count(";")
            yield Prose(place, " ".join(text.split()), *counts)


def undocumented_parameters(tree: ast.Module, name: str) -> Iterator[str]:
    """Yield a line for every public callable of a module that leaves parameters undocumented."""
    for node in tree.body:
        if isinstance(node, _Function) and _is_public(node):
            yield from _missing(name, node, node.name, _parameters(node), [node])
        if isinstance(node, ast.ClassDef) and _is_public(node):
            yield from _undocumented_in_class(node, name)


def _undocumented_in_class(node: ast.ClassDef, name: str) -> Iterator[str]:
    methods = [item for item in node.body if isinstance(item, _Function)]
    constructors = [method for method in methods if method.name == "__init__"]
    parameters = _parameters(constructors[0])[1:] if constructors else _fields(node)
    yield from _missing(name, node, node.name, parameters, [node, *constructors])
    for method in methods:
        decorators = {_last_name(decorator) for decorator in method.decorator_list}
        if _is_public(method) and not decorators & {"overload", "setter", "override"}:
            bound = 0 if "staticmethod" in decorators else 1  # self or cls
            yield from _missing(name, method, f"{node.name}.{method.name}", _parameters(method)[bound:], [method])


def _missing(
    name: str, node: ast.stmt, title: str, parameters: list[str], documented: Sequence[ast.stmt]
) -> Iterator[str]:
    """Yield a line where `parameters` are many and the docstrings of `documented` do not name all of them."""
    if len(parameters) < FEWEST_PARAMETERS:
        return
    texts = [ast.get_docstring(item) or "" for item in documented if isinstance(item, _Documented)]
    if any(_LINK.match(text) for text in texts):
        return
    named = {entry for text in texts for entry in documented_names(text)}
    unnamed = [parameter for parameter in parameters if parameter not in named]
    if unnamed:
        yield f"{name}:{node.lineno}  {title}: {', '.join(unnamed) if named else 'no Parameters section'}"


def documented_names(docstring: str) -> list[str]:
    """Return the names in the ``Parameters`` sections of a cleaned numpydoc docstring, without stars."""
    lines = docstring.splitlines()
    heads = [i for i in range(len(lines) - 1) if lines[i] and re.fullmatch(r"-{3,}", lines[i + 1])]
    names: list[str] = []
    for start, stop in pairwise([*heads, len(lines)]):
        if lines[start] in {"Parameters", "Other Parameters"}:
            entries = [line for line in lines[start + 2 : stop] if line and not line[0].isspace()]
            names += [name.strip().lstrip("*") for entry in entries for name in entry.split(":")[0].split(",")]
    return names


def _parameters(function: _Function) -> list[str]:
    given = function.args
    named = [*given.posonlyargs, *given.args, *([given.vararg] if given.vararg else []), *given.kwonlyargs]
    return [argument.arg for argument in [*named, *([given.kwarg] if given.kwarg else [])]]


def _fields(node: ast.ClassDef) -> list[str]:
    """Return the fields that a dataclass or named tuple is made of."""
    decorated = any(_last_name(decorator) == "dataclass" for decorator in node.decorator_list)
    if not decorated and not any(_last_name(base) == "NamedTuple" for base in node.bases):
        return []
    return [
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and _is_given(item)
    ]


def _is_given(item: ast.AnnAssign) -> bool:
    """Return True where the constructor takes the field."""
    value = item.value
    options = value.keywords if isinstance(value, ast.Call) and _last_name(value) == "field" else []
    made = any(o.arg == "init" and isinstance(o.value, ast.Constant) and o.value.value is False for o in options)
    return not made and not re.search(r"\b(ClassVar|KW_ONLY)\b", ast.unparse(item.annotation))


def _is_public(node: _Function | ast.ClassDef) -> bool:
    return not node.name.startswith("_")


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return _last_name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _report(prose: list[Prose], undocumented: list[str], worst: int | None) -> int:
    words = max(1, sum(item.words for item in prose))
    failed = bool(undocumented)
    for kind, limit in (("vague", VAGUE_LIMIT), ("semicolons", SEMICOLON_LIMIT)):
        rate = 1000 * sum(getattr(item, kind) for item in prose) / words
        title = "vague words" if kind == "vague" else kind
        print(f"{title}: {rate:.1f} per 1000 words of docstrings (must be below {limit:g})")
        if rate >= limit:
            failed = True
            ranked = sorted(prose, key=lambda item: -getattr(item, kind))
            for item in [item for item in ranked if getattr(item, kind)][:worst]:
                print(f"  {getattr(item, kind):3d}  {item.place}  {item.text[:80]}")
    print(f"undocumented parameters: {len(undocumented)} places (must be 0)")
    for line in undocumented[:worst]:
        print(f"  {line}")
    print(f"docstrings: {'FAILED' if failed else 'ok'} ({len(prose)} docstrings, {words} words)")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
