"""``slimevid run`` from the command line: results, and bad input."""

from __future__ import annotations

import csv
import json
from fractions import Fraction

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from slimecore.imaging.palette import davis_palette
from slimecore.io.embeddings import load_embeddings
from slimecore.io.images import read_rgb
from slimecore.io.masks import read_mask, write_mask
from slimevid.io.writers import OverlayWriter
from tests.slimevid.run.commands import SMALL, one_line, run


def test_all_results_written(clip, tmp_path, capsys):
    """All promised results are written."""
    out = tmp_path / "out"
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", out, "--seed", 5, *SMALL) == 0
    masks = sorted(p.name for p in (out / "masks").iterdir())
    assert masks == ["a 10.png", "a 11.png", "a 2.png", "b.png"]
    image = Image.open(out / "masks" / "b.png")
    assert image.mode == "P"
    assert image.size == (128, 96)
    assert np.array_equal(np.reshape(image.getpalette(), (-1, 3))[:9], davis_palette()[:9])
    assert set(np.unique(read_mask(out / "masks" / "b.png").labels)) == {0, 3}
    with av.open(str(out / "overlay.mp4")) as video:
        assert len(list(video.decode(video=0))) == 4
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert [r["name"] for r in rows] == ["a 2", "a 10", "a 11", "b"]
    assert all(r["part"] == "3" and 0 <= float(r["confidence"]) <= 1 for r in rows)
    report = json.loads((out / "report.json").read_text())
    assert report["clip"]["frames"] == 4
    assert report["seed"] == 5
    assert report["peak_memory_mb"] > 0
    assert report["processor_ms_a_frame"] > 0
    assert {"load", "learn", "segment", "export", "total"} == set(report["timings_s"])
    assert yaml.safe_load((out / "config.yaml").read_text())["network_size"] == 64
    assert load_embeddings(out / "parts.safetensors").parts.values == (0, 3)
    assert not [p for p in out.rglob("*") if ".part" in p.name]


def test_video_file_gives_numbered_masks(tmp_path, two_tone, capsys):
    """A video file gives numbered masks."""
    rgb, mask = two_tone
    with OverlayWriter(tmp_path / "clip.mp4", rgb.shape[:2], Fraction(24)) as video:
        for i in range(3):
            video.write(np.roll(rgb, 4 * i, 1))
    Image.fromarray(mask * 255).save(tmp_path / "ref.png")
    assert run(tmp_path / "clip.mp4", "--ref", tmp_path / "ref.png", "--out", tmp_path / "o", *SMALL) == 0
    assert sorted(p.name for p in (tmp_path / "o" / "masks").iterdir()) == [f"{i:05d}.png" for i in range(3)]
    assert set(np.unique(read_mask(tmp_path / "o" / "masks" / "00002.png").labels)) == {0, 1}


def test_middle_reference_labels_both_sides(clip, tmp_path, two_tone, capsys):
    """A reference in the middle labels both sides."""
    write_mask(tmp_path / "mid.png", np.roll(two_tone[1], 10, 1))
    out = tmp_path / "out"
    assert run(clip, "--ref", tmp_path / "mid.png", "--ref-frame", 2, "--out", out, *SMALL) == 0
    for i, name in enumerate(("a 2", "a 10", "a 11", "b")):
        truth = np.roll(two_tone[1], 5 * i, 1)
        found = read_mask(out / "masks" / f"{name}.png").labels
        assert (found & truth).sum() / (found | truth).sum() > 0.7, name
    with av.open(str(out / "overlay.mp4")) as video:
        assert len(list(video.decode(video=0))) == 4


def test_backward_pass_ignores_later_frames(clip, tmp_path, two_tone):
    """Frames before the reference get the masks of a run that never saw the frames after it."""
    _, mask = two_tone
    reversed_clip = tmp_path / "reversed"
    reversed_clip.mkdir()
    pictures = [clip / name for name in ("b.png", "a 11.bmp", "a 10.jpg", "a 2.png")]
    for i, path in enumerate(pictures[2:]):
        Image.fromarray(read_rgb(path)).save(reversed_clip / f"{i}.png")
    write_mask(tmp_path / "middle.png", np.roll(mask, 5, 1) * 3)
    reference = ["--ref", tmp_path / "middle.png"]
    assert run(clip, *reference, "--ref-frame", 1, "--out", tmp_path / "whole", *SMALL) == 0
    assert run(reversed_clip, *reference, "--out", tmp_path / "before", *SMALL) == 0
    whole = read_mask(tmp_path / "whole" / "masks" / "a 2.png").labels
    assert np.array_equal(whole, read_mask(tmp_path / "before" / "masks" / "1.png").labels)


def test_learned_parts_reused(clip, tmp_path, capsys):
    """Learned parts can be used in another run."""
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", tmp_path / "one", *SMALL) == 0
    parts = tmp_path / "one" / "parts.safetensors"
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", tmp_path / "two", "--parts", parts, *SMALL) == 0
    same = [(tmp_path / o / "masks" / "b.png").read_bytes() for o in ("one", "two")]
    assert same[0] == same[1]


def test_written_config_repeats_run(clip, tmp_path, capsys):
    """The written configuration repeats the run."""
    one, two = tmp_path / "one", tmp_path / "two"
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", one, *SMALL) == 0
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", two, "--config", one / "config.yaml", "--quiet") == 0
    assert (one / "config.yaml").read_text() == (two / "config.yaml").read_text()
    assert (one / "masks" / "b.png").read_bytes() == (two / "masks" / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.mp4", "--ref", "ref.png"], "no such clip: missing.mp4"),
        (["my clip", "--ref", "missing.png"], "no such mask: missing.png; --ref takes a file"),
        (["empty", "--ref", "ref.png"], "empty: no frame found"),
        (["text.mp4", "--ref", "ref.png"], "text.mp4: not a readable video"),
        (["my clip", "--ref", "tall.png"], "another aspect ratio"),
        (["my clip", "--ref", "blank.png"], "the mask is empty"),
        (["my clip", "--ref", "broken.png"], "cannot read broken.png"),
        (["my clip", "--ref", "ref.png", "--model", "no-such"], "no model 'no-such'"),
        (["my clip", "--ref", "ref.png", "--model", "empty"], "unet/config.json is missing"),
        (["my clip", "--ref", "ref.png", "--preset", "balance"], "did you mean 'balanced'?"),
        (["my clip", "--ref", "ref.png", "--set", "learn.step=3"], "did you mean 'learn.steps'?"),
        (["my clip", "--ref", "ref.png", "--set", "learn.steps=many"], "'learn.steps' takes int, got 'many'"),
        (["my clip", "--ref", "ref.png", "--set", "learn.steps"], "write it as KEY=VALUE"),
        (["my clip", "--ref", "ref.png", "--config", "none.yaml"], "cannot read config none.yaml"),
        (["my clip", "--ref", "ref.png", "--flow", "diss"], "unknown flow 'diss'"),
        (["my clip", "--ref", "ref.png", "--propagator", "fuse"], "unknown propagator 'fuse'"),
        (["my clip", "--ref", "ref.png", "--device", "tpu"], "unknown device 'tpu'"),
        (["my clip", "--ref", "ref.png", "--ref-frame", "9"], "reference frame 9 lies outside the clip"),
        (["my clip", "--ref", "ref.png", "--size", "3"], "--size: network_size must lie in"),
        (["my clip", "--ref", "empty"], "--ref empty is a folder; give a mask there, and the clip before it"),
        (["my clip", "--ref", "x=ref.png"], "no such mask: x=ref.png; --ref takes a file, or N=FILE"),
        (["my clip", "--ref", "ref.png", "--out", "ref.png/x"], "cannot write into"),
        (["my clip", "--ref", "ref.png", "--names", "ref.png"], "expected a JSON object"),
        (["my clip", "--ref", "ref.png", "--parts", "ref.png"], "cannot be read as part embeddings"),
    ],
)
def test_bad_input_gives_status_2(clip, tmp_path, monkeypatch, capsys, arguments, message):
    """Bad input gives a single line and status 2, and leaves no file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "broken.png").write_bytes((tmp_path / "ref.png").read_bytes()[:60])
    Image.new("L", (50, 100), 1).save(tmp_path / "tall.png")
    Image.new("L", (128, 96), 0).save(tmp_path / "blank.png")
    before = set(tmp_path.rglob("*"))
    assert run(*arguments, "--quiet") == 2
    assert message in one_line(capsys)
    assert set(tmp_path.rglob("*")) == before, "bad input must not leave anything behind"


@pytest.mark.parametrize(("every", "kept"), [(1, ["a 10.png", "a 2.png"]), (2, ["a 2.png"])])
def test_corrupt_frame_keeps_earlier_masks(clip, tmp_path, capsys, every, kept):
    """A corrupt frame is named, and the masks before it are kept.

    A frame between key frames waits for the next of them.
    """
    (clip / "a 11.bmp").write_bytes(b"BM not a picture")
    out = tmp_path / "out"
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", out, *SMALL, "--set", f"keyframe_interval={every}") == 2
    assert "a 11.bmp" in one_line(capsys)
    assert sorted(p.name for p in (out / "masks").iterdir()) == kept
    assert all(read_mask(out / "masks" / name).labels.max() == 3 for name in kept)
    assert not list(out.glob(".overlay*"))


def test_differently_sized_frame_refused(clip, tmp_path, capsys):
    """A frame of another size is refused."""
    Image.new("RGB", (64, 64)).save(clip / "b.png")
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", tmp_path / "o", *SMALL) == 2
    assert "all frames must have one size" in one_line(capsys)


def test_internal_error_gives_status_1(clip, tmp_path, monkeypatch, capsys):
    """An internal error gives a single line and status 1."""
    import slimevid.run.context

    def explode(*_args, **_kwargs):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(slimevid.run.context, "open_clip", explode)
    assert run(clip, "--ref", tmp_path / "ref.png", "--quiet") == 1
    assert "unexpected ZeroDivisionError: boom" in one_line(capsys)


def test_mask_among_frames_skipped(clip, tmp_path, two_tone, capsys):
    """A reference mask among the frames is not taken for a frame."""
    write_mask(clip / "a 0.png", two_tone[1] * 3)
    assert run(clip, "--ref", clip / "a 0.png", "--out", tmp_path / "out", *SMALL) == 0
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 4


def test_mismatched_parts_refused_before_writing(clip, tmp_path, two_tone, capsys):
    """Part embeddings of another mask are refused before anything is written."""
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", tmp_path / "one", *SMALL) == 0
    write_mask(tmp_path / "five.png", two_tone[1] * 5)
    parts = tmp_path / "one" / "parts.safetensors"
    capsys.readouterr()
    assert run(clip, "--ref", tmp_path / "five.png", "--out", tmp_path / "two", "--parts", parts, *SMALL) == 2
    assert "the mask has (5,)" in one_line(capsys)
    assert not (tmp_path / "two").exists()


def test_names_from_parts_unknown_refused(clip, tmp_path, capsys):
    """Names come from the parts file, and names of unknown parts are refused."""
    (tmp_path / "names.json").write_text('{"3": "disc"}')
    names = ["--names", tmp_path / "names.json"]
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", tmp_path / "one", *names, *SMALL) == 0
    parts = ["--parts", tmp_path / "one" / "parts.safetensors"]
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", tmp_path / "two", *parts, *SMALL) == 0
    assert "disc" in (tmp_path / "two" / "scores.csv").read_text()
    (tmp_path / "names.json").write_text('{"4": "square"}')
    capsys.readouterr()
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", tmp_path / "three", *names, *SMALL) == 2
    assert "the mask has no part 4" in one_line(capsys)


def test_errors_single_line_without_quiet(tmp_path, capsys):
    """Errors are a single line without ``--quiet``, too."""
    assert run(tmp_path / "missing.mp4", "--ref", tmp_path / "ref.png") == 2
    assert one_line(capsys).startswith("slimevid: no such clip")


@pytest.mark.parametrize(
    "setting",
    [
        "seed=-1",
        "seed=2024-13-45",
        "learn.views.count=-1",
        "learn.lr=1e9",
        "fusion.guided_filter_radius=100000",
        "memory.keys_per_frame=-1",
        "memory.grid_upsampling=99999",
        "memory.key_dims=-1",
        "fusion.background_motion_weight=-1",
        "learn.tokens=1000000000",
        "fusion.appearance_weight=.nan",
    ],
)
def test_out_of_range_settings_refused(setting, capsys):
    """Settings out of range are refused."""
    assert run("clip", "--ref", "mask", "--set", setting, "--quiet") == 2
    assert "unexpected" not in one_line(capsys)


def test_empty_path_refused(clip, tmp_path, capsys, monkeypatch):
    """An empty path is refused.

    A shell gives it for an unset variable. As a path it would be the current folder.
    """
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run(clip, "--ref", tmp_path / "ref.png", "--out", "")
    assert stopped.value.code == 2
    assert "argument --out: the path is empty" in one_line(capsys)


def test_finished_run_reports_nothing_done(clip, tmp_path, capsys):
    """A finished run reports that nothing was left to label."""
    arguments = [clip, "--ref", tmp_path / "ref.png", "--out", tmp_path / "out", *SMALL, "--propagator", "copy"]
    loud = [a for a in arguments if a != "--quiet"]
    assert run(*loud) == 0
    first = capsys.readouterr().out
    assert "frames/s" in first
    assert run(*loud, "--resume") == 0
    count = len(list((tmp_path / "out" / "masks").iterdir()))
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'out'}: all {count} frames were labelled before, 1 parts\n"
    replaced = "held the results of an earlier run, which these replace"
    assert replaced not in told.err
    assert run(*loud) == 0
    assert replaced in capsys.readouterr().err
