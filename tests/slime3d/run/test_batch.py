"""Batches of meshes: matching of masks, errors of single meshes, and ``--resume``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh

import slime3d.run.pipeline as pipeline
from slime3d.cli import main
from slime3d.labelling.annotated_views import Reference
from slime3d.run.batch import gather, masks_of
from slimecore.errors import InputError
from slimecore.io.masks import write_mask

pytestmark = pytest.mark.usefixtures("small_sheets")
OPTIONS = ["--views", "4", "--size", "48"]
QUICK = [*OPTIONS, "--method", "walk", "--set", "turntable_frames=0"]


@pytest.fixture
def folder(tmp_path):
    """Three boxes, one of them in a folder below, and views of each with a mask of view 0."""
    meshes, views = tmp_path / "meshes", tmp_path / "views"
    (meshes / "low").mkdir(parents=True)
    for name, side in (("a", 1), ("b", 2), ("low/c", 3)):
        trimesh.creation.box((1, side, 1)).export(meshes / f"{name}.off")
    assert main(["render", str(meshes), "--out", str(views), *OPTIONS]) == 0
    for name in ("a", "b", "low/c"):
        draw(views, name)
    return meshes, views


def draw(views, name, value=1):
    ids = np.load(views / name / "view_000.faces.npy")
    write_mask(views / name / "mask_000.png", np.where(ids >= 0, np.where(ids < 6, value, 9), 0))


def stamps(out):
    return {p.relative_to(out): p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name != "batch.json"}


def test_folders_processed_mesh_by_mesh(folder, tmp_path, capsys):
    """Folders are rendered and labelled mesh by mesh."""
    meshes, views = folder
    assert {p.name for p in (views / "low" / "c").iterdir()} >= {"view_003.png", "cameras.json", "contact_sheet.png"}
    out = tmp_path / "out"
    assert main(["run", str(meshes), "--ref", str(views), "--out", str(out), *QUICK]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["a", "b", "low/c"]
    for name in ("a", "b", "low/c"):
        labels = np.load(out / name / "face_labels.npy")
        seen = np.unique(np.load(views / name / "view_000.faces.npy"))[1:]
        assert labels[seen].tolist() == np.where(seen < 6, 1, 9).tolist()
    summary = json.loads((out / "batch.json").read_text())
    assert (summary["done"], summary["kept"], summary["failed"]) == (3, 0, 0)


def test_bad_mesh_keeps_other_results(folder, tmp_path, capsys):
    """A bad mesh does not lose the results of the others."""
    meshes, views = folder
    (meshes / "b.off").write_text("OFF\n3 1 0\nnan 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    (views / "low" / "c" / "mask_000.png").unlink()
    gone = tmp_path / "gone.off"
    out = tmp_path / "out"
    assert main(["run", str(meshes), str(gone), "--ref", str(views), "--out", str(out), *QUICK, "--quiet"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert "NaN" in lines[0]
    assert "no mask of low/c" in lines[1]
    assert "no mask of gone" in lines[2] or "no such mesh" in lines[2]
    assert "3 of 4 meshes failed" in lines[3]
    assert len(np.load(out / "a" / "face_labels.npy")) == 12
    assert {m["name"]: m["status"] for m in json.loads((out / "batch.json").read_text())["meshes"]} == {
        "a": "done", "b": "failed", "low/c": "failed", "gone": "failed"
    }  # fmt: skip


def test_internal_error_gives_status_1(folder, tmp_path, capsys, monkeypatch):
    """An internal error in a mesh gives status 1, and the other meshes go on."""
    meshes, views = folder
    real = pipeline.load_mesh

    def broken(path):
        if path.stem == "a":
            raise ZeroDivisionError("oh")
        if path.stem == "b":
            raise MemoryError
        return real(path)

    monkeypatch.setattr(pipeline, "load_mesh", broken)
    out = tmp_path / "out"
    command = ["run", str(meshes), "--ref", str(views), "--out", str(out), *QUICK, "--quiet"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "a: unexpected ZeroDivisionError: oh" in error
    assert "b: out of memory" in error
    assert "Traceback" not in error
    assert (out / "low" / "c" / "report.json").is_file()
    assert main([*command, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_invalid_setting_stops_batch(folder, tmp_path, capsys):
    """A setting invalid for every mesh ends the batch at once."""
    meshes, views = folder
    out = tmp_path / "out"
    assert main(["run", str(meshes), "--ref", str(views), "--out", str(out), "--up", "w"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


def test_resume_repeats_only_changed_meshes(folder, tmp_path, capsys):
    """``--resume`` keeps finished meshes and notices every change."""
    meshes, views = folder
    out = tmp_path / "out"
    command = ["run", str(meshes), "--ref", str(views), "--out", str(out), "--resume"]

    def again(*more):
        before = stamps(out) if out.exists() else {}
        assert main([*command, *QUICK, *more]) == 0
        after = stamps(out)
        said = capsys.readouterr().out
        names = ("a", "b", "low/c")
        made = {n for n in names if any(before.get(k) != v for k, v in after.items() if k.is_relative_to(n))}
        assert all((f"{n}: finished before" in said) == (n not in made) for n in names)
        return made, said

    made, said = again()
    assert made == {"a", "b", "low/c"}
    assert "made again" not in said
    assert again()[0] == set()
    draw(views, "b", 5)
    made, said = again()
    assert made == {"b"}
    assert "made again: masks changed" in said
    assert set(np.load(out / "b" / "face_labels.npy")) == {5, 9}
    trimesh.creation.box((1, 4, 1)).export(meshes / "low" / "c.off")
    made, said = again()
    assert made == {"low/c"}
    assert "mesh changed" in said
    (out / "a" / "labels.png").unlink()
    (out / "b" / "report.json").unlink()
    made, said = again()
    assert made == {"a", "b"}
    assert "labels.png is missing" in said
    assert again("--set", "walk.concave_scale=0.5")[0] == {"a", "b", "low/c"}
    names = tmp_path / "names.json"
    names.write_text('{"9": "roof"}')
    assert again("--set", "walk.concave_scale=0.5", "--names", str(names))[0] == {"a", "b", "low/c"}
    assert again("--set", "walk.concave_scale=0.5", "--names", str(names))[0] == set()


def test_render_and_single_mesh_resume(folder, tmp_path, capsys):
    """Renders and runs of a single mesh resume, too."""
    meshes, views = folder
    before = stamps(views)
    assert main(["render", str(meshes), "--out", str(views), *OPTIONS, "--resume"]) == 0
    assert stamps(views) == before
    assert main(["render", str(meshes), "--out", str(views), "--views", "4", "--size", "32", "--resume"]) == 0
    assert stamps(views) != before
    mask = tmp_path / "m.png"
    write_mask(mask, np.ones((48, 48), int))
    one = ["run", str(meshes / "a.off"), "--ref", str(mask), "--out", str(tmp_path / "one"), *QUICK, "--resume"]
    assert main(one) == 0
    before = stamps(tmp_path / "one")
    capsys.readouterr()
    assert main(one) == 0
    assert "finished before" in capsys.readouterr().out
    assert stamps(tmp_path / "one") == before


def test_interrupted_run_not_finished(folder, tmp_path, monkeypatch):
    """An interrupted run is not taken as finished."""
    meshes, views = folder
    out = tmp_path / "one"
    command = ["run", str(meshes / "a.off"), "--ref", str(views / "a"), "--out", str(out), *QUICK, "--quiet"]
    assert main(command) == 0
    import slime3d.output.results as results

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(results, "write_contact_sheet", stop)
        assert main(command) == 130
    assert not (out / "report.json").exists()
    assert main([*command, "--resume"]) == 0
    assert (out / "report.json").is_file()


def test_gather_lists_meshes_of_folder(folder, tmp_path):
    """Meshes of a folder are listed without results and hidden files."""
    meshes, _ = folder
    out = meshes / "results"
    (out / "a").mkdir(parents=True)
    shutil.copy(meshes / "a.off", out / "a" / "a.off")
    earlier = meshes / "earlier"
    (earlier / "parts").mkdir(parents=True)
    (earlier / "face_labels.npy").touch()
    for name in ("segmented.glb", "parts/1_x.ply", "own.off"):
        shutil.copy(meshes / "a.off", earlier / name)
    (meshes / ".hidden.off").touch()
    (meshes / "a.png").touch()
    jobs = gather([meshes], out)
    assert [(j.name, j.out) for j in jobs] == [(n, out / n) for n in ("a", "b", "earlier/own", "low/c")]
    assert [j.name for j in gather([meshes / "b.off", meshes / "low"], out)] == ["b", "c"]
    shutil.copy(meshes / "a.off", meshes / "a.ply")
    with pytest.raises(InputError, match=r"a\.off and .*a\.ply would both write"):
        gather([meshes], out)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no meshes in this folder"):
        gather([tmp_path / "none"], out)


def test_masks_matched_to_meshes(tmp_path):
    """Masks are matched to meshes by name."""
    front, below = tmp_path / "front", tmp_path / "below"
    (front / "low").mkdir(parents=True)
    (below / "b").mkdir(parents=True)
    for file in (front / "a.png", front / "low" / "c.npy", front / "ab.png", below / "b" / "mask_007.jpg",
                 below / "b" / "mask_002.png", below / "b" / "view_002.png", below / "mask_001.png"):  # fmt: skip
        file.touch()
    given = [Reference(4, front)]
    assert masks_of(given, "a", alone=False) == [Reference(4, front / "a.png")]
    assert masks_of(given, "low/c", alone=False) == [Reference(4, front / "low" / "c.npy")]
    numbered = [Reference(2, below / "b" / "mask_002.png"), Reference(7, below / "b" / "mask_007.jpg")]
    assert masks_of([Reference(0, below)], "b", alone=False) == numbered
    assert masks_of([Reference(0, below)], "x", alone=True) == [Reference(1, below / "mask_001.png")]
    file = Reference(3, Path("m.png"))
    assert masks_of([file], "x", alone=True) == [file]
    with pytest.raises(InputError, match="one mask cannot serve several"):
        masks_of([file], "x", alone=False)
    with pytest.raises(InputError, match=r"no mask of b; expected b\.png"):
        masks_of(given, "b", alone=False)
    (front / "a.npy").touch()
    with pytest.raises(InputError, match="which is the mask of a"):
        masks_of(given, "a", alone=False)


def test_folder_of_single_mesh_takes_mask(folder, tmp_path):
    """A folder of a single mesh takes a mask file."""
    meshes, views = folder
    mask = views / "low" / "c" / "mask_000.png"
    command = ["run", str(meshes / "low"), "--ref", str(mask), "--out", str(tmp_path / "o"), *QUICK, "--quiet"]
    assert main(command) == 0
    assert len(np.load(tmp_path / "o" / "c" / "face_labels.npy")) == 12


def test_several_meshes_require_out(folder, capsys):
    """Several meshes need an output folder."""
    meshes, views = folder
    assert main(["run", str(meshes), "--ref", str(views)]) == 2
    assert "--out DIR" in capsys.readouterr().err
