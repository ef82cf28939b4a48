"""The result folder: its names, and what may be deleted in it."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

import pytest

import slimevid
from slimecore.errors import OutputError
from slimevid.run.output_folder import EXPORTS, OutputFolder

PACKAGE = Path(slimevid.__file__).parent
SHIPPED_WEIGHTS = "refinement/network.py"  # models/completion.safetensors, a file of the package


def result_names(folder):
    names = {name for name, value in vars(OutputFolder).items() if isinstance(value, property)}
    return {getattr(folder, name).name for name in names} | set(EXPORTS.values())


def test_no_other_module_builds_a_path_of_a_result(tmp_path):
    names = result_names(OutputFolder(tmp_path))
    assert {"masks", "soft", "rgba", "overlay.mp4", "scores.csv", "report.json", "run.json"} <= names
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant):
                found += [where] if node.right.value in names else []
    assert set(found) == {"run/output_folder.py", SHIPPED_WEIGHTS}


def test_names_differ(tmp_path):
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
def test_only_these_files_are_deleted(folder, operation, deleted):
    before = relative_files(folder)
    operation(folder)
    assert before - relative_files(folder) == deleted


def test_labels_of_a_frame_are_mask_and_soft_labels(folder):
    folder.soft_labels("a").unlink()
    assert folder.has_labels("a", soft=False)
    assert not folder.has_labels("a", soft=True)
    assert folder.has_labels("b", soft=True)


def test_masks_without_a_manifest_are_not_resumed(folder):
    with pytest.raises(OutputError, match=r"holds masks but no run\.json"):
        folder.check_resumable()
    folder.manifest.touch()
    folder.check_resumable()
