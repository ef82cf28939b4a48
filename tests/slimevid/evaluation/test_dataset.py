"""Layouts of truth and results that are read, and incomplete results that are refused."""

from __future__ import annotations

import numpy as np
import pytest

from slimecore.errors import InputError
from slimevid.evaluation.dataset import davis_set
from tests.slimevid.evaluation.commands import mean_j, refused, run


def test_masks_of_run_found(clip, write, tmp_path, capsys):
    """The masks of ``slimevid run`` are found in its output folder."""
    truth, _ = clip(6, 2, 0)
    write(tmp_path / "truth", truth)
    write(tmp_path / "result" / "masks", truth)
    assert mean_j(capsys, tmp_path / "result", "--truth", tmp_path / "truth", "--out", tmp_path / "o") == 100.0


def test_folders_with_sparse_ids_measured(clip, write, tmp_path, capsys):
    """Plain folders whose ids are not consecutive are measured."""
    truth, result = clip(6, 2, 5)
    ids = np.array([0, 3, 9], np.uint8)
    write(tmp_path / "t" / "x", ids[truth])
    write(tmp_path / "r" / "x", ids[result])
    assert run(tmp_path / "r", "--truth", tmp_path / "t") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:4]] == ["x_3", "x_9", "mean"]


def test_missing_masks_listed_first(single, write, davis, tmp_path, capsys):
    """All missing masks are listed before any file is read."""
    root, _, result = single
    write(tmp_path / "r" / "a", result)
    for i in (1, 3):
        (tmp_path / "r" / "a" / f"{i:05d}.png").unlink()
    (line,) = refused(capsys, tmp_path / "r", "--davis", root)
    assert "2 of 4 scored frames have no mask: 00001, 00003" in line
    for file in (tmp_path / "r" / "a").iterdir():
        file.rename(file.with_name(f"frame{file.name}"))
    (line,) = refused(capsys, tmp_path / "r", "--davis", root)
    assert "named like frame" in line


def test_first_and_last_masks_optional(single, write, tmp_path, capsys):
    """The first and the last mask are not needed."""
    root, truth, _ = single
    write(tmp_path / "r" / "a", truth[1:-1], first=1)
    assert mean_j(capsys, tmp_path / "r", "--davis", root) == 100.0


def test_wrong_year_or_split_refused(single, davis, write, tmp_path, capsys):
    """Truth masks of 0 and 255, read as ids, are void: this is reported, and so are unknown lists and options.

    Otherwise the status would be 0 without a figure.
    """
    root, truth, _ = single
    write(tmp_path / "r" / "a", truth)
    (root / "ImageSets" / "2017").mkdir()
    (root / "ImageSets" / "2017" / "val.txt").write_text("a\n")
    (line,) = refused(capsys, tmp_path / "r", "--davis", root, "--year", 2017)
    assert "--year 2016" in line
    (line,) = refused(capsys, tmp_path / "r", "--davis", root, "--set", "train")
    assert "no such list" in line
    (line,) = refused(capsys, tmp_path / "r", "--davis", root, "--year", 2015)
    assert "2016 or 2017" in line
    (line,) = refused(capsys, tmp_path / "r", "--davis", root, "--sequences", "b")
    assert "no sequence 'b' in 2016 val" in line
    (line,) = refused(capsys, tmp_path / "nowhere", "--davis", root)
    assert "no such folder" in line
    (line,) = refused(capsys, tmp_path / "r", "--davis", root, "--jobs", 0)
    assert "--jobs must be 1 or more" in line


def test_stale_tables_ignored(single, write, tmp_path, capsys):
    """Tables of an earlier evaluation are never read."""
    root, truth, result = single
    write(tmp_path / "r" / "a", result)
    (tmp_path / "r" / "global_results-val.csv").write_text("J&F-Mean\n0.999\n")
    (tmp_path / "r" / "per-sequence_results-val.csv").write_text("Sequence\n")
    before = mean_j(capsys, tmp_path / "r", "--davis", root)
    write(tmp_path / "r" / "a", truth)
    assert before < 100.0 == mean_j(capsys, tmp_path / "r", "--davis", root)
    assert (tmp_path / "r" / "global_results-val.csv").read_text().splitlines()[1].startswith("1.000,1.000,1.000,0.000")


def test_original_davis_lists_read(single, write, tmp_path, capsys):
    """The lists of the original DAVIS release are pairs of paths."""
    root, truth, _ = single
    (root / "ImageSets" / "2016" / "val.txt").unlink()
    (root / "ImageSets" / "480p").mkdir()
    lines = [f"/JPEGImages/480p/a/{i:05d}.jpg /Annotations/480p/a/{i:05d}.png" for i in range(6)]
    (root / "ImageSets" / "480p" / "val.txt").write_text("\n".join(lines))
    write(tmp_path / "r" / "a", truth)
    assert mean_j(capsys, tmp_path / "r", "--davis", root) == 100.0


def test_objects_after_first_frame_noted(clip, davis, write, tmp_path, capsys):
    """Objects that appear after the first frame are named in a note."""
    truth, _ = clip(5, 1, 0)
    truth[2:, -3:, -3:] = 2
    root = davis(2017, {"a": truth})
    write(tmp_path / "r" / "a", truth % 2)
    assert run(tmp_path / "r", "--davis", root, "--year", 2017) == 0
    assert "objects 2 are not in the first annotated frame" in capsys.readouterr().err


def test_single_clip_as_dataset_refused(single, write, tmp_path, capsys):
    """The output of ``slimevid run`` in place of results for a data set is refused in a single line."""
    root, _, result = single
    write(tmp_path / "clip_slime" / "masks", result)
    lines = refused(capsys, tmp_path / "clip_slime", "--davis", root, "--year", 2016)
    assert len(lines) == 1
    assert "holds the masks of one clip, as slimevid run writes them; measure it with --truth" in lines[0]
    assert run(tmp_path / "clip_slime", "--truth", root / "Annotations" / "480p" / "a", "--frames", "inner") == 0


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("bear", "bear"),
        ("/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png", "bear"),
        ("..", None),
        ("/JPEGImages/480p/../00000.jpg", None),
        ("/etc", None),
        ("../bear", None),
        ("bear\\..", None),
    ],
)
def test_listed_names_stay_inside(tmp_path, line, name):
    """A line of a list is a plain name or the path of a picture, and never leads out of the data set."""
    file = tmp_path / "ImageSets" / "2016" / "val.txt"
    file.parent.mkdir(parents=True)
    file.write_text(f"{line}\n")
    if name is not None:
        assert davis_set(tmp_path, 2016, "val") == [name]
        return
    with pytest.raises(InputError, match=r"val\.txt: .* is no plain name"):
        davis_set(tmp_path, 2016, "val")
