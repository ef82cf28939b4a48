"""``--resume`` within this process: changed inputs are refused, missing results are made again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from slimecore.io.masks import read_mask, write_mask
from tests.slimevid.run.commands import COUNT


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seed", "7"], "settings.seed 0 -> 7"),
        (["--propagator", "copy"], "settings.propagator flow_warp -> copy"),
        (["--size", "96", "--flow", "none"], "settings.flow dis -> none, settings.network_size 64 -> 96"),
        (["--stride", "2"], "stride 1 -> 2"),
        (["--start", "1"], "start 0 -> 1"),
        (["--soft"], "soft False -> True"),
        (["--propagator", "per_frame"], "model"),
    ],
)
def test_changed_setting_refused(command, tmp_path, stopped, one_line, more, message):
    """On resume a changed setting is refused."""
    before = {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file()}
    assert command("--ref", tmp_path / "ref_0.png", *more, "--resume") == 2
    text = one_line()
    assert "cannot resume" in text
    assert message in text
    assert {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file()} == before


def test_changed_frame_refused_mended_accepted(command, slide, tmp_path, disc, stopped, one_line):
    """On resume a changed frame is refused, and a mended one is accepted."""
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 0, "frame 8 was mended"
    assert len(list((stopped / "masks").iterdir())) == COUNT
    whole = (slide / "003.png").read_bytes()
    Image.fromarray(disc(3)[0][::-1]).save(slide / "003.png")
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 2
    assert "frame 3 (003) has changed since it was segmented" in one_line()
    (slide / "003.png").write_bytes(whole)
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 0


def test_other_clip_refused(command, slide, tmp_path, stopped, one_line):
    """On resume another clip is refused."""
    (slide / "011.png").unlink()
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 2
    assert "results of another clip" in one_line()


def test_other_program_refused(command, tmp_path, stopped, one_line, monkeypatch):
    """On resume another version of the program is refused."""
    monkeypatch.setattr("slimevid.run.context.code_hash", lambda *_: "another version")
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 2
    assert "program" in one_line()


def test_masks_without_manifest_refused(command, tmp_path, stopped, one_line):
    """Masks without a manifest are refused."""
    (stopped / "run.json").unlink()
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 2
    assert "nothing says how they were made" in one_line()


@pytest.mark.parametrize("content", ["", "{}", '{"schema": 99}', "[1]"])
def test_damaged_manifest_refused(command, tmp_path, stopped, one_line, content):
    """A damaged manifest is refused."""
    (stopped / "run.json").write_text(content)
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 2
    assert "run without --resume to start over" in one_line()


def test_damaged_checkpoint_ignored(command, tmp_path, stopped, read_results):
    """A damaged checkpoint only costs time."""
    (stopped / ".state.safetensors").write_bytes(b"no")
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 0
    assert command("--ref", tmp_path / "ref_0.png", out="whole") == 0
    assert read_results(stopped) == read_results(tmp_path / "whole")


def test_deleted_mask_labelled_again(command, tmp_path, stopped, read_results):
    """A deleted mask is labelled again."""
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 0
    before = read_results(stopped)
    (stopped / "masks" / "005.png").unlink()
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 0
    assert read_results(stopped) == before


def test_edited_mask_kept(command, tmp_path, stopped):
    """A mask edited by hand is kept."""
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 0
    write_mask(stopped / "masks" / "005.png", np.ones((48, 64), int))
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 0
    assert read_mask(stopped / "masks" / "005.png").labels.all()


def test_without_resume_starts_over(command, tmp_path, stopped):
    """Without ``--resume`` everything starts over."""
    assert command("--ref", tmp_path / "ref_0.png", "--stride", 4) == 0
    assert sorted(p.name for p in (stopped / "masks").iterdir()) == ["000.png", "004.png", "008.png"]
    assert not (stopped / ".state.safetensors").exists()


def test_finished_run_writes_nothing(command, tmp_path, stopped):
    """A finished run writes nothing more, except a new export."""
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 0
    before = {p: p.stat().st_mtime_ns for p in stopped.rglob("*") if p.is_file() and p.name != "run.json"}
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert json.loads((stopped / "report.json").read_text())["status"] == "done"
    assert command("--ref", tmp_path / "ref_0.png", "--resume", "--export", "rgba") == 0
    assert len(list((stopped / "rgba").iterdir())) == COUNT
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_other_drops_refused(command, tmp_path, disc, one_line):
    """On resume other drops on the same frame are refused."""
    mask = disc(0)[1].astype(int)
    mask[:24] *= 2
    write_mask(tmp_path / "two.png", mask)
    run = ("--ref", tmp_path / "two.png", "--end", 6)
    assert command(*run, "--drop", "3=1", "--drop", "3=2") == 0
    assert command(*run, "--drop", "3=2", "--resume") == 2
    assert "drops" in one_line()
    assert command(*run, "--drop", "3=2", "--drop", "3=1", "--resume") == 0


def test_renamed_parts_refused(command, tmp_path, stopped, one_line):
    """On resume other names of parts are refused, and the same names are accepted."""
    names = tmp_path / "names.json"
    names.write_text('{"1": "disc"}')
    assert command("--ref", tmp_path / "ref_0.png", "--names", names, "--resume") == 2
    assert "part 1 was called 'part 1', not 'disc'" in one_line()
    names.write_text('{"1": "part 1"}')
    assert command("--ref", tmp_path / "ref_0.png", "--names", names, "--resume") == 0


@pytest.mark.parametrize("gone", ["overlay.mp4", "soft/005.npy", "scores.csv"])
def test_deleted_results_written_again(command, tmp_path, read_results, gone):
    """Deleted results of any kind are written again."""
    arguments = ("--ref", tmp_path / "ref_0.png", "--soft")
    assert command(*arguments) == 0
    before = read_results(tmp_path / "out", "masks", "soft", "scores.csv")
    (tmp_path / "out" / gone).unlink()
    assert command(*arguments, "--resume") == 0
    assert (tmp_path / "out" / gone).is_file()
    assert read_results(tmp_path / "out", "masks", "soft", "scores.csv") == before


def test_outdated_exports_removed(command, tmp_path):
    """Exports of corrected masks are removed."""
    two = ("--ref", f"0={tmp_path / 'ref_0.png'}", "--ref", f"6={tmp_path / 'ref_6.png'}")
    assert command(*two, "--export", "rgba", "--export", "coco-rle") == 0
    cut_outs = tmp_path / "out" / "rgba"
    kept = (cut_outs / "003.png").read_bytes()
    assert command(*two, "--ref", f"9={tmp_path / 'ref_6.png'}", "--resume") == 0
    assert sorted(p.name for p in cut_outs.iterdir()) == [f"{i:03d}.png" for i in range(6)]
    assert (cut_outs / "003.png").read_bytes() == kept
    assert not (tmp_path / "out" / "coco_rle.json").exists()
