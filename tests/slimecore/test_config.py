"""Dataclass defaults <- YAML <- --set."""

import dataclasses
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimecore.config import apply, constant, dump_yaml, load_yaml, parse_assignments, suggest_nearest, to_dict
from slimecore.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Inner:
    steps: int = 10
    rate: float = 0.5
    layers: tuple[int, ...] = (1, 2)


@dataclass(frozen=True, slots=True)
class Outer:
    name: str = "x"
    flag: bool = False
    limit: int | None = None
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise ConfigError(f"limit must not be negative, got {self.limit}")


def test_set_overrides_file_overrides_defaults(tmp_path: Path) -> None:
    """``--set`` wins over the file, and the file over the defaults."""
    (tmp_path / "c.yaml").write_text("name: file\ninner:\n  steps: 20\n  rate: 2\n")
    config = apply(Outer(), load_yaml(tmp_path / "c.yaml"), where="c.yaml")
    config = apply(config, parse_assignments(["inner.steps=30", "flag=true"]), where="--set")
    assert config == Outer("file", True, None, Inner(30, 2.0, (1, 2)))
    assert isinstance(config.inner.rate, float)


@pytest.mark.parametrize(
    ("key", "clause"),
    [
        ("nane", "unknown key 'nane'; did you mean 'name'"),
        ("inner.stepz", "unknown key 'inner.stepz'; did you mean 'inner.steps'"),
        ("zzz", "known: flag, inner, limit, name"),
        ("inner.", "unknown key 'inner.'"),
    ],
)
def test_unknown_key_names_nearest(key: str, clause: str) -> None:
    """An unknown key names the nearest known key."""
    with pytest.raises(ConfigError, match=clause):
        apply(Outer(), parse_assignments([f"{key}=1"]), where="--set")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("inner.steps=1.5", "'inner.steps' takes int, got 1.5"),
        ("inner.steps=true", "'inner.steps' takes int, got True"),
        ("inner.rate=true", "'inner.rate' takes float, got True"),
        ("inner.rate=fast", "'inner.rate' takes float, got 'fast'"),
        ("inner.steps=", "'inner.steps' takes int, got None"),
        ("flag=1", "'flag' takes bool, got 1"),
        ("name=3", "'name' takes str, got 3"),
        ("limit=many", "'limit' takes int, got 'many'"),
        ("inner.layers=3", "'inner.layers' takes a list, got 3"),
        ("inner.layers=[1, two]", "'inner.layers' takes int, got 'two'"),
        ("inner=3", "'inner' is a group of keys, not a value; set inner.KEY"),
        ("limit=-1", "--set: limit must not be negative"),
    ],
)
def test_value_of_wrong_type_refused(assignment: str, message: str) -> None:
    """Values of a wrong type are refused."""
    with pytest.raises(ConfigError) as caught:
        apply(Outer(), parse_assignments([assignment]), where="--set")
    assert message in str(caught.value)
    assert str(caught.value).startswith("--set: ")


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("inner.rate=1e-3", Outer(inner=Inner(rate=0.001))),
        ("inner.rate=3", Outer(inner=Inner(rate=3.0))),
        ("inner.layers=[4]", Outer(inner=Inner(layers=(4,)))),
        ("inner={steps: 4}", Outer(inner=Inner(steps=4))),
        ("limit=5", Outer(limit=5)),
        (" name = a=b", Outer(name="a=b")),
    ],
)
def test_values_read_as_yaml(assignment: str, expected: Outer) -> None:
    """Values are read as YAML."""
    assert apply(Outer(), parse_assignments([assignment]), where="--set") == expected


def test_null_clears_optional_value() -> None:
    """``null`` sets an optional value back to nothing."""
    assert apply(Outer(limit=5), parse_assignments(["limit=null"]), where="--set") == Outer()


@pytest.mark.parametrize("text", ["steps", "=3", " =3", "a=[1", "a=1\tb: :"])
def test_malformed_assignment_refused(text: str) -> None:
    """Malformed assignments are refused."""
    with pytest.raises(ConfigError, match="--set"):
        parse_assignments([text])


def test_value_cannot_become_group() -> None:
    """A value cannot become a group."""
    with pytest.raises(ConfigError, match="'a' was already set"):
        parse_assignments(["a=1", "a.b=2"])


def test_nested_assignments_last_wins() -> None:
    """Assignments nest, and the last assignment of a key wins."""
    assert parse_assignments(["a.b=1", "a.c.d=x", "a.b=2"]) == {"a": {"b": 2, "c": {"d": "x"}}}


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])),
    st.booleans(),
    st.none() | st.integers(0, 2**40),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False),
    st.lists(st.integers(-(2**62), 2**62), max_size=4),
)
def test_dumped_config_round_trip_equal(tmp_path: Path, name, flag, limit, steps, rate, layers) -> None:
    """A dumped configuration comes back equal."""
    config = Outer(name, flag, limit, Inner(steps, rate, tuple(layers)))
    (tmp_path / "c.yaml").write_text(dump_yaml(config), encoding="utf-8")
    assert apply(Outer(), load_yaml(tmp_path / "c.yaml"), where="c.yaml") == config


def test_dump_keeps_declaration_order() -> None:
    """The dump keeps the order of declaration and needs no tags."""
    text = dump_yaml(Outer())
    assert list(yaml.safe_load(text)) == ["name", "flag", "limit", "inner"]
    assert "!!" not in text
    assert to_dict(Outer())["inner"] == {"steps": 10, "rate": 0.5, "layers": [1, 2]}


def test_empty_file_changes_nothing(tmp_path: Path) -> None:
    """An empty file changes nothing."""
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert load_yaml(tmp_path / "c.yaml") == {}


@pytest.mark.parametrize("content", [b"- 1\n", b"a: [1\nb: 2", b"\xff\xfea: 1", b"a: \x00", b"3"])
def test_malformed_file_error_single_line(tmp_path: Path, content: bytes) -> None:
    """A malformed file is refused in a single line."""
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.yaml") as caught:
        load_yaml(tmp_path / "c.yaml")
    assert "\n" not in str(caught.value)


def test_missing_file_refused(tmp_path: Path) -> None:
    """A missing file is refused."""
    with pytest.raises(ConfigError, match="cannot read config"):
        load_yaml(tmp_path / "c.yaml")


def test_suggest_nearest_falls_back_to_all() -> None:
    """All known names are listed where none is near."""
    assert suggest_nearest("stpes", ["steps", "rate"]) == "did you mean 'steps'?"
    assert suggest_nearest("qqq", ["steps", "rate"]) == "known: rate, steps"


@dataclass(frozen=True, slots=True)
class WithConstant:
    """A setting and a fixed number."""

    steps: int = 3
    floor: float = constant(0.5)


def test_constant_is_no_setting():
    """Files and options may not change a constant, and written settings leave it out. Code may change it."""
    with pytest.raises(ConfigError, match=r"^--set: 'floor' is no longer a setting; leave it out"):
        apply(WithConstant(), {"floor": 0.1}, where="--set")
    with pytest.raises(ConfigError, match=r"unknown key 'flor'; known: steps"):
        apply(WithConstant(), {"flor": 0.1}, where="--set")
    assert yaml.safe_load(dump_yaml(WithConstant(floor=0.2))) == {"steps": 3}
    assert to_dict(WithConstant(floor=0.2)) == {"steps": 3, "floor": 0.2}


_BOMB = "a: &a [1, 1]\nb: &b [*a, *a]\nseed: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_BOMB, "aliases"),
        ("seed: " + "[" * 5000 + "]" * 5000, "nested too deep"),
        ("seed: " + "{a: " * 5000 + "}" * 5000, "nested too deep"),
        ("seed: !!timestamp abc", "not valid YAML"),
        ("seed: !!int abc", "not valid YAML"),
        ("seed: " + "9" * 5000, "not valid YAML"),
        ("seed: 2024-99-99", "takes int, got '2024-99-99'"),
        ("seed: 2024-01-01", "takes int, got '2024-01-01'"),
        ("seed: 0x" + "f" * 5000, "below 2\\*\\*63"),
        ("weight: 1" + "0" * 400, "below 2\\*\\*63"),
        ("seed: [" + "1, " * 5000 + "1]", r"takes int, got \[1, .* \.\.\.$"),
        ("seed: \x00", "not valid YAML"),
    ],
    ids=range(12),
)
def test_hostile_yaml_refused(tmp_path, text, message):
    """Aliases, deep nesting, dates, huge numbers and values unlike their tag are refused in a short line."""

    @dataclasses.dataclass(frozen=True)
    class Settings:
        seed: int = 0
        weight: float = 0.0

    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        apply(Settings(), load_yaml(path), where=str(path))
    assert len(str(caught.value)) < 600


def test_settings_must_be_regular_file(tmp_path):
    """A pipe, a device or a folder of settings is refused at once."""
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero"), tmp_path):
        with pytest.raises(ConfigError, match=re.escape(str(path))):
            load_yaml(path)
