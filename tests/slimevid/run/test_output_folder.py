"""The result folder: its names, and what may be deleted in it."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import slimevid
from slimecore.errors import OutputError
from slimecore.io.masks import write_mask
from slimevid.run.output_folder import EXPORTS, OutputFolder
from tests.slimevid.run.commands import SMALL, one_line, run

PACKAGE = Path(slimevid.__file__).parent
SHIPPED_WEIGHTS = "refinement/network.py"  # models/completion.safetensors, a file of the package


def result_names(folder):
    names = {name for name, value in vars(OutputFolder).items() if isinstance(value, property)}
    return {getattr(folder, name).name for name in names} | set(EXPORTS.values())


def test_only_owner_spells_result_names(tmp_path):
    """No other module builds a path of a result."""
    names = result_names(OutputFolder(tmp_path))
    assert {"masks", "soft", "rgba", "overlay.mp4", "scores.csv", "report.json", "run.json"} <= names
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant):
                found += [where] if node.right.value in names else []
    assert set(found) == {"run/output_folder.py", SHIPPED_WEIGHTS}


def test_result_names_differ(tmp_path):
    """All results have different names."""
    folder = OutputFolder(tmp_path)
    properties = [name for name, value in vars(OutputFolder).items() if isinstance(value, property)]
    assert [field.name for field in fields(OutputFolder)] == ["root"]
    assert len({getattr(folder, name) for name in properties}) == len(properties)


@pytest.fixture
def folder(tmp_path):
    """A folder with the files of frames a and b, of the clip, and of a process that was killed."""
    folder = OutputFolder(tmp_path / "out")
    folder.create()
    folder.create_label_folders(soft=True)
    folder.rgba.mkdir()
    for stem in ("a", "b"):
        for path in (folder.mask(stem), folder.soft_labels(stem), folder.cut_out(stem)):
            path.touch()
    for path in (folder.overlay, folder.embeddings, folder.scores, folder.export("coco-rle"), folder.report):
        path.touch()
    (folder.masks / ".b.123.part.png").touch()
    (folder.root / "notes.txt").touch()
    return folder


def relative_files(folder):
    return {path.relative_to(folder.root).as_posix() for path in folder.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("operation", "deleted"),
    [
        (OutputFolder.remove_clip_files, {"overlay.mp4", "parts.safetensors", "scores.csv", "coco_rle.json"}),
        (lambda folder: folder.remove_frame_files(["a", "none"]), {"masks/a.png", "soft/a.npy", "rgba/a.png"}),
        (lambda folder: folder.remove_exports(["b"]), {"coco_rle.json", "rgba/b.png"}),
        (OutputFolder.remove_partial_files, {"masks/.b.123.part.png"}),
    ],
    ids=["clip files", "frame files", "exports", "partial files"],
)
def test_clearing_deletes_only_its_files(folder, operation, deleted):
    """Each operation deletes its own files and no others."""
    before = relative_files(folder)
    operation(folder)
    assert before - relative_files(folder) == deleted


def test_frame_labels_are_mask_and_soft(folder):
    """The labels of a frame are its mask and, if asked for, its soft labels."""
    folder.soft_labels("a").unlink()
    assert folder.has_labels("a", soft=False)
    assert not folder.has_labels("a", soft=True)
    assert folder.has_labels("b", soft=True)


def test_masks_without_manifest_not_resumed(folder):
    """Masks without a manifest are not resumed."""
    with pytest.raises(OutputError, match=r"holds masks but no run\.json"):
        folder.check_resumable()
    folder.manifest.touch()
    folder.check_resumable()


def test_masks_of_other_clip_refused(clip, tmp_path, capsys):
    """A folder that holds masks of another clip is refused."""
    out = tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    write_mask(out / "masks" / "00077.png", np.zeros((4, 4), int))
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", out, *SMALL) == 2
    assert "masks of another clip" in one_line(capsys)
    assert (out / "masks" / "00077.png").exists()


def test_results_never_overwrite_clip(tmp_path, two_tone, capsys):
    """Results never overwrite the clip."""
    rgb, mask = two_tone
    (tmp_path / "proj" / "masks").mkdir(parents=True)
    frame = tmp_path / "proj" / "masks" / "f1.png"
    Image.fromarray(rgb).save(frame)
    write_mask(tmp_path / "ref.png", mask)
    before = frame.read_bytes()
    assert run(frame.parent, "--ref", tmp_path / "ref.png", "--out", tmp_path / "proj", *SMALL) == 2
    assert "would overwrite the clip" in one_line(capsys)
    assert frame.read_bytes() == before


def test_results_of_other_clip_kept(clip, tmp_path, two_tone, capsys):
    """Results of another clip are not overwritten."""
    out = tmp_path / "out"
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", out, *SMALL) == 0
    assert run(clip, "--ref", tmp_path / "ref.png", "--out", out, *SMALL) == 0, "the same clip may run again"
    other = tmp_path / "other"
    other.mkdir()
    for file in clip.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    capsys.readouterr()
    assert run(other, "--ref", tmp_path / "ref.png", "--out", out, *SMALL) == 2
    assert "results of another clip" in one_line(capsys)


def test_user_images_in_output_kept(command, slide, tmp_path):
    """Images of the user in the output folder are kept.

    The first run goes into a folder of the user's own, which has a subfolder named as an export.
    """
    own = tmp_path / "out" / "rgba" / "003.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    assert command("--ref", tmp_path / "ref_0.png") == 0
    assert own.read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["scores.csv", ".frames.bin", "masks", "rgba"])
def test_links_out_of_results_refused(command, tmp_path, capsys, name):
    """A result that is a link to another place is refused, and the place is left alone."""
    away, out = tmp_path / "away", tmp_path / "out"
    out.mkdir()
    if "." in name:
        away.write_bytes(b"mine")
    else:
        away.mkdir()
    (out / name).symlink_to(away)
    assert command("--ref", tmp_path / "ref_0.png", "--export", "rgba") == 2
    assert f"{name} is a link out of the result folder" in one_line(capsys)
    assert away.read_bytes() == b"mine" if away.is_file() else not list(away.iterdir())
