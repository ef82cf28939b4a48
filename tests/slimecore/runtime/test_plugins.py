"""Plug-ins found and loaded by file name."""

import sys
from pathlib import Path

import pytest

from slimecore.errors import ConfigError, UnknownPlugin
from slimecore.runtime.plugins import available, external_digest, load


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of engines: one sound, one that fails on import, one without its dependency, one private."""
    folder = tmp_path / "some_engines"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "fast_one.py").write_text("NAME = 'fast'\n\n\ndef build():\n    return NAME\n")
    (folder / "empty.py").touch()
    (folder / "broken.py").write_text("raise RuntimeError('imported')\n")
    (folder / "needy.py").write_text("import no_such_dependency\n")
    (folder / "_private.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield folder.name
    for name in [m for m in sys.modules if m.split(".")[0] == folder.name]:
        del sys.modules[name]


def test_listing_plugins_imports_nothing(package: str) -> None:
    """Listing plug-ins imports nothing."""
    assert available(package) == ("broken", "empty", "fast_one", "needy")
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
    with pytest.raises(UnknownPlugin, match=r"known: broken, empty, fast_one, needy|did you mean"):
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


def test_file_without_function_refused(package: str) -> None:
    """A file without the function it needs is one clear line."""
    with pytest.raises(ConfigError, match=r"^some_engine 'empty': .*empty\.py must define build\(\.\.\.\)"):
        load(package, "empty")
    with pytest.raises(ConfigError, match=r"must define write\(\.\.\.\)"):
        load(package, "fast_one", "write")


def test_file_anywhere_loaded_by_path(package: str, tmp_path: Path) -> None:
    """A file outside the package is loaded by its path, anew when it has changed."""
    file = tmp_path / "my_engine.py"
    file.write_text("def build():\n    return 1\n")
    first = external_digest(str(file))
    assert load(package, str(file)).build() == 1
    assert load(package, str(file)) is load(package, str(file))
    file.write_text("def build():\n    return 2\n")
    assert load(package, str(file)).build() == 2
    assert external_digest(str(file)) != first
    assert external_digest("fast_one") is None


def test_bad_external_file_one_line(package: str, tmp_path: Path) -> None:
    """A missing file and a syntax error are one line each, an error inside the file surfaces."""
    with pytest.raises(UnknownPlugin, match=r"no such file: .*none\.py"):
        load(package, str(tmp_path / "none.py"))
    bad = tmp_path / "bad.py"
    bad.write_text("def build(:\n")
    with pytest.raises(ConfigError, match=r"bad\.py: line 1: "):
        load(package, str(bad))
    bad.write_text("raise KeyError('inside')\n")
    with pytest.raises(KeyError, match="inside"):
        load(package, str(bad))


def test_installed_entry_point_is_found(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package offers an implementation by an entry point of the kind's group."""
    (tmp_path / "far_away.py").write_text("def build():\n    return 'far'\n")
    info = tmp_path / "far-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[slime.some_engines]\nfar = far_away\n")
    assert load(package, "far").build() == "far"
    with pytest.raises(UnknownPlugin, match=r"did you mean 'far'"):
        load(package, "farr")
    sys.modules.pop("far_away")
