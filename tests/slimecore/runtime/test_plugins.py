"""One file adds a method."""

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


def test_listing_imports_nothing(package: str) -> None:
    assert available(package) == ("broken", "fast_one", "needy")
    assert not any(m.startswith(f"{package}.") for m in sys.modules)


@pytest.mark.parametrize("name", ["fast_one", "fast-one"])
def test_a_file_is_loaded_by_its_name(package: str, name: str) -> None:
    assert load(package, name).NAME == "fast"


def test_an_unknown_name_gets_the_nearest(package: str) -> None:
    with pytest.raises(UnknownPlugin, match=r"^unknown some_engine 'fastone'; did you mean 'fast_one'"):
        load(package, "fastone")


@pytest.mark.parametrize("name", ["_private", "os.path", "", "../x"])
def test_nothing_but_public_files_is_loaded(package: str, name: str) -> None:
    with pytest.raises(UnknownPlugin, match=r"known: broken, fast_one, needy|did you mean"):
        load(package, name)


def test_a_missing_dependency_surfaces_untouched(package: str) -> None:
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
def test_the_shipped_methods_are_found(folder: str, expected: set[str]) -> None:
    assert expected <= set(available(folder))
