"""IoU per image and over the data set, by hand and against a naive implementation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from slimecore.errors import InputError
from slimecore.io.masks import write_mask
from slimecore.metrics.part_iou import IouAccumulator, evaluate_folders, evaluate_labels

TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 2]])
GUESS = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])


def by_value(report):
    return {part.value: part for part in report.parts}


def test_iou_of_single_pair_by_hand():
    """The figures of a single pair equal those worked out by hand."""
    report = evaluate_labels([(GUESS, TRUTH)], {1: "head"})
    parts = by_value(report)
    assert report.images == 1
    assert (parts[0].per_image, parts[0].dataset) == (3 / 4, 3 / 4)
    assert (parts[1].per_image, parts[1].dataset) == (3 / 5, 3 / 5)
    assert (parts[2].per_image, parts[2].dataset) == (0, 0)
    assert [p.name for p in report.parts] == ["background", "head", "part 2"]
    assert report.mean("per_image") == pytest.approx((0.75 + 0.6 + 0) / 3)
    assert report.mean("dataset", background=False) == pytest.approx(0.3)


def test_false_positive_costs_only_dataset_iou():
    """A part predicted in an image without it costs only at data-set level."""
    without = np.zeros_like(TRUTH)
    clean = evaluate_labels([(TRUTH, TRUTH), (without, without)])
    wrong = evaluate_labels([(TRUTH, TRUTH), (np.full_like(TRUTH, 1), without)])
    assert by_value(clean)[1].per_image == by_value(wrong)[1].per_image == 1
    assert by_value(wrong)[1].images == 1
    assert by_value(clean)[1].dataset == 1
    assert by_value(wrong)[1].dataset == pytest.approx(3 / 11)
    assert by_value(wrong)[0].per_image == 0.5  # the background is there, and lost


def test_value_only_predicted_scores_zero():
    """A value that is only predicted has no score per image and scores zero over the data set."""
    part = by_value(evaluate_labels([(np.full((2, 2), 9), np.zeros((2, 2), int))]))[9]
    assert (part.images, part.per_image, part.dataset) == (0, None, 0.0)


def test_per_image_and_dataset_weighting():
    """Images count alike per image, and pixels count alike over the data set."""
    small = np.array([[1, 0]])
    large = np.ones((10, 10), int)
    parts = by_value(evaluate_labels([(np.array([[0, 0]]), small), (large, large)]))
    assert parts[1].per_image == 0.5
    assert parts[1].dataset == pytest.approx(100 / 101)


def test_ignored_truth_excluded_void_prediction_wrong():
    """Pixels ignored in the truth count nowhere, and void predictions are wrong."""
    truth = np.array([[1, -1, 0, 1]])
    parts = by_value(evaluate_labels([(np.array([[1, 1, 0, -1]]), truth)]))
    assert parts[1].per_image == 0.5
    assert parts[0].per_image == 1
    assert by_value(evaluate_labels([(np.array([[1, 7, 0, 1]]), truth)])).keys() == {0, 1}


def naive(pairs, value):
    ious, both, either = [], 0, 0
    for guess, truth in pairs:
        inside = seen = union = 0
        for g, t in zip(guess.ravel(), truth.ravel(), strict=True):
            if t < 0:
                continue
            seen += t == value
            inside += g == value and t == value
            union += g == value or t == value
        both, either = both + inside, either + union
        if seen:
            ious.append(inside / union)
    return (np.mean(ious) if ious else None), (both / either if either else None), len(ious)


@pytest.mark.parametrize("seed", range(3))
def test_iou_matches_naive(seed):
    """The figures agree with a naive implementation."""
    rng = np.random.default_rng(seed)
    pairs = [(rng.integers(-1, 5, (6, 7)), rng.integers(-1, 2 + i, (6, 7))) for i in range(4)]
    report = evaluate_labels(iter(pairs))
    assert [p.value for p in report.parts] == [0, 1, 2, 3, 4]
    for part in report.parts:
        per_image, dataset, images = naive(pairs, part.value)
        assert part.per_image == pytest.approx(per_image)
        assert part.dataset == pytest.approx(dataset)
        assert part.images == images


def test_squash_resizes_both_masks():
    """Squashing brings prediction and truth to the same size."""
    truth = np.kron(TRUTH, np.ones((4, 2), int))
    report = evaluate_labels([(TRUTH, truth)], size=8)
    assert report.mean("per_image") == 1
    with pytest.raises(InputError, match="of one size"):
        evaluate_labels([(TRUTH, truth)])


def test_float_labels_refused():
    """Float arrays are no labels."""
    with pytest.raises(InputError, match="integers"):
        IouAccumulator().add(TRUTH.astype(float), TRUTH)


def test_report_as_json_and_table():
    """The report is JSON and a table."""
    report = evaluate_labels([(GUESS, TRUTH), (TRUTH, TRUTH)], {1: "head"})
    told = json.loads(json.dumps(report.to_dict()))
    assert told["images"] == 2
    assert told["parts"][1] == {
        "value": 1,
        "name": "head",
        "images": 2,
        "per_image": pytest.approx(0.8),
        "dataset": pytest.approx(6 / 8),
    }
    assert told["miou"]["per_image"]["with_background"] == pytest.approx((0.875 + 0.8 + 0.5) / 3)
    assert told["miou"]["dataset"]["without_background"] == pytest.approx((0.75 + 0.5) / 2)
    lines = report.table().splitlines()
    assert lines[0].split("  ")[0].strip() == "value"
    assert lines[2].split() == ["1", "head", "2", "80.0", "75.0"]
    assert lines[-2].split() == ["mean", "with", "background", "2", "72.5", "70.8"]


def folders(tmp_path, guesses, truths):
    for name, masks in (("guess", guesses), ("truth", truths)):
        (tmp_path / name).mkdir()
        for stem, labels in masks.items():
            write_mask(tmp_path / name / f"{stem}.png", labels)
    return tmp_path / "guess", tmp_path / "truth"


def test_folders_paired_by_stem(tmp_path):
    """Folders are paired by stem, and extra predictions are left out."""
    guess, truth = folders(tmp_path, {"a": GUESS, "c": GUESS}, {"a": TRUTH})
    np.save(guess / "b.npy", TRUTH)
    write_mask(truth / "b.png", TRUTH)
    (truth / "labels.json").write_text("{}")
    report = evaluate_folders(guess, truth, {2: "tail"})
    assert report.images == 2
    assert by_value(report)[2].per_image == 0.5
    assert by_value(report)[2].name == "tail"


def test_all_folder_problems_reported_together(tmp_path):
    """All problems of the folders are reported together."""
    guess, truth = folders(
        tmp_path, {"a": GUESS, "size": GUESS[:, :2], "gray": GUESS}, dict.fromkeys(("a", "size", "gray", "lost"), TRUTH)
    )
    Image.fromarray(np.kron([[0, 85], [170, 255]], np.ones((9, 9))).astype(np.uint8)).save(guess / "gray.png")
    write_mask(truth / "broken.png", TRUTH)
    (guess / "broken.png").write_bytes(b"no image")
    write_mask(truth / "twice.png", TRUTH)
    write_mask(guess / "twice.png", TRUTH)
    np.save(guess / "twice.npy", TRUTH)
    with pytest.raises(InputError) as caught:
        evaluate_folders(guess, truth)
    message = str(caught.value)
    assert "\n" not in message
    for piece in ("no prediction for lost.png", "size.png is 2x2, its ground truth 4x2", "indexed PNG", "cannot read"):
        assert piece in message
    assert "twice.npy and twice.png" in message


def test_long_problem_list_shortened(tmp_path):
    """A long list of problems is shortened."""
    guess, truth = folders(tmp_path, {"a": TRUTH}, {"a": TRUTH, **{f"x{i}": TRUTH for i in range(20)}})
    with pytest.raises(InputError, match=r"x11\.png; and 8 more$"):
        evaluate_folders(guess, truth)


def test_disjoint_folders_error_names_both(tmp_path):
    """Folders with nothing in common give an error that names both sides."""
    guess, truth = folders(tmp_path, {"a": TRUTH}, {"b": TRUTH})
    with pytest.raises(InputError, match=r"a\.png.*b\.png"):
        evaluate_folders(guess, truth)
    with pytest.raises(InputError, match="no such folder"):
        evaluate_folders(tmp_path / "none", truth)
    with pytest.raises(InputError, match="size"):
        evaluate_folders(guess, truth, size=0)


def test_colours_numbered_per_file_refused(tmp_path):
    """Colours that would be numbered file by file are refused."""
    guess, truth = folders(tmp_path, {"a": TRUTH}, {})
    rgb = np.zeros((2, 4, 3), np.uint8)
    rgb[:, 2:] = (10, 200, 90)
    Image.fromarray(np.kron(rgb, np.ones((8, 8, 1), np.uint8))).save(truth / "a.png")
    with pytest.raises(InputError, match="numbered file by file; save masks as indexed PNG"):
        evaluate_folders(guess, truth)


@pytest.mark.parametrize("kind", ["colours", "white", "16 bits", "tones", "jpeg", "array and picture"])
def test_folder_evaluates_against_itself(tmp_path, kind):
    """A folder of any masks equals itself, and a copy of itself."""
    labels = np.kron(np.array([[0, 1, 2]]), np.ones((16, 16), int))
    colors = np.array([(0, 0, 0), (250, 10, 10), (255, 255, 255)], np.uint8)
    for name, shown in (("a", labels), ("b", labels[:, 16:]), ("c", labels[:, 32:])):
        if kind == "colours":
            Image.fromarray(colors[shown]).save(tmp_path / f"{name}.png")
        elif kind == "white":
            Image.fromarray((shown > 1).astype(np.uint8) * 255).save(tmp_path / f"{name}.png")
        elif kind == "16 bits":
            Image.fromarray(np.array([0, 2, 300], np.uint16)[shown]).save(tmp_path / f"{name}.png")
        elif kind == "tones":
            Image.fromarray(np.array([0, 85, 170], np.uint8)[shown]).save(tmp_path / f"{name}.png")
        elif kind == "jpeg":
            Image.fromarray(np.array([0, 60, 150], np.uint8)[shown]).save(tmp_path / f"{name}.jpg")
        else:
            np.save(tmp_path / f"{name}.npy", shown)
            Image.fromarray(colors[shown]).save(tmp_path / f"{name}.png")
    report = evaluate_folders(tmp_path, tmp_path)
    assert report.images == 3
    assert report.mean("dataset") == 1


def gray(path, labels):
    Image.fromarray(labels.astype(np.uint8)).save(path)


def test_lone_255_read_per_folder(tmp_path):
    """A lone 255 is part 1 only in a folder without other values."""
    guess, truth = folders(tmp_path, {}, {})
    gray(guess / "a.png", (TRUTH > 0) * 255)
    gray(truth / "a.png", (TRUTH > 0) * 1)
    parts = by_value(evaluate_folders(guess, truth))
    assert parts.keys() == {0, 1}
    assert parts[1].per_image == 1

    gray(truth / "b.png", (TRUTH > 0) * 255)  # beside a truth with ids: void
    gray(guess / "b.png", (TRUTH > 0) * 0)
    report = evaluate_folders(guess, truth)
    assert by_value(report)[1].images == 1
    assert report.mean("dataset") == 1


def test_squashed_folders_may_differ_in_size(tmp_path):
    """Folders may differ in image size when masks are squashed."""
    guess, truth = folders(tmp_path, {"a": TRUTH}, {"a": np.kron(TRUTH, np.ones((3, 3), int))})
    assert evaluate_folders(guess, truth, size=12).mean("dataset") == 1
