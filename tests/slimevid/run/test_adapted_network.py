"""The adapted refinement network of a resumed run."""

from __future__ import annotations

from slimevid.refinement import adaptation as lucid
from slimevid.session import learning as teaching


def test_adapted_network_reused_unless_damaged(command, slide, tmp_path, read_results, monkeypatch):
    """On resume an adapted network is used again, unless it is damaged."""
    monkeypatch.setattr(lucid, "_STEPS_PER_CLIP", 2)
    monkeypatch.setattr(lucid, "_CLIP_FRAMES", 3)
    more = ["--ref", tmp_path / "ref_0.png", "--end", 4, "--set", "adaptation_clips=1"]
    assert command(*more, propagator="fused") == 0
    expected = read_results(tmp_path / "out", "masks", "completion.safetensors")
    adapt = teaching.adapt
    for damaged in (False, True):
        (tmp_path / "out" / "masks" / "002.png").unlink()
        if damaged:
            (tmp_path / "out" / "completion.safetensors").write_bytes(b"none")
        monkeypatch.setattr(teaching, "adapt", adapt if damaged else None)
        assert command(*more, "--resume", propagator="fused") == 0
        assert read_results(tmp_path / "out", "masks", "completion.safetensors") == expected
    assert command("--ref", tmp_path / "ref_0.png", "--end", 4, propagator="fused") == 0  # another run, without
    assert not (tmp_path / "out" / "completion.safetensors").exists()


def test_foreign_weights_never_used(command, tmp_path, read_results):
    """Weights that do not belong to the run are never used."""
    more = ["--ref", tmp_path / "ref_0.png", "--end", 4]
    assert command(*more, propagator="fused") == 0
    expected = read_results(tmp_path / "out", "masks")
    (tmp_path / "out" / "completion.safetensors").write_bytes(b"of somebody")
    for _ in range(2):
        (tmp_path / "out" / "masks" / "002.png").unlink()
        assert command(*more, "--resume", propagator="fused") == 0
        assert read_results(tmp_path / "out", "masks") == expected
