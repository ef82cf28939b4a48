"""Propagators are files of a folder, and incomplete files are refused."""

from __future__ import annotations

import sys

import pytest

from slimecore.errors import ConfigError
from slimecore.runtime import plugins
from slimevid import propagators
from slimevid.config import RunConfig
from slimevid.propagators import Traits, load_propagator
from slimevid.session.segmenter import Segmenter

WITHOUT_TRAITS = "def build(context):\n    return None\n"
WRONG_TRAITS = "TRAITS = {'motion': True}\n" + WITHOUT_TRAITS
WITHOUT_BUILD = "from slimevid.propagators import Traits\nTRAITS = Traits()\n"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """``plugin(source)``: a propagator ``homemade`` beside those of slimevid."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.setattr(propagators, "__path__", [*propagators.__path__, str(folder)])
    monkeypatch.setattr(propagators, "homemade", None, raising=False)
    monkeypatch.delitem(sys.modules, "slimevid.propagators.homemade", raising=False)

    def write(source):
        (folder / "homemade.py").write_text(source, encoding="utf-8")
        return "homemade"

    yield write
    sys.modules.pop("slimevid.propagators.homemade", None)


@pytest.mark.parametrize("name", plugins.available("slimevid.propagators"))
def test_shipped_propagators_have_traits(name):
    """Every shipped propagator has traits and a ``build`` function."""
    traits, build = load_propagator(name)
    assert isinstance(traits, Traits)
    assert callable(build)
    assert traits.needs_model or not traits.needs_embeddings


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (WITHOUT_TRAITS, r"propagator 'homemade': .*homemade\.py must define TRAITS = Traits\(\.\.\.\)"),
        (WRONG_TRAITS, r"propagator 'homemade': .*homemade\.py must define TRAITS = Traits\(\.\.\.\)"),
        (WITHOUT_BUILD, r"propagator 'homemade': .*homemade\.py must define build\(\.\.\.\)"),
    ],
    ids=["no traits", "a mapping", "no build"],
)
def test_incomplete_propagator_raises_config_error(plugin, source, message):
    """A file without ``TRAITS`` or ``build`` is refused with its path before anything is loaded."""
    with pytest.raises(ConfigError, match=message):
        Segmenter(RunConfig(propagator=plugin(source)))


def test_incomplete_propagator_gives_status_2(plugin, command, tmp_path, one_line):
    """On the command line an incomplete propagator gives a single line and status 2, and nothing is written."""
    assert command("--ref", tmp_path / "ref_0.png", propagator=plugin(WITHOUT_TRAITS)) == 2
    assert "homemade.py must define TRAITS = Traits(...)" in one_line()
    assert not (tmp_path / "out").exists()


def test_added_propagator_found(plugin, two_tone):
    """A complete file is a propagator without registration."""
    name = plugin("from slimevid.propagators.copy import TRAITS, build\n")
    rgb, mask = two_tone
    session = Segmenter(RunConfig(propagator=name))
    session.add_reference(rgb, mask)
    assert (session.step(rgb).labels == mask).all()
