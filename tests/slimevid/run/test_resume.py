"""Runs killed at any moment and resumed give the bytes of a run that was never stopped."""

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

from slimevid.run.output_folder import OutputFolder
from tests.slimevid.run.commands import COUNT

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
    """Run in a child: ``(arguments, moment to die or None, frames between checkpoints) -> exit status``."""
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


def test_removed_reference_restores_masks(harness, slide, tmp_path, read_results):
    """After a reference is removed the masks are those without it.

    Frames that the other reference overwrote are labelled again, although an earlier checkpoint is farther on.
    """
    out, whole = tmp_path / "out", tmp_path / "whole"
    one = ["--ref", f"0={tmp_path / 'ref_0.png'}"]
    two = [*one, "--ref", f"6={tmp_path / 'ref_3.png'}"]
    assert harness(arguments_for(slide, whole, "flow_warp", *one)) == 0
    _killed_after(harness, arguments_for(slide, out, "flow_warp", *one), out / "masks" / "009.png", 2)
    assert OutputFolder(out).checkpoint.is_file()
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
    """Kill a run at the first moment after it has written a file that differs from the bytes ``unlike``."""
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


@pytest.mark.parametrize("damage", ["gone", "cut", "spliced", "garbage"])
@pytest.mark.parametrize("moment", [30, None], ids=["stopped", "finished"])
def test_damaged_scores_rebuilt(harness, slide, tmp_path, read_results, damage, moment):
    """Scores that are missing, cut or changed are rebuilt on ``--resume``, of a stopped run and of a finished one."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    more = ("--ref", tmp_path / "ref_0.png")
    assert harness(arguments_for(slide, whole, "flow_warp", *more)) == 0
    assert harness(arguments_for(slide, out, "flow_warp", *more), moment) == (0 if moment is None else -9)
    scores = out / "scores.csv"
    lines = scores.read_bytes().splitlines(keepends=True)
    content = {
        "gone": b"",
        "cut": b"".join(lines)[:60],
        "spliced": b"".join([*lines[:2], *lines[3:]]),
        "garbage": bytes(range(256)),
    }
    scores.write_bytes(content[damage])
    if damage == "gone":
        scores.unlink()
    assert harness([*arguments_for(slide, out, "flow_warp", *more), "--resume"]) == 0
    assert read_results(out) == read_results(whole)


def test_damaged_snapshot_recomputed(harness, slide, tmp_path, read_results):
    """A run resumed from a snapshot with flipped bits writes the masks of a run that was never stopped."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    more = ("--ref", tmp_path / "ref_0.png")
    assert harness(arguments_for(slide, whole, "flow_warp", *more)) == 0
    assert harness(arguments_for(slide, out, "flow_warp", *more), 30) == -9
    file = OutputFolder(out).checkpoint
    content = bytearray(file.read_bytes())
    content[len(content) // 3 :] = bytes(255 - byte for byte in content[len(content) // 3 :])
    file.write_bytes(content)
    assert harness([*arguments_for(slide, out, "flow_warp", *more), "--resume"]) == 0
    assert read_results(out) == read_results(whole)
