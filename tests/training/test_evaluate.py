"""Matching accuracy on a case with a known answer."""

import pytest
import torch

from training.evaluate import pck


def test_pck_by_hand():
    """PCK equals a value worked out by hand.

    One of two visible cells is matched within a cell of the truth. A hidden cell does not count.
    """
    similarity = torch.eye(4)[None, :3]
    positions = torch.tensor([[[4.0, 4.0], [4.0, 12.0], [100.0, 100.0]]])
    visible = torch.tensor([[True, True, False]])
    assert pck(similarity, positions, visible, width=2, within=1.0) == pytest.approx(0.5)
