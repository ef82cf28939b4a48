"""An optional renderer that is missing says how to get it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slime3d.rendering.renderers import build_renderer
from slimecore.errors import ConfigError

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(
    ("name", "module", "hint"),
    [("embree", "embreex", r"pip install 'slime-toolkit\[mesh\]'"), ("pytorch3d", "pytorch3d", r"CONTRIBUTING\.md")],
)
def test_missing_renderer_says_how_to_install(
    name: str, module: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # an import of it fails
    with pytest.raises(ConfigError, match=f"{hint}.* use --renderer zbuffer"):
        build_renderer(name)


def test_no_extra_names_pytorch3d() -> None:
    """It resolves on no index, so an extra could not be installed."""
    extras = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2].partition("\n\n")[0]
    assert "pytorch3d" not in extras
    assert "## Build PyTorch3D" in (ROOT / "CONTRIBUTING.md").read_text()
