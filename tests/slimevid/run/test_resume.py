"""Killed at any moment and run again: the same bytes as a run that nobody stopped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slimecore.io.masks import read_mask, write_mask
from slimevid.refinement import adaptation as lucid
from slimevid.run.checkpoint import STATE, CheckpointFile, RunPosition
from slimevid.session import learning as teaching

COUNT = 12

# Forks a child for every moment: imports are paid once, and the parent never starts a thread. A child ends itself by
# SIGKILL in front of the n-th call that changes the disk, so nothing is flushed, closed or tidied up.
HARNESS = """
import json, os, signal, sys
import numpy as np
import slimevid.run.pipeline, slimevid.exports.rgba, slimevid.exports.coco_rle, slimevid.propagators.fused
import slimecore.backbones.space_to_depth
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from slimevid.run import checkpoint, frame_checksums
from slimevid.cli import main
from slimevid.io import writers

def deadly(owner, name, left):
    real = getattr(owner, name)
    def call(*arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    setattr(owner, name, call)

def child(arguments, moment, every):
    pid = os.fork()
    if pid == 0:
        checkpoint.CheckpointFile.__init__.__defaults__ = (every, 1e9)
        left = [moment]
        if moment is not None:
            for owner, name in ((os, "replace"), (writers.ScoreWriter, "write"), (frame_checksums.FrameLog, "note")):
                deadly(owner, name, left)
        os._exit(main(arguments))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

for line in sys.stdin:
    arguments, moment, every = json.loads(line)
    print(child(arguments, moment, every), flush=True)
"""


@pytest.fixture(scope="module")
def harness():
    """Ask for a run: ``(arguments, moment to die or None, frames between snapshots) -> exit status``."""
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:

        def ask(arguments, moment=None, every=2):
            process.stdin.write(json.dumps([[str(a) for a in arguments], moment, every]) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield ask
        process.stdin.close()
        process.wait()


def arguments_for(slide: Path, out: Path, propagator: str, *more: object) -> list[object]:
    small = ["--size", 64, "--set", "mask_size=48", "--set", "learn.steps=3", "--set", "learn.views.count=1"]
    return ["run", slide, "--out", out, "--propagator", propagator, *small, "--quiet", *more]


@pytest.mark.parametrize(
    ("propagator", "more", "moments"),
    [
        ("flow_warp", ["--ref", "{0}/ref_0.png"], range(0, 100, 7)),
        ("flow_warp", ["--ref", "3={0}/ref_3.png", "--ref", "9={0}/ref_9.png", "--export", "rgba"], range(2, 100, 9)),
        ("fused", ["--ref", "5={0}/ref_5.png", "--soft", "--export", "coco-rle"], (7, 19, 44)),
        ("flow_warp", ["--ref", "0={0}/ref_0.png", "--set", "bidirectional_span=4"], range(3, 100, 7)),
        ("fused", ["--ref", "5={0}/ref_5.png", "--set", "bidirectional_span=3", "--soft"], (15, 27)),
        ("fused", ["--ref", "5={0}/ref_5.png", "--set", "adaptation_clips=1"], (3, 8, 21)),
        (
            "fused",
            ["--ref", "0={0}/ref_0.png", "--set", "keyframe_interval=3", "--set", "bidirectional_span=7"],
            range(9, 60, 8),
        ),
    ],
    ids=[
        "one reference",
        "two references",
        "fused, from a middle frame",
        "in both directions",
        "fused, in both directions",
        "fused, after a dream",
        "fused, key frames in both directions",
    ],
)
def test_run_killed_anywhere_resumes_identically(harness, slide, tmp_path, read_results, propagator, more, moments):
    """A run killed before any write and resumed gives the same bytes."""
    references = [text.format(tmp_path) for text in more]
    whole = tmp_path / "whole"
    assert harness(arguments_for(slide, whole, propagator, *references)) == 0
    kinds = ["masks", "scores.csv", "config.yaml", "run.json"]  # x264 is not the same bit for bit every time
    kinds += [
        k
        for k in ("rgba", "soft", "coco_rle.json", "parts.safetensors", "completion.safetensors")
        if (whole / k).exists()
    ]
    expected = read_results(whole, *kinds)
    killed = 0
    for moment in moments:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        arguments = arguments_for(slide, out, propagator, *references, "--resume")
        status = harness(arguments, moment)
        if status == 0:
            break
        assert status == -9
        killed += 1
        assert harness(arguments) == 0, moment
        found = read_results(out, *kinds)
        assert set(found) == set(expected), moment
        assert [n for n in expected if found[n] != expected[n]] == [], moment
        assert (out / "overlay.mp4").stat().st_size > 1000
        assert not [p for p in out.rglob("*") if ".part" in p.name or p.name == ".state.safetensors"]
    assert killed >= min(6, len(moments))


def test_repeatedly_killed_run_completes(harness, slide, tmp_path, read_results):
    """A run killed again and again completes."""
    references = ["--ref", f"4={tmp_path / 'ref_4.png'}"]
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert harness(arguments_for(slide, whole, "flow_warp", *references)) == 0
    arguments = arguments_for(slide, out, "flow_warp", *references, "--resume")
    deaths = 0
    while (status := harness(arguments, 14)) != 0:
        assert status == -9
        deaths += 1
        assert deaths < 30, "every attempt must get farther"
    assert deaths > 1
    assert read_results(out) == read_results(whole)


def test_killed_correction_resumes(harness, slide, tmp_path, read_results):
    """A correction that is killed resumes."""
    first = ["--ref", f"0={tmp_path / 'ref_0.png'}"]
    both = [*first, "--ref", f"6={tmp_path / 'ref_6.png'}"]
    whole, out = tmp_path / "whole", tmp_path / "out"
    for folder in (whole, out):
        assert harness(arguments_for(slide, folder, "flow_warp", *first)) == 0
    assert harness(arguments_for(slide, whole, "flow_warp", *both, "--resume")) == 0
    arguments = arguments_for(slide, out, "flow_warp", *both, "--resume")
    assert harness(arguments, 20) == -9
    assert harness(arguments) == 0
    assert read_results(out) == read_results(whole)


def test_done_frames_not_labelled_again(harness, slide, tmp_path):
    """Labelled frames are not labelled again."""
    out = tmp_path / "out"
    arguments = arguments_for(slide, out, "flow_warp", "--ref", tmp_path / "ref_0.png")
    assert harness(arguments, 30, 1) == -9
    before = {p.name: p.stat().st_ino for p in (out / "masks").glob("0*.png")}
    assert 4 < len(before) < COUNT
    assert harness([*arguments, "--resume"]) == 0
    assert json.loads((out / "report.json").read_text())["labelled"]["by_this_run"] <= COUNT - len(before) + 1
    kept = [n for n in before if (out / "masks" / n).stat().st_ino == before[n]]
    assert len(kept) >= len(before) - 1


def test_checkpoint_arrays_round_trip(tmp_path):
    """A checkpoint restores arrays of every kind as they were."""
    grid = np.arange(24, dtype=np.float32).reshape(4, 6)
    state = {
        "number": np.array(7),
        "empty": np.zeros((0, 3), np.float32),
        "turned": grid.T,
        "strided": grid[::2, ::-3],
        "bytes": np.arange(5, dtype=np.uint8),
        "frozen": np.broadcast_to(np.float32(2), (3, 2)),
    }
    file, place = CheckpointFile(tmp_path), RunPosition("key", 1, 0, 5, 99)
    file.save(place, state)
    assert file.load("another") is None
    found, arrays = file.load("key")
    assert found == place
    assert set(arrays) == set(state)
    for name, array in state.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert np.array_equal(arrays[name], array)
    file.remove()
    file.remove()
    assert file.load("key") is None


@pytest.mark.parametrize(("every", "seconds", "due"), [(3, 1e9, [False, False, True]), (9, 0.0, [True, True, True])])
def test_checkpoint_due_after_frames_or_time(tmp_path, every, seconds, due):
    """A checkpoint is due after a number of frames or some time."""
    file = CheckpointFile(tmp_path, every, seconds)
    assert [file.due() for _ in range(3)] == due
    file.save(RunPosition("key", 0, 0, 3, 0), {})
    assert file.due() == (seconds == 0)


# Refusals, in this process


@pytest.fixture
def stopped(command, slide, tmp_path, capsys):
    """A run that stopped at frame 8, which is broken."""
    broken = slide / "008.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:30])
    assert command("--ref", tmp_path / "ref_0.png") == 2
    capsys.readouterr()
    broken.write_bytes(whole)
    return tmp_path / "out"


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
    monkeypatch.setattr("slimevid.run.pipeline.code_hash", lambda *_: "another version")
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


def test_user_images_in_output_kept(command, slide, tmp_path):
    """Images of the user in the output folder are kept.

    The first run goes into a folder of the user's own, which has a subfolder named as an export.
    """
    own = tmp_path / "out" / "rgba" / "003.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    assert command("--ref", tmp_path / "ref_0.png") == 0
    assert own.read_bytes() == b"mine"


def test_killed_restart_leaves_no_old_results(harness, slide, tmp_path, disc, read_results):
    """A restart that is killed leaves no results of the run before."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    first = arguments_for(slide, out, "flow_warp", "--ref", tmp_path / "ref_0.png", "--stride", 3)
    assert harness(first, 20) == -9
    assert len(list((out / "masks").glob("[!.]*"))) > 1
    for i in range(COUNT):  # another clip under the old name
        Image.fromarray(disc(i)[0][::-1]).save(slide / f"{i:03d}.png")
    second = arguments_for(slide, out, "flow_warp", "--ref", tmp_path / "ref_0.png", "--stride", 5)
    for moment in (0, 1, 2, 3):
        shutil.copytree(out, tmp_path / "copy")
        assert harness(second, moment) == -9
        if moment:
            assert harness([*second, "--resume"]) == 0
            assert harness([*second[:3], whole, *second[4:]]) == 0
            assert read_results(out) == read_results(whole), moment
        shutil.rmtree(out)
        shutil.move(tmp_path / "copy", out)


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


def test_adapted_network_reused_unless_damaged(
    command, slide, tmp_path, read_results, monkeypatch
):
    """On resume an adapted network is used again, unless it is damaged."""
    monkeypatch.setattr(lucid, "_STEPS", 2)
    monkeypatch.setattr(lucid, "_FRAMES", 3)
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


def test_removed_reference_restores_masks(harness, slide, tmp_path, read_results):
    """After a reference is removed the masks are those without it.

    Frames that the other reference overwrote are labelled again, although an earlier checkpoint is farther on.
    """
    out, whole = tmp_path / "out", tmp_path / "whole"
    one = ["--ref", f"0={tmp_path / 'ref_0.png'}"]
    two = [*one, "--ref", f"6={tmp_path / 'ref_3.png'}"]
    assert harness(arguments_for(slide, whole, "flow_warp", *one)) == 0
    _killed_after(harness, arguments_for(slide, out, "flow_warp", *one), out / "masks" / "009.png", 2)
    assert (out / STATE).is_file()
    other = out / "masks" / "005.png"
    expected = other.read_bytes()
    _killed_after(harness, arguments_for(slide, out, "flow_warp", *two, "--resume"), other, 1000, expected)
    assert harness(arguments_for(slide, out, "flow_warp", *one, "--resume")) == 0
    assert read_results(out, "masks", "scores.csv") == read_results(whole, "masks", "scores.csv")


def test_frame_replaced_within_span_relabelled(harness, slide, tmp_path, read_results):
    """A frame replaced within a span that was begun is labelled with its new content.

    Frames 5 to 8 are labelled in both directions. The frames after it decided masks that are already written.
    """
    out, whole = tmp_path / "out", tmp_path / "whole"
    more = ("--ref", tmp_path / "ref_0.png", "--set", "bidirectional_span=4")
    _killed_after(harness, arguments_for(slide, out, "flow_warp", *more), out / "masks" / "006.png", 1)
    assert not (out / "masks" / "007.png").exists()
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(slide / "008.png")
    assert harness(arguments_for(slide, out, "flow_warp", *more, "--resume")) == 0
    assert harness(arguments_for(slide, whole, "flow_warp", *more)) == 0
    assert read_results(out, "masks", "scores.csv") == read_results(whole, "masks", "scores.csv")


def _killed_after(harness, arguments, path, every, unlike=None):
    """Kill a run at the first moment after it has written a file, one unlike some bytes."""
    folder = path.parents[1]
    before = folder.with_name("before")
    for moment in range(10, 200):
        shutil.rmtree(before, ignore_errors=True)
        if folder.exists():
            shutil.copytree(folder, before)
        assert harness(arguments, moment, every) == -9
        if path.is_file() and path.read_bytes() != unlike:
            return
        shutil.rmtree(folder, ignore_errors=True)
        if before.exists():
            before.rename(folder)
    pytest.fail(f"{path} was never written")


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
