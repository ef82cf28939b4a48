"""``slimevid davis``: the whole protocol, resumable, in the submission layout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from slimecore.io.masks import read_mask, write_mask
from slimecore.io.result_folder import lock_folder
from slimecore.provenance import code_hash
from slimevid.cli import main
from slimevid.config import preset
from slimevid.evaluation import davis_run
from slimevid.evaluation.davis_manifest import MANIFEST

FRAMES = 4


@pytest.fixture
def root(davis, two_tone):
    """Three sequences of four frames, a disc that moves, DAVIS-2016 style."""
    rgb, mask = two_tone
    truths = {name: [np.roll(mask, step * i, 1) * 255 for i in range(FRAMES)] for step, name in enumerate("abc", 2)}
    root = davis(2016, truths, "L")
    for step, name in enumerate("abc", 2):
        folder = root / "JPEGImages" / "480p" / name
        folder.mkdir(parents=True)
        for i in range(FRAMES):
            Image.fromarray(np.roll(rgb, step * i, 1)).save(folder / f"{i:05d}.jpg", quality=95)
    return root


def run(*arguments):
    return main(["davis", *map(str, arguments)])


def masks(out):
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.glob("*/*.png"))}


def times(out):
    return {str(p.relative_to(out)): p.stat().st_mtime_ns for p in out.glob("*/*.png")}


def test_davis_writes_submission_baselines_and_figures(root, tmp_path, capsys):
    """``slimevid davis`` writes the submission layout, and measures the run beside the baselines."""
    out = tmp_path / "r"
    arguments = ["--propagator", "flow_warp", "--zip", "--baselines", "--json", tmp_path / "r.json"]
    assert run(root, "--year", 2016, "--out", out, *arguments) == 0
    assert sorted(masks(out)) == [f"{name}/{i:05d}.png" for name in "abc" for i in range(FRAMES)]
    with Image.open(out / "a" / "00003.png") as image:
        assert (image.mode, image.size) == ("P", (128, 96))
    assert read_mask(out / "a" / "00003.png").values == (1,)
    with zipfile.ZipFile(tmp_path / "r.zip") as archive:
        assert sorted(archive.namelist()) == sorted(masks(out))
        assert archive.read("b/00001.png") == (out / "b" / "00001.png").read_bytes()
    printed = capsys.readouterr().out.splitlines()
    labels = [line.split()[0] for line in printed]
    assert labels == ["per", "a", "b", "c", "mean", "per", "r", "r-copy", "r-flow_warp", "val,"]
    rows = json.loads((tmp_path / "r.json").read_text())["comparison"]
    assert rows[0]["jf"] == rows[2]["jf"]  # the run is a floor itself
    assert rows[1]["difference"]["value"] < -0.01
    assert (out / "per-frame_results-val.csv").is_file()


def test_second_run_keeps_all_sequences(root, tmp_path, capsys):
    """A second run labels nothing again."""
    out = tmp_path / "r"
    assert run(root, "--out", out, "--propagator", "copy") == 0
    before, first = times(out), capsys.readouterr().out
    assert run(root, "--out", out, "--propagator", "copy") == 0
    after = capsys.readouterr()
    assert times(out) == before
    assert after.out == first
    assert "0 sequences made, 3 kept" in after.err


def test_interrupted_run_resumes_to_same_masks(root, tmp_path, capsys, monkeypatch):
    """A run interrupted within a sequence continues to the same masks."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    small = ["--propagator", "flow_warp", "--quiet"]
    assert run(root, "--out", whole, *small) == 0
    plain, calls = davis_run.write_mask, []

    def interrupted(path, labels):
        calls.append(path)
        if len(calls) == 2 * FRAMES + 2:  # in the third sequence
            raise KeyboardInterrupt
        plain(path, labels)

    monkeypatch.setattr(davis_run, "write_mask", interrupted)
    assert run(root, "--out", broken, *small) == 130
    monkeypatch.undo()
    done = json.loads((broken / MANIFEST).read_text())["sequences"]
    assert len(done) == 2
    kept = {name: stamp for name, stamp in times(broken).items() if name[0] in done}
    assert run(root, "--out", broken, *small) == 0
    assert kept.items() <= times(broken).items()
    assert masks(broken) == masks(whole)


@pytest.mark.slow
def test_killed_run_resumes_to_same_masks(root, tmp_path):
    """A run killed between sequences continues to the same masks.

    It runs with the model. The process has no chance to tidy up when the third sequence starts.
    """
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    small = ["--size", 64, "--set", "mask_size=64", "--set", "learn.steps=5", "--set", "learn.views.count=1", "--quiet"]
    assert run(root, "--out", whole, *small) == 0
    code = (
        "import os, sys\nfrom slimevid.evaluation import davis_run\nfrom slimevid.cli import main\n"
        "plain, calls = davis_run._segment, []\n"
        "def dying(work):\n"
        "    calls.append(work)\n"
        "    if len(calls) == 3:\n"
        "        work.out.mkdir(); (work.out / '00000.png').write_bytes(b'half'); os._exit(9)\n"
        "    return plain(work)\n"
        "davis_run._segment = dying\nmain(sys.argv[1:])"
    )
    arguments = ["davis", str(root), "--out", str(broken), *map(str, small)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    stopped = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=False)
    assert stopped.returncode == 9
    done = json.loads((broken / MANIFEST).read_text())["sequences"]
    assert len(done) == 2
    kept = {name: stamp for name, stamp in times(broken).items() if name[0] in done}
    assert run(root, "--out", broken, *small) == 0
    assert kept.items() <= times(broken).items()
    assert masks(broken) == masks(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("settings", "a was made with other settings (propagator copy -> flow_warp)"),
        ("seed", "seed 0 -> 7"),
        ("frame", "the frames or the mask of a have changed"),
        ("mask", "the frames or the mask of a have changed"),
        ("result", "masks of a were changed or removed"),
        ("removed", "masks of a were changed or removed"),
        ("program", "another model, device or version"),
    ],
)
def test_stale_sequence_refused_unless_redo(change, message, root, tmp_path, capsys, monkeypatch):
    """Sequences whose settings, inputs or masks have changed are refused, and labelled again with ``--redo``."""
    out = tmp_path / "r"
    assert run(root, "--out", out, "--propagator", "copy") == 0
    arguments = ["--propagator", "flow_warp" if change == "settings" else "copy"]
    if change == "seed":
        arguments += ["--seed", 7]
    elif change == "frame":
        path = root / "JPEGImages" / "480p" / "a" / "00002.jpg"
        path.write_bytes(path.read_bytes() + b"\0")
    elif change == "mask":
        Image.fromarray(np.eye(96, 128, dtype=np.uint8) * 255).save(root / "Annotations/480p/a/00000.png")
    elif change == "result":
        write_mask(out / "a" / "00002.png", np.eye(96, 128))
    elif change == "removed":
        (out / "a" / "00002.png").unlink()
    elif change == "program":
        monkeypatch.setattr(davis_run, "code_hash", lambda *_: "another")
    before = masks(out)
    capsys.readouterr()
    assert run(root, "--out", out, *arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert masks(out) == before
    assert run(root, "--out", out, "--redo", *arguments) == 0
    fresh = tmp_path / "fresh"
    assert run(root, "--out", fresh, *arguments) == 0
    assert masks(out) == masks(fresh)


def test_refinement_weights_change_code_hash(monkeypatch):
    """Another refinement network counts as another version of the program."""
    seen = []
    code_hash.code_hash.cache_clear()
    monkeypatch.setattr(code_hash, "digest", lambda files: seen.extend(file.name for file in files))
    code_hash.code_hash("slimecore", "slimevid")
    code_hash.code_hash.cache_clear()
    assert {"completion.safetensors", "fused.py", "mask_memory.py"} <= set(seen)
    assert "protocol.py" not in seen  # how masks are judged makes no masks


def test_folder_holds_single_configuration(root, tmp_path, capsys):
    """A folder holds the results of a single configuration."""
    out = tmp_path / "r"
    assert run(root, "--out", out, "--propagator", "copy", "--sequences", "a", "--quiet") == 0
    assert run(root, "--out", out, "--propagator", "flow_warp", "--sequences", "b", "--redo") == 2
    assert "a was made with other settings" in capsys.readouterr().err
    assert run(root, "--out", out, "--propagator", "copy", "--quiet") == 0


@pytest.mark.slow
def test_davis_jobs_write_same_masks(root, tmp_path):
    """Several processes write the same masks as a single one."""
    for jobs in (1, 2):
        assert run(root, "--out", tmp_path / str(jobs), "--propagator", "flow_warp", "--jobs", jobs, "--quiet") == 0
    assert masks(tmp_path / "1") == masks(tmp_path / "2")


def test_foreign_masks_not_overwritten(root, tmp_path, write, capsys):
    """Masks that ``slimevid davis`` did not write are not overwritten."""
    write(tmp_path / "r" / "a", [np.ones((96, 128), np.uint8)])
    before = masks(tmp_path / "r")
    assert run(root, "--out", tmp_path / "r", "--propagator", "copy") == 2
    assert "masks that slimevid davis did not write" in capsys.readouterr().err
    assert masks(tmp_path / "r") == before
    (tmp_path / "r" / MANIFEST).write_text("[]")
    assert run(root, "--out", tmp_path / "r", "--propagator", "copy") == 2
    assert "damaged" in capsys.readouterr().err


def test_missing_frames_reported_before_start(root, tmp_path, capsys):
    """Missing frames are reported before the first sequence starts."""
    for file in (root / "JPEGImages" / "480p" / "b").iterdir():
        file.unlink()
    assert run(root, "--out", tmp_path / "r", "--propagator", "copy") == 2
    assert "b: no frames" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_davis_zero_jobs_refused(root, tmp_path, capsys):
    """``--jobs 0`` is refused."""
    assert run(root, "--out", tmp_path / "r", "--propagator", "copy", "--jobs", 0) == 2
    assert "--jobs must be 1 or more" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_test_set_segmented_not_measured(root, tmp_path, capsys):
    """A test set is segmented but not measured.

    Only its first frames are annotated. It holds several objects, as in DAVIS-2017.
    """
    for name in "abc":
        folder = root / "Annotations" / "480p" / name
        for file in sorted(folder.iterdir())[1:]:
            file.unlink()
        two = np.zeros((96, 128), np.uint8)
        two[20:50, 20:50], two[60:90, 60:100] = 1, 2
        Image.fromarray(two).save(folder / "00000.png")
    (root / "ImageSets" / "2017").mkdir()
    (root / "ImageSets" / "2017" / "test-dev.txt").write_text("a\nc\n")
    out = tmp_path / "r"
    assert run(root, "--out", out, "--year", 2017, "--split", "test-dev", "--propagator", "copy") == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "nothing can be measured" in printed.err
    assert read_mask(out / "c" / "00003.png").values == (1, 2)
    assert not (out / "b").exists()


def test_baselines_ignore_bidirectional_setting(tmp_path):
    """Baselines only copy or warp, although the quality preset propagates in both directions."""
    request = davis_run.DavisRequest(tmp_path, tmp_path / "out", config=preset("quality"))
    found = [(floor.config.propagator, floor.config.bidirectional_span) for floor in davis_run.floors(request)]
    assert request.config.bidirectional_span > 0
    assert found == [("copy", 0), ("flow_warp", 0)]


def test_listed_parent_folder_touches_nothing(root, tmp_path, capsys):
    """A list that names the parent folder deletes and writes nothing beside the results."""
    (root / "ImageSets" / "2016" / "val.txt").write_text("..\n")
    for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        for file in sorted((root / kind / "480p" / "a").iterdir()):
            file.rename(root / kind / f"{file.stem}.{suffix}")
    own = tmp_path / "mine.png"
    own.write_bytes(b"mine")
    assert run(root, "--out", tmp_path / "r", "--propagator", "copy") == 2
    assert "'..' is no plain name" in capsys.readouterr().err
    assert own.read_bytes() == b"mine"
    assert not (tmp_path / "r").exists()
    assert [path.name for path in tmp_path.glob("*.png")] == ["mine.png"]


def test_davis_follows_no_link_outside(root, tmp_path, capsys):
    """A sequence's folder that is a link to another place is refused, and the place is left alone."""
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "mine.png").write_bytes(b"mine")
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / MANIFEST).write_text('{"sequences": {}}')
    (tmp_path / "r" / "a").symlink_to(tmp_path / "away")
    assert run(root, "--out", tmp_path / "r", "--propagator", "copy") == 2
    assert "is a link out of the result folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "away").iterdir()] == ["mine.png"]


def test_davis_refuses_locked_folder(root, tmp_path, capsys):
    """A folder that another process fills is refused."""
    with lock_folder(tmp_path / "r"):
        assert run(root, "--out", tmp_path / "r", "--propagator", "copy") == 2
    assert "another process" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
