"""Find implementations by file name: a new file adds a method, without registration."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from slimecore.config import suggest_nearest
from slimecore.errors import UnknownPlugin

__all__ = ["available", "load"]


def available(package: str) -> tuple[str, ...]:
    """Return the names of the implementations in a package, without importing them."""
    folder = importlib.import_module(package)
    return tuple(sorted(m.name for m in pkgutil.iter_modules(folder.__path__) if not m.name.startswith("_")))


def load(package: str, name: str) -> ModuleType:
    """Import the implementation `name` of `package`. An ``ImportError`` of its dependencies is not caught.

    Raises
    ------
    UnknownPlugin
        The package has no file of this name. The message suggests the nearest.
    """
    names = available(package)
    module = name.replace("-", "_")
    if module not in names:
        kind = package.rsplit(".", 1)[-1].rstrip("s")
        raise UnknownPlugin(f"unknown {kind} {name!r}; {suggest_nearest(name, names)}")
    return importlib.import_module(f"{package}.{module}")
