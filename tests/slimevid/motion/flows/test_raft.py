"""RAFT flow: missing parts of it are reported, and its geometry."""

from __future__ import annotations

import importlib.util
import sys
import types

import numpy as np
import pytest
import torch

from slimecore.errors import ModelError
from slimevid.motion.flows import raft

URL = "https://download.pytorch.org/models/raft_small_C_T_V2-01064c6d.pth"


def _read(path, *, progress, map_location, weights_only):
    assert weights_only
    return torch.load(path, map_location=map_location, weights_only=weights_only)


class _Still(torch.nn.Module):
    """The part of torchvision's RAFT that is used: everything moves by its parameter, in network pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.motion = torch.nn.Parameter(torch.zeros(2))
        self.seen: list[tuple[int, ...]] = []

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> list[torch.Tensor]:
        assert first.shape == second.shape
        assert first.shape[2] % 8 == first.shape[3] % 8 == 0
        assert -1 <= float(first.min()) <= float(first.max()) <= 1
        self.seen.append(tuple(first.shape))
        return [torch.zeros(1), self.motion[None, :, None, None].expand(1, 2, *first.shape[2:])]


@pytest.fixture
def torchvision(monkeypatch, tmp_path):
    module = types.ModuleType("torchvision.models.optical_flow")
    made = []
    module.raft_small = lambda weights: made.append(_Still()) or made[-1]
    weights = types.SimpleNamespace(url=URL, get_state_dict=lambda **how: _read(raft.weights_file(URL), **how))
    module.Raft_Small_Weights = types.SimpleNamespace(C_T_V2=weights)
    monkeypatch.setitem(sys.modules, "torchvision.models.optical_flow", module)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", types.ModuleType("torchvision.models"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return made


def test_missing_torchvision_gives_status_2(command, tmp_path, one_line, monkeypatch):
    """A missing torchvision gives a single line and status 2."""
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(sys.modules, "torchvision.models.optical_flow", raising=False)
    assert command("--ref", tmp_path / "ref_0.png", "--flow", "raft") == 2
    text = one_line()
    assert "flow raft needs torchvision, which cannot be imported" in text
    assert "use --flow dis" in text
    assert not (tmp_path / "out").exists()


def test_missing_weights_report_their_place(torchvision, tmp_path):
    """Missing weights are reported with the path where they belong."""
    with pytest.raises(ModelError, match=r"needs the weights raft_small_C_T_V2-01064c6d\.pth in .*checkpoints"):
        raft.build()
    raft.weights_file(URL).parent.mkdir(parents=True)
    raft.weights_file(URL).write_bytes(b"no weights")
    with pytest.raises(ModelError, match="not the weights of torchvision's raft_small"):
        raft.build()


@pytest.mark.parametrize("size", [(48, 64), (150, 213), (480, 854)])
def test_raft_flow_in_image_pixels(torchvision, size):
    """RAFT's flow is in pixels of the image."""
    raft.weights_file(URL).parent.mkdir(parents=True)
    torch.save({"motion": torch.tensor([3.0, -2.0])}, raft.weights_file(URL))
    flow = raft.build()
    found = flow(np.zeros((*size, 3), np.uint8), np.full((*size, 3), 255, np.uint8))
    assert found.shape == (*size, 2)
    assert found.dtype == np.float32
    height, width = torchvision[-1].seen[-1][2:]
    assert min(height, width) >= 128
    assert np.allclose(found, [3 * size[1] / width, -2 * size[0] / height], rtol=1e-4)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_real_raft_runs(monkeypatch, tmp_path):
    """torchvision's network runs."""
    from torchvision.models.optical_flow import raft_small

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    raft.weights_file(URL).parent.mkdir(parents=True)
    torch.save(raft_small(weights=None).state_dict(), raft.weights_file(URL))
    rgb = np.random.default_rng(0).integers(0, 255, (64, 90, 3), dtype=np.uint8)
    assert np.isfinite(raft.build()(rgb, np.roll(rgb, 3, 1))).all()
