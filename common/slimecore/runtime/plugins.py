"""Find an implementation by its file name: one file adds a method, nothing is registered."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from slimecore.config import suggest_nearest
from slimecore.errors import UnknownPlugin

__all__ = ["available", "load"]


def available(package: str) -> tuple[str, ...]:
    """Names of the implementations in a package, without importing them."""
    folder = importlib.import_module(package)
    return tuple(sorted(m.name for m in pkgutil.iter_modules(folder.__path__) if not m.name.startswith("_")))


def load(package: str, name: str) -> ModuleType:
    """Import implementation `name` of `package`; a missing dependency of that file surfaces untouched.

    Raises
    ------
    UnknownPlugin
        No such file; the message names the nearest.
    """
    known = available(package)
    file = name.replace("-", "_")
    if file not in known:
        kind = package.rsplit(".", 1)[-1].rstrip("s")
        raise UnknownPlugin(f"unknown {kind} {name!r}; {suggest_nearest(name, known)}")
    return importlib.import_module(f"{package}.{file}")
