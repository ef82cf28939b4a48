"""The encoder of the evaluation."""

from pathlib import Path

import pytest
import torch

import slimecore
from slimecore.errors import ModelError
from training.encoder import descriptor_encoder, load_model, read
from training.network import matched
from training.pairs import make_batch
from training.scene import SceneSettings


def test_load_model_names_invalid_input(tmp_path):
    """A folder that is no exported model and an unknown module are named.

    The network is not searched for a missing folder.
    """
    with pytest.raises(ModelError, match=r"nowhere: no unet/config\.json"):
        load_model(tmp_path / "nowhere")
    shipped = Path(slimecore.__file__).parent / "models" / "slime-tiny"
    with pytest.raises(ModelError, match=r"no module 'nonsense\.0'"):
        load_model(shipped, ["nonsense.0"])


def test_encoder_reads_batch(exported):
    """The encoder reads a batch.

    Evaluation reads several images at once.
    """
    rgb = make_batch(0, 0, 1, 32, SceneSettings(clutter=0)).rgb[0]
    out = read(load_model(exported), rgb)
    assert [tuple(d.shape) for d in out.descriptors] == [(2, 16, 32)]


def test_descriptor_encoder_matches_whole_pass(exported):
    """Descriptors alone are those of the whole pass.

    The encoder of the evaluation leaves the network early and takes the grid from it.
    """
    model, rgb = load_model(exported, matched()), make_batch(0, 0, 1, 32, SceneSettings(clutter=0)).rgb[0, 0]
    units = [torch.nn.functional.normalize(d[0], dim=-1) for d in read(model, rgb).descriptors]
    found = descriptor_encoder(model)(rgb).flatten(0, 1)
    torch.testing.assert_close(found @ found.T, sum(u @ u.T for u in units) / 2)
    assert found.shape == (16, 64)
