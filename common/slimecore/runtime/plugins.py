"""Find implementations by name: a file of the package, a Python file anywhere, or an installed entry point.

A plug-in is ordinary Python code and runs with the rights of the user. Load only files and packages that you trust.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from slimecore.config import suggest_nearest
from slimecore.errors import ConfigError, UnknownPlugin

__all__ = ["available", "external_digest", "load"]


def available(package: str) -> tuple[str, ...]:
    """Return the names of the implementations in a package, without importing them."""
    folder = importlib.import_module(package)
    return tuple(sorted(m.name for m in pkgutil.iter_modules(folder.__path__) if not m.name.startswith("_")))


def load(package: str, name: str, function: str = "build") -> ModuleType:
    """Import an implementation. An ``ImportError`` of its dependencies is not caught.

    Parameters
    ----------
    package : str
        Package of the built-in implementations, for instance ``slimevid.propagators``.
    name : str
        File name in that package, path of a file that ends with ``.py``, or entry point in the group ``slime.KIND``
        (the last component of `package`, for instance ``slime.propagators``).
    function : str
        Function that the module must have.

    Returns
    -------
    module

    Raises
    ------
    UnknownPlugin
        No implementation of this name. The message suggests the nearest.
    ConfigError
        The module lacks the function.
    """
    module = _find(package, name)
    if not callable(getattr(module, function, None)):
        raise ConfigError(f"{_kind(package)} {name!r}: {module.__file__} must define {function}(...)")
    return module


def external_digest(name: str) -> str | None:
    """Return a hash of the file that `name` is the path of, or None for a built-in implementation."""
    path = Path(name)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix == ".py" and path.is_file() else None


def _find(package: str, name: str) -> ModuleType:
    if name.endswith(".py"):
        return _from_file(package, Path(name))
    names = available(package)
    module = name.replace("-", "_")
    if module in names:
        return importlib.import_module(f"{package}.{module}")
    installed = {point.name: point for point in entry_points(group=f"slime.{package.rsplit('.', 1)[-1]}")}
    if name in installed:
        return importlib.import_module(installed[name].module)
    raise UnknownPlugin(f"unknown {_kind(package)} {name!r}; {suggest_nearest(name, {*names, *installed})}")


def _from_file(package: str, path: Path) -> ModuleType:
    digest = external_digest(str(path))
    if digest is None:
        raise UnknownPlugin(f"unknown {_kind(package)}: no such file: {path}")
    name = f"slime_plugin_{path.stem}_{digest[:16]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise UnknownPlugin(f"{path}: not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except SyntaxError as error:
            del sys.modules[name]
            raise ConfigError(f"{path}: line {error.lineno}: {error.msg}") from error
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _kind(package: str) -> str:
    return package.rsplit(".", 1)[-1].rstrip("s")
