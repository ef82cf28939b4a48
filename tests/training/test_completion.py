"""Training of the refinement network: samples, continued runs, and the exported network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slimevid.refinement.network import INPUT_CHANNELS, RefinementNet
from slimevid.refinement.samples import random_crop
from tests.training.records import record
from training import completion
from training.completion import CompletionConfig, folded, judge, rate, train

SMALL = CompletionConfig(steps=4, batch=2, size=32, log_every=2)


@pytest.mark.parametrize("size", [24, 64])
def test_random_crop_keeps_alignment(size):
    """Crops keep evidence, image and truth aligned."""
    one = record(0)
    spoiled = 0
    for seed in range(30):
        piece = random_crop(np.random.default_rng(seed), one, size)
        again = random_crop(np.random.default_rng(seed), one, size)
        assert all(np.array_equal(getattr(piece, n), getattr(again, n)) for n in ("planes", "rgb", "truth"))
        assert piece.planes.shape == (len(INPUT_CHANNELS), size, size)
        assert (piece.rgb.dtype, piece.rgb.shape) == (np.uint8, (size, size, 3))
        assert (piece.truth.dtype, piece.truth.shape) == (np.uint8, (size, size))
        assert 0 <= piece.planes[:4].min() <= piece.planes[:4].max() <= 1
        assert (piece.planes[4] == 1).all()
        assert not piece.planes[5].any()
        spoiled += bool((piece.planes[0] != piece.planes[1]).any())
        inside, outside = piece.truth > 250, piece.truth < 5
        if min(inside.sum(), outside.sum()) > 50:
            step = piece.rgb[inside].astype(float).mean(0) - piece.rgb[outside].astype(float).mean(0)
            assert np.abs(step).max() > 20  # the picture's disc lies where the truth's does
    assert 5 < spoiled < 30


def test_stopped_run_continues_exactly(tmp_path, monkeypatch):
    """A stopped run goes on exactly."""
    records = [record(i) for i in range(3)]
    at_once = train(records, records[:1], tmp_path / "a", SMALL)
    batch = completion._batch

    def cut(records, config, step):
        if step == 4:  # after the state of step 2
            raise KeyboardInterrupt
        return batch(records, config, step)

    with monkeypatch.context() as patch:
        patch.setattr(completion, "_batch", cut)
        with pytest.raises(KeyboardInterrupt):
            train(records, records[:1], tmp_path / "b", SMALL)
    again = train(records, records[:1], tmp_path / "b", SMALL)
    for name, value in at_once.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    kept = [(tmp_path / run / "curves.csv").read_text().splitlines() for run in "ab"]
    first, second = ([line.rsplit(",", 1)[0] for line in lines] for lines in kept)  # but for the seconds
    assert first == second


def test_folded_batch_norm_equals_original(tmp_path):
    """Batch normalisation is folded without a difference."""
    records = [record(i) for i in range(3)]
    net = train(records, [], tmp_path, SMALL)
    with torch.no_grad():
        for parameter in net.out.parameters():
            parameter.normal_()
    plain = folded(net)
    planes, rgb = torch.rand(1, len(INPUT_CHANNELS), 32, 48), torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected, found = net.eval()(planes, rgb), plain(planes, rgb)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    RefinementNet().load_state_dict(plain.state_dict())  # nothing else is in it


def test_few_steps_recover_missed_regions(tmp_path):
    """A few steps recover regions that all evidence missed."""
    net = train(
        [record(i) for i in range(20)], [], tmp_path, CompletionConfig(steps=40, batch=8, size=48, log_every=40)
    )
    before, _, adding = judge(net, [record(i) for i in range(100, 105)])
    assert before == pytest.approx(0.75, abs=0.02)
    assert adding > 0.85


def test_learning_rate_schedule():
    """The learning rate rises, stays and falls."""
    config = CompletionConfig(steps=1000, lr=1.0)
    assert [rate(s, config) for s in (25, 50, 500, 750, 1000)] == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.02])


def test_records_of_other_cues_refused(tmp_path, monkeypatch, capsys):
    """Records of other cues are refused in a single line."""
    old = record(0)
    planes = {f"{i}.planes": old.planes[:-1] for i in range(2)}
    others = {f"{i}.{n}": getattr(old, n) for i in range(2) for n in ("rgb", "truth")}
    for name in "ab":  # the first is held back
        np.savez_compressed(tmp_path / f"{name}.npz", **planes, **others)
    arguments = ["completion", "--data", str(tmp_path), "--work", str(tmp_path), "--out", str(tmp_path / "w")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit, match="2"):
        completion._main()
    assert "collected for other cues than all, memory" in capsys.readouterr().err
