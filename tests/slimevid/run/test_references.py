"""Several references, corrections, and parts that appear and disappear."""

import csv
import json

import numpy as np
import pytest

from slimecore.io.masks import read_mask, write_mask

COUNT = 12


def labels(out, i):
    return read_mask(out / "masks" / f"{i:03d}.png").labels


def test_frames_follow_nearest_reference(command, tmp_path, disc):
    """Frames are labelled from the nearest reference.

    With the copying baseline the masks tell the reference of each frame.
    """
    refs = ["--ref", f"1={tmp_path / 'ref_1.png'}", "--ref", f"8={tmp_path / 'ref_8.png'}"]
    assert command(*refs, propagator="copy") == 0
    for i in range(COUNT):
        nearest = 1 if abs(i - 1) <= abs(i - 8) else 8
        assert np.array_equal(labels(tmp_path / "out", i), disc(nearest)[1]), i
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").read_text().splitlines()))
    assert [int(r["frame"]) for r in rows] == list(range(COUNT)), "rows are in the clip's order"


def test_plain_mask_belongs_to_ref_frame(command, tmp_path, disc):
    """A mask without a number belongs to ``--ref-frame``."""
    assert command("--ref", tmp_path / "ref_5.png", "--ref-frame", 5, propagator="copy") == 0
    assert np.array_equal(labels(tmp_path / "out", 0), disc(5)[1])
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["references"] == [{"mask": "ref_5.png", "frame": 5}]


@pytest.mark.parametrize(
    ("refs", "message"),
    [
        (["3={0}/ref_3.png", "3={0}/ref_4.png"], "frame 3 has two reference masks"),
        (["{0}/ref_0.png", "77={0}/ref_4.png"], "reference frame 77 lies outside the clip, which has frames 0..11"),
        (["{0}/ref_0.png", "4={0}/none.png"], "no such mask"),
        (["{0}/ref_0.png", "4={0}/colors.png"], "cannot be matched with those of the other masks"),
    ],
)
def test_inconsistent_references_refused(command, tmp_path, one_line, refs, message):
    """References that contradict each other are refused."""
    from PIL import Image

    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[5:20, 5:20], rgb[25:40, 5:20] = (200, 30, 77), (10, 200, 99)
    Image.fromarray(rgb).save(tmp_path / "colors.png")
    arguments = [a for ref in refs for a in ("--ref", ref.format(tmp_path))]
    assert command(*arguments) == 2
    assert message in one_line()
    assert not (tmp_path / "out").exists()


def test_empty_mask_marks_absence(command, tmp_path, one_line, disc):
    """Beside other references an empty mask says that no part is visible."""
    write_mask(tmp_path / "none.png", disc(0)[1] * 0)
    assert command("--ref", tmp_path / "none.png") == 2
    assert "the mask is empty" in one_line()
    assert command("--ref", tmp_path / "ref_0.png", "--ref", f"8={tmp_path / 'none.png'}", propagator="copy") == 0
    assert [bool(labels(tmp_path / "out", i).any()) for i in range(COUNT)] == [i < 5 for i in range(COUNT)]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["notes"] == ["none.png: an empty mask, frame 8 shows no part"]
    assert command("--ref", tmp_path / "ref_0.png", "--ref", f"8={tmp_path / 'none.png'}", propagator="fused") == 0


def square(tmp_path, disc, i):
    """Write the disc's mask of frame i with a part 2 in the upper left, and return its reference."""
    marked = disc(i)[1].copy()
    marked[2:9, 2:9] = 2
    write_mask(tmp_path / f"two_{i}.png", marked)
    return f"{i}={tmp_path / f'two_{i}.png'}"


def test_part_may_appear_later(command, tmp_path, disc):
    """A part may appear in a later reference only."""
    assert command("--ref", tmp_path / "ref_0.png", "--ref", square(tmp_path, disc, 8), propagator="copy") == 0
    out = tmp_path / "out"
    assert set(np.unique(labels(out, 0))) == {0, 1}
    assert set(np.unique(labels(out, 9))) == {0, 1, 2}
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert [(r["part"], r["present"]) for r in rows if r["frame"] == "1"] == [("1", "1"), ("2", "0")]
    assert [(r["part"], r["present"]) for r in rows if r["frame"] == "9"] == [("1", "1"), ("2", "1")]


def test_dropped_part_background_until_marked(command, tmp_path, disc):
    """A dropped part is background until a reference marks it again."""
    refs = ["--ref", square(tmp_path, disc, 0), "--ref", square(tmp_path, disc, 10)]
    assert command(*refs, "--drop", "2=2", propagator="copy") == 0
    out = tmp_path / "out"
    found = [2 in labels(out, i) for i in range(COUNT)]
    assert found == [i < 2 or i >= 10 for i in range(COUNT)]
    assert not labels(out, 4)[2:9, 2:9].any(), "its pixels are background, not its neighbour's"


@pytest.mark.parametrize(
    ("drop", "message"),
    [("3", "write it as FRAME=VALUE"), ("3=x", "write it as FRAME=VALUE"), ("3=9", "there is no part 9")],
)
def test_invalid_drop_refused(command, tmp_path, one_line, drop, message):
    """Invalid drops are refused."""
    assert command("--ref", tmp_path / "ref_0.png", "--drop", drop) == 2
    assert message in one_line()


def test_forty_parts_labelled(command, tmp_path):
    """Forty parts are labelled."""
    grid = (np.arange(48)[:, None] // 6) * 8 + np.arange(64)[None] // 8 + 1
    write_mask(tmp_path / "many.png", np.where(grid > 40, 0, grid * 3))
    assert command("--ref", tmp_path / "many.png", propagator="fused") == 0
    found = labels(tmp_path / "out", 1)
    assert set(np.unique(found)) <= {0, *range(3, 121, 3)}
    assert len(np.unique(found)) > 25
    assert len((tmp_path / "out" / "scores.csv").read_text().splitlines()) == 1 + 40 * COUNT


# Corrections


def run_twice(command, tmp_path, first, second, *more, **how):
    """Run, then resume with other references, and return the frames whose masks were written again."""
    assert command(*first, *more, **how) == 0
    masks = tmp_path / "out" / "masks"
    before = {p.name: (p.stat().st_ino, p.read_bytes()) for p in masks.iterdir()}
    assert command(*second, *more, "--resume", **how) == 0
    after = {p.name: (p.stat().st_ino, p.read_bytes()) for p in masks.iterdir()}
    assert set(before) == set(after)
    again = sorted(int(name[:3]) for name in before if before[name][0] != after[name][0])
    assert all(before[n][1] == after[n][1] for n in before if int(n[:3]) not in again)
    return again


def refs(tmp_path, *frames):
    return [a for i in frames for a in ("--ref", f"{i}={tmp_path / f'ref_{i}.png'}")]


@pytest.mark.parametrize(
    ("first", "second", "affected"),
    [
        ((0,), (0, 6), list(range(12))),
        ((0, 4, 9), (0, 4, 6, 9), [4, 5, 6, 7, 8]),
        ((0, 4, 9), (0, 9), list(range(9))),
        ((2, 9), (2, 9, 11), [9, 10, 11]),
        ((2, 9), (2, 9), []),
    ],
)
def test_added_reference_reruns_own_interval(command, tmp_path, first, second, affected):
    """Another reference labels the frames between its neighbours again."""
    again = run_twice(command, tmp_path, refs(tmp_path, *first), refs(tmp_path, *second))
    assert again == affected


def test_corrected_reference_reruns_both_sides(command, tmp_path, disc):
    """A corrected reference labels both sides again, up to its neighbours."""
    write_mask(tmp_path / "mended.png", np.roll(disc(5)[1], 2, 0))
    second = [*refs(tmp_path, 0, 10), "--ref", f"5={tmp_path / 'mended.png'}"]
    again = run_twice(command, tmp_path, refs(tmp_path, 0, 5, 10), second, propagator="copy")
    assert again == list(range(10))
    assert np.array_equal(labels(tmp_path / "out", 5), np.roll(disc(5)[1], 2, 0))


@pytest.mark.parametrize("propagator", ["flow_warp", "fused"])
def test_correction_matches_full_run(command, tmp_path, read_results, propagator):
    """Corrected frames are those of a run with all references."""
    again = run_twice(command, tmp_path, refs(tmp_path, 0, 5, 10), refs(tmp_path, 0, 5, 7, 10), propagator=propagator)
    assert again == [5, 6, 7, 8, 9]
    assert command(*refs(tmp_path, 0, 5, 7, 10), out="whole", propagator=propagator) == 0
    corrected, whole = (read_results(tmp_path / o, "masks") for o in ("out", "whole"))
    assert all(corrected[f"masks/{i:03d}.png"] == whole[f"masks/{i:03d}.png"] for i in again)
    rows = [list(csv.reader((tmp_path / o / "scores.csv").read_text().splitlines())) for o in ("out", "whole")]
    assert [r[:3] for r in rows[0]] == [r[:3] for r in rows[1]], "scores of replaced frames are replaced"
    assert all(a == b for a, b in zip(*rows, strict=True) if a[0] in {"5", "6", "7", "8", "9"})
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["labelled"] == {"frames": 12, "by_this_run": 5, "since_the_last_change": 5}


@pytest.mark.parametrize("value", [1, 9])
def test_correction_may_add_part(command, tmp_path, disc, value):
    """A correction may add a part.

    Whatever its number: rows of the other parts may change, their masks do not.
    """
    for i in (0, 5, 7, 10):
        marked = disc(i)[1] * value
        marked[2:9, 2:9] = 2 if i == 7 else 0
        write_mask(tmp_path / f"ref_{i}.png", marked)
    again = run_twice(command, tmp_path, refs(tmp_path, 0, 5, 10), refs(tmp_path, 0, 5, 7, 10), propagator="copy")
    assert again == [5, 6, 7, 8, 9]
    assert set(np.unique(labels(tmp_path / "out", 7))) == {0, value, 2}
    assert set(np.unique(labels(tmp_path / "out", 11))) == {0, value}
