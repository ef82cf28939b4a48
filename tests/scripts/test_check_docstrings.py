"""The gate on docstrings: it counts, it finds undocumented parameters, and it fails where it should."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest

from scripts.check_docstrings import count_prose, documented_names, main, undocumented_parameters

GOOD = '''
"""Add numbers."""

def add(first, second, third):
    """Return the sum.

    Parameters
    ----------
    first, second : float
        Summands.
    third : float
        Another summand.

    Returns
    -------
    float
    """
'''


def undocumented(source: str) -> list[str]:
    return list(undocumented_parameters(ast.parse(textwrap.dedent(source)), "m.py"))


def write_package(folder: Path, source: str) -> str:
    (folder / "inner").mkdir()
    (folder / "inner" / "module.py").write_text(source)
    return str(folder)


def test_vague_words_and_semicolons_are_counted() -> None:
    tree = ast.parse('"""Which one? Such a whole, some; those somewhere."""\ndef f():\n    """Plain words."""')
    first, second = count_prose(tree, "m.py")
    assert (first.words, first.vague, first.semicolons) == (8, 5, 1)
    assert (second.place, second.words, second.vague) == ("m.py:2", 2, 0)


def test_documented_parameters_pass() -> None:
    assert undocumented(GOOD) == []


def test_unnamed_parameters_are_listed() -> None:
    assert undocumented(GOOD.replace("third : float", "fourth : float")) == ["m.py:4  add: third"]
    (line,) = undocumented('def f(a, *b, c, **d):\n    """Return nothing."""')
    assert line == "m.py:1  f: no Parameters section"


@pytest.mark.parametrize(
    "source",
    [
        "def f(a, b): ...",
        "def _f(a, b, c): ...",
        "def f():\n    def g(a, b, c): ...",
        "class _C:\n    def f(self, a, b, c): ...",
        "class C:\n    def f(self, a, b): ...",
        "class C:\n    def _f(self, a, b, c): ...",
        "class C:\n    def __call__(self, a, b, c): ...",
        "class C:\n    @classmethod\n    def f(cls, a, b): ...",
        "class C:\n    @overload\n    def f(self, a, b, c): ...",
        "class C:\n    def f(self, a, b, c):\n        '''See :meth:`Base.f`.'''",
        "class C:\n    a: int\n    b: int\n    c: int",
        "@dataclass\nclass C:\n    a: int\n    b: int\n    c: ClassVar[int]\n    d: int = field(init=False)",
    ],
)
def test_other_callables_are_not_checked(source: str) -> None:
    assert undocumented(source) == []


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("async def f(a, /, b, *, c): ...", "f"),
        ("class C:\n    def f(self, a, b, c): ...", "C.f"),
        ("class C:\n    @staticmethod\n    def f(a, b, c): ...", "C.f"),
        ("class C:\n    @classmethod\n    def f(cls, a, b, c): ...", "C.f"),
        ("class C:\n    def __init__(self, a, b, c): ...", "C"),
        ("@dataclass(frozen=True)\nclass C:\n    a: int\n    b: int\n    c: int = 0", "C"),
        ("class C(NamedTuple):\n    a: int\n    b: int\n    c: int", "C"),
    ],
)
def test_callables_of_three_parameters_are_checked(source: str, title: str) -> None:
    assert [line.split("  ")[1] for line in undocumented(source)] == [f"{title}: no Parameters section"]


def test_class_or_constructor_may_document() -> None:
    section = "Parameters\n        ----------\n        a, b, c : int\n        "
    in_class = f'class C:\n    """Value.\n\n    {section}"""\n    def __init__(self, a, b, c): ...'
    in_constructor = f'class C:\n    def __init__(self, a, b, c):\n        """Set.\n\n        {section}"""'
    assert undocumented(in_class.replace("        ", "    ")) == undocumented(in_constructor) == []


def test_only_parameter_sections_name_parameters() -> None:
    text = "Do.\n\nParameters\n----------\na : int\n    b : this is text\n*c, **d\n\nReturns\n-------\ne : int"
    assert documented_names(text) == ["a", "c", "d"]
    assert documented_names("No sections.") == []


def test_plain_package_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([write_package(tmp_path, GOOD)]) == 0
    assert "docstrings: ok" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('"""Which."""' + GOOD, "vague words: 66.7 per 1000"),
        ('"""Add; subtract."""' + GOOD, "semicolons: 62.5 per 1000"),
        (GOOD.replace("third : float", "fourth : float"), "add: third"),
    ],
)
def test_breaches_fail(source: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([write_package(tmp_path, source)]) == 1
    printed = capsys.readouterr().out
    assert message in printed
    assert "docstrings: FAILED" in printed


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path / "nowhere")])
    assert caught.value.code == 2
