"""Checkpoints and the moving average of weights."""

import pytest
import torch

from training.checkpoint import Ema, load_state, save_state


def test_save_state_is_atomic(tmp_path):
    """Saving leaves no temporary file, and a missing checkpoint is None.

    The checkpoint is renamed into place.
    """
    assert load_state(tmp_path / "state.pt") is None
    save_state(tmp_path / "deep" / "state.pt", {"step": 3})
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["state.pt"]
    assert load_state(tmp_path / "deep" / "state.pt") == {"step": 3}


def test_ema_by_hand():
    """The moving average equals a value worked out by hand.

    At step 0 the decay is 1/10: 0.1 old + 0.9 new.
    """
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    ema = Ema(layer, 0.99)
    layer.weight.data.fill_(2.0)
    ema.update(layer, 0)
    assert ema.values["weight"].item() == pytest.approx(1.9)
