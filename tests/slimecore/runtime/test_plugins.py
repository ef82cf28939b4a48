"""Plug-ins found and loaded by file name."""

import sys
from pathlib import Path

import pytest

from slimecore.errors import UnknownPlugin
from slimecore.runtime.plugins import available, load


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of engines: one sound, one that fails on import, one without its dependency, one private."""
    folder = tmp_path / "some_engines"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "fast_one.py").write_text("NAME = 'fast'\n")
    (folder / "broken.py").write_text("raise RuntimeError('imported')\n")
    (folder / "needy.py").write_text("import no_such_dependency\n")
    (folder / "_private.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield folder.name
    for name in [m for m in sys.modules if m.split(".")[0] == folder.name]:
        del sys.modules[name]


def test_listing_plugins_imports_nothing(package: str) -> None:
    """Listing plug-ins imports nothing."""
    assert available(package) == ("broken", "fast_one", "needy")
    assert not any(m.startswith(f"{package}.") for m in sys.modules)


@pytest.mark.parametrize("name", ["fast_one", "fast-one"])
def test_plugin_loaded_by_file_name(package: str, name: str) -> None:
    """A plug-in is loaded by its file name."""
    assert load(package, name).NAME == "fast"


def test_unknown_plugin_names_nearest(package: str) -> None:
    """An unknown name names the nearest plug-in."""
    with pytest.raises(UnknownPlugin, match=r"^unknown some_engine 'fastone'; did you mean 'fast_one'"):
        load(package, "fastone")


@pytest.mark.parametrize("name", ["_private", "os.path", "", "../x"])
def test_private_plugin_names_refused(package: str, name: str) -> None:
    """Only public files are loaded."""
    with pytest.raises(UnknownPlugin, match=r"known: broken, fast_one, needy|did you mean"):
        load(package, name)


def test_missing_dependency_error_unchanged(package: str) -> None:
    """The error of a missing dependency surfaces unchanged."""
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load(package, "needy")


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("slimevid.propagators", {"copy", "flow_warp", "fused", "per_frame"}),
        ("slimevid.motion.flows", {"dis", "none"}),
        ("slimecore.backbones", {"stable_diffusion"}),
    ],
)
def test_shipped_plugins_found(folder: str, expected: set[str]) -> None:
    """The shipped methods are found."""
    assert expected <= set(available(folder))
