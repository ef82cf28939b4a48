"""Resolve settings: frozen dataclasses, overridden by a YAML file, overridden by ``--set a.b=c`` (docs/adr/0003).

Dataclass defaults are the only defaults. An unknown key is an error that names the nearest known key. The resolved
configuration is written beside every result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from slimecore.errors import ConfigError
from slimecore.user_files import read_user_text

__all__ = [
    "apply",
    "constant",
    "describe_changes",
    "dump_yaml",
    "flat",
    "is_setting",
    "load_yaml",
    "parse_assignments",
    "suggest_nearest",
    "to_dict",
]

T = TypeVar("T")
_CONSTANT = "constant"
_MOST_LEVELS = 50
_MOST_SHOWN = 200


def suggest_nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Return a clause that names the nearest known word, or all known words if none is similar.

    Parameters
    ----------
    word : str
        Unknown word.
    known : iterable of str
        Known words.
    prefix : str
        Text in front of the nearest word, for instance ``memory.``.

    Returns
    -------
    str
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {prefix + close[0]!r}?" if close else f"known: {', '.join(names)}"


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping. An empty file gives an empty mapping.

    Raises
    ------
    ConfigError
        The file is missing, is not YAML, or holds no mapping.
    """
    try:
        content = _parse_yaml(read_user_text(path))
    except OSError as error:
        raise ConfigError(f"cannot read config {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError) as error:
        where = " ".join(str(error).split())
        raise ConfigError(f"config {path} is not valid YAML: {where}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"config {path} must be a mapping of keys to values, got {type(content).__name__}")
    return content


class _PlainLoader(yaml.SafeLoader):
    """YAML of settings: no aliases, which a few lines can expand without end, no dates, and no deep nesting."""

    yaml_implicit_resolvers = {  # noqa: RUF012 # as in the base class
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _levels = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported; write the value out")
        if self._levels > _MOST_LEVELS:
            raise yaml.YAMLError("nested too deep")
        self._levels += 1
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node


def _parse_yaml(text: str) -> Any:
    """Return the value of a YAML text. Raises YAMLError or ValueError."""
    try:
        return yaml.load(text, _PlainLoader)  # a safe loader
    except (TypeError, AttributeError, OverflowError, KeyError) as error:  # a value unlike its !!tag
        raise ValueError(str(error)) from error


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Parse ``a.b=c`` strings into a nested mapping, with values read as YAML.

    Raises
    ------
    ConfigError
        A string has no ``=`` or an empty key, contradicts another, or its value is not YAML.
    """
    nested: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {text!r}: write it as KEY=VALUE, for instance --set learn.steps=300")
        target = nested
        *path, last = key.strip().split(".")
        for piece in path:
            target = target.setdefault(piece, {})
            if not isinstance(target, dict):
                raise ConfigError(f"--set {text!r}: {piece!r} was already set to a value")
        try:
            target[last] = _parse_yaml(value)
        except (yaml.YAMLError, ValueError) as error:
            raise ConfigError(f"--set {text!r}: the value is not valid YAML") from error
    return nested


def apply(config: T, overrides: Mapping[str, Any], *, where: str) -> T:
    """Return a copy of a dataclass tree with the overrides applied.

    Parameters
    ----------
    config : frozen dataclass instance
    overrides : mapping
        Nested like the dataclasses.
    where : str
        Origin of the overrides in messages.

    Returns
    -------
    dataclass instance
        Of the type of `config`.

    Raises
    ------
    ConfigError
        A key is unknown or renamed (the message says the right key), or a value has a wrong type or range.
    """
    return typing.cast("T", _apply(config, overrides, where, ""))


def _apply(config: Any, overrides: Mapping[str, Any], where: str, prefix: str) -> Any:
    """Apply overrides to a dataclass at the dotted key `prefix`."""
    hints = typing.get_type_hints(type(config))
    constants = {field.name for field in dataclasses.fields(config) if not is_setting(field)}
    changes: dict[str, Any] = {}
    for key, value in overrides.items():
        name = f"{prefix}{key}"
        if key in constants:
            raise ConfigError(f"{where}: {name!r} is no longer a setting; leave it out")
        if key not in hints:
            settings = [hint for hint in hints if hint not in constants]
            raise ConfigError(f"{where}: {_unknown(type(config), str(key), settings, prefix)}")
        current = getattr(config, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where}: {name!r} is a group of keys, not a value; set {name}.KEY")
            changes[key] = _apply(current, value, where, f"{name}.")
        else:
            changes[key] = _convert(value, hints[key], name, where)
    try:
        return dataclasses.replace(config, **changes)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def constant(value: Any) -> Any:
    """Return a dataclass field that is a fixed number of the method, not a setting.

    Code may construct the dataclass with another value, for a test or an experiment. Files and ``--set`` may not.
    """
    return dataclasses.field(default=value, metadata={_CONSTANT: True})


def is_setting(field: dataclasses.Field[Any]) -> bool:
    """Tell if a dataclass field is a setting, not a :func:`constant`."""
    return not field.metadata.get(_CONSTANT, False)


def _unknown(kind: type, key: str, known: Iterable[str], prefix: str) -> str:
    """Explain an unknown key: its new name (``RENAMED`` of the dataclass), or the nearest known key."""
    renamed: Mapping[str, str] = getattr(kind, "RENAMED", {})
    if key not in renamed:
        return f"unknown key {prefix + key!r}; {suggest_nearest(key, known, prefix)}"
    if not renamed[key]:
        return f"{prefix + key!r} is no longer a setting; leave it out"
    return f"{prefix + key!r} is now called {prefix + renamed[key]!r}"


def _convert(value: Any, hint: Any, name: str, where: str) -> Any:
    """Convert a YAML value to the annotated type of a field."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        if value is None and type(None) in args:
            return None
        hint = next(a for a in args if a is not type(None))
        origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: {name!r} takes a list, got {_shown(value)}")
        if Ellipsis not in args and len(value) != len(args):
            raise ConfigError(f"{where}: {name!r} takes a list of {len(args)}, got {_shown(value)}")
        return tuple(_convert(v, args[0], name, where) for v in value)
    value = _number(value, hint, name, where)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: {name!r} must be a finite number, got {value!r}")
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where}: {name!r} takes {hint.__name__}, got {_shown(value)}")
    return value


def _number(value: Any, hint: Any, name: str, where: str) -> Any:
    """Convert whole numbers and text to a float where a float is expected. Other values stay."""
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ConfigError(f"{where}: {name!r} must be a number below 2**63, got one of {value.bit_length()} bits")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if hint is float and isinstance(value, str):
        with contextlib.suppress(ValueError):  # YAML 1.1 parses 1e-3 as a string
            value = float(value)
    return value


def _shown(value: Any) -> str:
    """Return a value for a message, shortened."""
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} ..."


def to_dict(config: Any) -> dict[str, Any]:
    """Return a dataclass tree, constants included, as a nested mapping of plain values. Tuples become lists."""
    return typing.cast("dict[str, Any]", _plain(config))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return list(value) if isinstance(value, tuple) else value


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a nested mapping to dotted keys. Lists become text."""
    out: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = str(value) if isinstance(value, list) else value
    return out


def describe_changes(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> str:
    """Describe the differences between two nested mappings.

    Parameters
    ----------
    before, now : mapping
    prefix : str
        Text in front of every key.

    Returns
    -------
    str
        For instance ``a.b 1 -> 2, c x -> y``. Empty if the mappings are equal.
    """
    texts = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            texts.append(describe_changes(old, new, f"{prefix}{key}."))
        elif old != new:
            texts.append(f"{prefix}{key} {old} -> {new}")
    return ", ".join(text for text in texts if text)


def dump_yaml(config: Any) -> str:
    """Return the settings of a dataclass tree as YAML text, with keys in declaration order."""

    def settings(config: Any) -> dict[str, Any]:
        values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if is_setting(f)}
        return {name: settings(v) if dataclasses.is_dataclass(v) else _plain(v) for name, v in values.items()}

    return yaml.safe_dump(settings(config), sort_keys=False, allow_unicode=True)
