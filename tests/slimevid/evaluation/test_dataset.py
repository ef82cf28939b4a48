"""Styles and layouts that are read, and everything that is refused: before a figure, with the list, status 2."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from slimecore.imaging.palette import davis_palette
from slimevid.cli import main
from slimevid.evaluation.dataset import open_youtube
from slimevid.evaluation.protocol import Protocol
from slimevid.evaluation.scoring import evaluate


def run(*arguments):
    return main(["eval", *map(str, arguments)])


def refused(capsys, *arguments):
    """Lines of the message; nothing else may have been printed."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err.splitlines()


def mean_j(capsys, *arguments):
    assert run(*arguments) == 0
    return next(float(line.split()[3]) for line in capsys.readouterr().out.splitlines() if line.startswith("mean"))


@pytest.fixture
def single(clip, davis):
    """A DAVIS-2016 folder of one sequence, 0/255."""
    truth, result = clip(6, 1, 4)
    return davis(2016, {"a": truth * 255}, "L"), truth, result


@pytest.mark.parametrize("style", ["0/255", "0/1", "indexed", "indexed 7", "RGB white", "RGB red", "1"])
def test_binary_mask_formats_read(style, single, write, tmp_path, capsys):
    """Binary masks of any format are read."""
    root, truth, _ = single
    folder = tmp_path / "r" / "a"
    if style == "0/255":
        write(folder, truth * 255, "L")
    elif style == "1":
        write(folder, truth * 255, "1")
    elif style == "0/1":
        write(folder, truth, "L")
    elif style.startswith("indexed"):
        write(folder, truth * (7 if "7" in style else 1))
    elif style == "RGB white":
        write(folder, truth * 255, "RGB")
    else:
        folder.mkdir(parents=True)
        for i, mask in enumerate(truth):
            picture = mask[..., None] * np.array([200, 30, 40], np.uint8)
            Image.fromarray(picture).save(folder / f"{i:05d}.png")
    assert mean_j(capsys, tmp_path / "r", "--davis", root, "--year", 2016) == 100.0


@pytest.mark.parametrize(("suffix", "least"), [("png", 100), ("jpg", 97)])
def test_antialiased_mask_rims_read(suffix, least, davis, tmp_path, capsys):
    """The rims of anti-aliased masks are read, too."""
    y, x = np.mgrid[:60, :90]
    distance = np.hypot(y - 30, x - 40)
    soft = (255 * (20.5 - distance).clip(0, 1)).astype(np.uint8)
    root = davis(2016, {"a": [(distance < 20).astype(np.uint8) * 255] * 3}, "L")
    (tmp_path / "r" / "a").mkdir(parents=True)
    Image.fromarray(soft).save(tmp_path / "r" / "a" / f"00001.{suffix}")
    assert len(np.unique(soft)) > 10
    assert mean_j(capsys, tmp_path / "r", "--davis", root) >= least


@pytest.mark.parametrize("style", ["indexed", "L", "RGB palette", "npy"])
def test_multi_object_mask_formats_read(style, clip, davis, write, tmp_path, capsys):
    """Masks of several objects are read in any format."""
    truth, _ = clip(6, 3, 2)
    root = davis(2017, {"a": truth})
    folder = tmp_path / "r" / "a"
    if style in {"indexed", "L"}:
        write(folder, truth, style)
    else:
        folder.mkdir(parents=True)
        for i, mask in enumerate(truth):
            if style == "npy":
                np.save(folder / f"{i:05d}.npy", mask)
            else:
                Image.fromarray(davis_palette()[mask]).save(folder / f"{i:05d}.png")
    assert mean_j(capsys, tmp_path / "r", "--davis", root, "--year", 2017) == 100.0


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


def test_sparse_annotation_scores_later_object(write, tmp_path, capsys):
    """YouTube-VOS: every fifth frame is annotated, and an object is scored after its first annotated frame.

    Results hold all frames. Object 2 is given in frame 10.
    """
    truth, result = np.zeros((21, 20, 30), np.uint8), np.zeros((21, 20, 30), np.uint8)
    truth[:, 2:8, 2:8] = result[:, 2:8, 2:8] = 1
    truth[10:, 12:18, 10:20] = 2
    result[10:, 12:18, 10:15] = 2
    truth[:, 0, :4] = 255  # void is no object
    folder = write(tmp_path / "y" / "Annotations" / "v", truth)
    for i in range(21):
        if i % 5:
            (folder / f"{i:05d}.png").unlink()
    write(tmp_path / "r" / "v", result)
    scores = evaluate(open_youtube(tmp_path / "y"), tmp_path / "r", Protocol(frames="later", objects="growing")).objects
    assert [(o.object, o.frames) for o in scores] == [
        (1, ("00005", "00010", "00015", "00020")),
        (2, ("00015", "00020")),
    ]
    assert [o.j.mean() for o in scores] == [1.0, 0.5]
    assert run(tmp_path / "r", "--ytvos", tmp_path / "y") == 0
    result[20, 0, 0] = 3
    write(tmp_path / "r" / "v", result)
    capsys.readouterr()
    (line,) = refused(capsys, tmp_path / "r", "--ytvos", tmp_path / "y")
    assert "results hold the ids 3, but the objects are 1, 2" in line


def test_later_object_may_have_smaller_id(write, tmp_path):
    """An object with a smaller id may appear later."""
    truth = np.zeros((4, 20, 30), np.uint8)
    truth[:, 2:8, 2:8] = 5
    truth[1:, 12:18, 10:20] = 2
    write(tmp_path / "y" / "Annotations" / "v", truth)
    write(tmp_path / "r" / "v", truth)
    protocol = Protocol(frames="later", objects="growing")
    scores = evaluate(open_youtube(tmp_path / "y"), tmp_path / "r", protocol).objects
    assert [(o.object, len(o.frames), o.j.mean()) for o in scores] == [(2, 2, 1.0), (5, 3, 1.0)]


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


def test_problems_listed_up_to_limit(clip, davis, write, tmp_path, capsys):
    """Every problem is listed, up to a limit."""
    truth, _ = clip(40, 2, 0)
    root = davis(2017, {"a": truth})
    wrong = truth.copy()
    wrong[5, 0, 0] = 3
    folder = write(tmp_path / "r" / "a", wrong)
    Image.fromarray(np.zeros((10, 12), np.uint8)).save(folder / "00007.png")
    (folder / "00008.png").write_bytes(b"no picture")
    lines = refused(capsys, tmp_path / "r", "--davis", root, "--year", 2017)
    assert len(lines) == 3
    assert "00005.png: holds the ids 3, but the objects are 1, 2" in lines[0]
    assert "00007.png: is 12x10, the truth 34x24" in lines[1]
    assert "00008.png as an image" in lines[2]
    write(tmp_path / "r" / "a", truth * 0 + 9)
    lines = refused(capsys, tmp_path / "r", "--davis", root, "--year", 2017)
    assert len(lines) == 21
    assert lines[-1] == "slimevid: ... and 18 more problems"
    assert not list((tmp_path / "r").glob("*.csv"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("0/255 of two objects", "holds only 0 and 255, but the objects are 1, 2"),
        ("void in a result", "255 is void, which a result must not hold"),
        ("colours of no palette", "its colours are not the DAVIS palette"),
        ("mixed modes", "masks are stored in mixed modes: indexed ids (00001.png), grey ids (00002.png)"),
        ("two files", "frame 00002 has several masks"),
        ("nested", "give "),
        ("empty first frame", "the first annotated frame holds no object"),
        ("too short", "2 annotated frames are too few"),
        ("photograph", "looks like a photograph"),
    ],
)
def test_invalid_results_refused(change, message, clip, davis, write, tmp_path, capsys):
    """Results that cannot be matched with the truth are refused."""
    truth, _ = clip(5, 2, 3)
    folder, results = tmp_path / "r" / "a", tmp_path / "r"
    kept = {"empty first frame": np.concatenate([truth[:1] * 0, truth[1:]]), "too short": truth[:2]}.get(change, truth)
    root = davis(2017, {"a": kept})
    write(folder, truth)
    truth[1:4, 2:5, 2:5], truth[1:4, 7:9, 2:5] = 1, 2
    if change == "0/255 of two objects":
        write(folder, (truth > 0) * 255, "L")
    elif change == "void in a result":
        write(folder, np.where(truth == 2, 255, truth))
    elif change == "colours of no palette":
        for i, mask in enumerate(truth):
            tones = np.array([[0, 0, 0], [10, 200, 99], [250, 90, 3]], np.uint8)
            Image.fromarray(tones[mask]).save(folder / f"{i:05d}.png")
    elif change == "mixed modes":
        write(folder, truth)
        Image.fromarray(truth[2]).save(folder / "00002.png")
    elif change == "two files":
        Image.fromarray(truth[2]).save(folder / "00002.bmp")
    elif change == "nested":
        (results / "480p").mkdir()
        folder.rename(results / "480p" / "a")
    elif change == "photograph":
        noise = np.random.default_rng(0).integers(0, 256, (24, 34, 3), np.uint8)
        Image.fromarray(noise).save(folder / "00001.png")
    lines = refused(capsys, results, "--davis", root, "--year", 2017)
    assert message in lines[0]
    assert len(lines) == (3 if change in {"0/255 of two objects", "void in a result", "colours of no palette"} else 1)


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


def test_evaluation_restores_opencv_threads(single, write, tmp_path):
    """An evaluation leaves OpenCV's number of threads as it was."""
    root, _, result = single
    write(tmp_path / "r" / "a", result)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        assert run(tmp_path / "r", "--davis", root, "--year", 2016, "--jobs", 1) == 0
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
