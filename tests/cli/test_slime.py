"""``slime`` from end to end: learn, segment, eval, and invalid input."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from slimecore.cli import main
from slimecore.io.embeddings import load_embeddings
from slimecore.io.images import open_image, read_rgb
from slimecore.io.masks import read_mask, write_mask
from slimecore.metrics.davis import region_j

QUICK = ["--set", "probe.steps=60", "--set", "probe.views.count=2", "--quiet"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two pictures of a disc, their masks, and names."""
    root = tmp_path_factory.mktemp("slime")
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    y, x = np.mgrid[:96, :128]
    for name, center in (("a", 50), ("b", 80)):
        mask = ((y - 48) ** 2 + (x - center) ** 2 < 26**2).astype(np.uint8) * 3
        rgb = np.where(mask[..., None] > 0, (220, 120, 30), (40, 70, 160)).astype(np.uint8)
        Image.fromarray(rgb).save(root / "images" / f"{name}.png")
        write_mask(root / "masks" / f"{name}.png", mask)
    (root / "names.json").write_text('{"3": "disc"}')
    return root


@pytest.fixture(scope="module")
def learned(folder):
    out = folder / "parts.safetensors"
    pair = [str(folder / "images" / "a.png"), str(folder / "masks" / "a.png")]
    assert main(["learn", *pair, "--out", str(out), "--names", str(folder / "names.json"), *QUICK]) == 0
    return out


def failure(capsys, *arguments):
    """Status 2 and one line."""
    assert main([str(a) for a in arguments]) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("slime: ")
    assert "\n" not in message
    return message


def test_learn_segment_eval(folder, learned, tmp_path, capsys):
    """The commands learn, segment and eval work in sequence."""
    out = tmp_path / "out"
    assert main(["segment", str(learned), str(folder / "images"), "--out", str(out), "--soft"]) == 0
    assert "2 pictures, 1 parts" in capsys.readouterr().out
    found = read_mask(out / "masks" / "b.png").labels
    assert region_j(found == 3, read_mask(folder / "masks" / "b.png").labels == 3) > 0.8
    assert np.load(out / "soft" / "b.npy").shape[0] == 2
    assert open_image(out / "confidence" / "b.png").mode == "L"
    assert read_rgb(out / "overlays" / "b.png").shape == (96, 128, 3)
    with (out / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["name"]) for row in rows] == [("a", "disc"), ("b", "disc")]
    assert int(rows[1]["area"]) == int((found == 3).sum())
    report = json.loads((out / "report.json").read_text())
    assert report["images"] == 2
    assert report["parts"][1]["name"] == "disc"
    figures = tmp_path / "figures.json"
    assert main(["eval", str(out / "masks"), str(folder / "masks"), "--json", str(figures)]) == 0
    table = capsys.readouterr().out
    assert "mean with background" in table
    assert json.loads(figures.read_text())["miou"]["dataset"]["with_background"] > 0.8


def test_folders_paired_by_name(folder, tmp_path):
    """Folders are paired by name and learned together."""
    out = tmp_path / "deep" / "parts.safetensors"
    assert main(["learn", str(folder / "images"), str(folder / "masks"), "--out", str(out), *QUICK]) == 0
    assert load_embeddings(out).parts.values == (0, 3)


def test_faithful_mode_learns_and_segments(folder, tmp_path, capsys):
    """Faithful mode uses the same commands."""
    out = tmp_path / "parts.safetensors"
    pair = [str(folder / "images" / "a.png"), str(folder / "masks" / "a.png")]
    settings = ["--mode", "faithful", "--size", "96", "--set", "faithful.epochs=15", "--set", "faithful.views=3"]
    assert main(["learn", *pair, "--out", str(out), *settings]) == 0
    assert "1 parts from 1 picture, faithful mode" in capsys.readouterr().out
    assert main(["segment", str(out), str(folder / "images"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    truth = read_mask(folder / "masks" / "b.png").labels
    assert region_j(read_mask(tmp_path / "out" / "masks" / "b.png").labels, truth) > 0.7
    assert main(["show", str(out)]) == 0
    assert "mode      faithful" in capsys.readouterr().out


def test_model_of_parts_is_default(folder, tmp_path, sd_folder, capsys):
    """The model that the parts were learned with is the default."""
    out = tmp_path / "parts.safetensors"
    pair = [str(folder / "images" / "a.png"), str(folder / "masks" / "a.png")]
    quick = ["--set", "probe.steps=2", "--set", "probe.views.count=1", "--size", "64", "--quiet"]
    assert main(["learn", *pair, "--out", str(out), "--model", str(sd_folder), *quick]) == 0
    assert main(["segment", str(out), str(folder / "images"), "--out", str(tmp_path / "o"), "--quiet"]) == 0
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert report["model"]["name"] == str(sd_folder)
    message = failure(capsys, "segment", out, folder / "images", "--out", tmp_path / "p", "--model", "slime-tiny")
    assert f"use --model {sd_folder}" in message


def test_export_writes_file_per_part(learned, tmp_path, capsys):
    """``slime export`` writes a file for every part."""
    assert main(["export", str(learned), "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["background.safetensors", "disc.safetensors"]
    assert "disc.safetensors" in capsys.readouterr().out


def test_bad_input_gives_status_2(folder, learned, tmp_path, capsys):
    """Bad input gives a single line and status 2."""
    a, mask = folder / "images" / "a.png", folder / "masks" / "a.png"
    out = tmp_path / "p.safetensors"
    assert "are no pairs" in failure(capsys, "learn", a, "--out", out)
    assert "no such file" in failure(capsys, "learn", a, tmp_path / "none.png", "--out", out)
    assert "one is a folder" in failure(capsys, "learn", a, folder / "masks", "--out", out)
    empty = tmp_path / "empty.png"
    write_mask(empty, np.zeros((96, 128), np.uint8))
    assert "every pixel is background" in failure(capsys, "learn", a, empty, "--out", out)
    twice = tmp_path / "twice.json"
    twice.write_text('{"0": "disc", "3": "disc"}')
    assert "names repeat: disc" in failure(capsys, "learn", a, mask, "--out", out, "--names", twice)
    strange = tmp_path / "strange.json"
    strange.write_text('{"7": "disc"}')
    assert "the masks hold 3" in failure(capsys, "learn", a, mask, "--out", out, "--names", strange)
    assert "did you mean 'faithful'" in failure(capsys, "learn", a, mask, "--out", out, "--set", "fathful.lr=1")
    assert "probe or faithful" in failure(capsys, "learn", a, mask, "--out", out, "--mode", "fast")
    assert not out.exists()
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(learned.read_bytes()[:-100])
    assert "truncated" in failure(capsys, "segment", broken, a, "--out", tmp_path / "o")
    assert "no such file" in failure(capsys, "segment", learned, tmp_path / "none.jpg", "--out", tmp_path / "o")
    other = tmp_path / "a.jpg"
    Image.fromarray(read_rgb(a)).save(other)
    assert "two pictures are called 'a'" in failure(capsys, "segment", learned, a, other, "--out", tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_results_never_overwrite_images(learned, tmp_path, capsys):
    """Results never overwrite the images."""
    place = tmp_path / "masks"
    place.mkdir()
    Image.new("RGB", (64, 64)).save(place / "a.png")
    before = (place / "a.png").read_bytes()
    assert "would overwrite" in failure(capsys, "segment", learned, place, "--out", tmp_path)
    assert (place / "a.png").read_bytes() == before


def test_excess_parts_and_inconsistent_colours_refused(folder, tmp_path, capsys):
    """More parts than tokens and masks numbered separately are refused."""
    a = folder / "images" / "a.png"
    many = tmp_path / "many.png"
    write_mask(many, (np.arange(96 * 128).reshape(96, 128) // 1200).astype(np.uint8))
    faithful = ["--mode", "faithful", "--out", tmp_path / "p.safetensors"]
    assert "more than the 8 tokens" in failure(capsys, "learn", a, many, *faithful)
    colored = tmp_path / "colored.png"
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[20:60, 20:60] = (17, 99, 201)
    Image.fromarray(picture).save(colored)
    message = failure(capsys, "learn", a, colored, a, many, "--out", tmp_path / "p.safetensors")
    assert "indexed PNG" in message


def test_damaged_image_keeps_written_results(folder, learned, tmp_path, capsys):
    """A damaged image keeps the results already written."""
    damaged = tmp_path / "z.png"
    damaged.write_bytes((folder / "images" / "a.png").read_bytes()[:200])
    message = failure(capsys, "segment", learned, folder / "images" / "a.png", damaged, "--out", tmp_path / "o")
    assert "z.png" in message
    assert read_mask(tmp_path / "o" / "masks" / "a.png").values == (3,)
    with (tmp_path / "o" / "scores.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1


def test_paper_config_is_valid(folder, tmp_path):
    """The configuration of the paper is valid.

    The whole file is read. Only the model and the amount of work are changed, so that it runs here.
    """
    from pathlib import Path

    config = Path(__file__).resolve().parents[2] / "configs" / "slime_paper.yaml"
    pair = [str(folder / "images" / "a.png"), str(folder / "masks" / "a.png")]
    small = ["--model", "slime-tiny", "--size", "64", "--quiet"]
    for setting in ("faithful.epochs=1", "faithful.views=1", "model.timestep=10"):
        small += ["--set", setting]
    assert main(["learn", *pair, "--out", str(tmp_path / "p.safetensors"), "--config", str(config), *small]) == 0
    kept = load_embeddings(tmp_path / "p.safetensors").settings
    assert kept["square"] is True
    assert kept["guidance"] == 100.0
    assert kept["timesteps"] == "[5, 100]"


def test_published_constants_are_defaults():
    """The published constants are the defaults.

    The file may only repeat the defaults of the code, apart from the published square input, views and uniform merge.
    """
    from pathlib import Path

    from slimecore.config import flat, load_yaml, to_dict
    from slimecore.pipelines.config import ImageConfig

    paper = flat(load_yaml(Path(__file__).resolve().parents[2] / "configs" / "slime_paper.yaml"))
    ours = flat(to_dict(ImageConfig()))
    different = {key for key, value in paper.items() if ours[key] != value}
    model = {"model.name", "model.dtype", "model.timestep"}
    assert different - model == {
        "mode",
        "network_size",
        "square",
        "faithful.views",
        "faithful.validate",
        "segment.merge",
        "segment.guided_filter_radius",
    }


LOUD = [argument for argument in QUICK if argument != "--quiet"]


def test_folder_accepts_any_mask_format(folder, tmp_path, capsys):
    """Masks of a folder may be of any format, and images without a mask are noted."""
    pictures, masks = tmp_path / "pictures", tmp_path / "masks"
    pictures.mkdir()
    masks.mkdir()
    for i in range(3):
        Image.open(folder / "images" / "a.png").save(pictures / f"p{i}.png")
    for i, suffix in ((0, "bmp"), (1, "tif")):
        Image.fromarray(read_mask(folder / "masks" / "a.png").labels.astype(np.uint8)).save(masks / f"p{i}.{suffix}")
    out = tmp_path / "parts.safetensors"
    assert main(["learn", str(pictures), str(masks), "--out", str(out), *LOUD]) == 0
    told = capsys.readouterr()
    assert "1 parts from 2 pictures" in told.out
    assert f"{masks} has no mask for p2.png" in told.err


def test_void_only_mask_is_no_part(folder, tmp_path, capsys):
    """Void alone beside masks with ids is no part.

    As in DAVIS-2017, where 255 marks ignored pixels.
    """
    rgb = Image.open(folder / "images" / "a.png")
    labels = read_mask(folder / "masks" / "a.png").labels
    for name, values in (("ids", labels), ("void", (labels > 0) * 255)):
        rgb.save(tmp_path / f"{name}.png")
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{name}_mask.png")
    pairs = [str(tmp_path / f"{name}{end}.png") for name in ("ids", "void") for end in ("", "_mask")]
    assert main(["learn", *pairs, "--out", str(tmp_path / "p.safetensors"), *LOUD]) == 0
    told = capsys.readouterr()
    assert "1 parts from 1 picture" in told.out
    assert "void_mask.png: 255 alone, beside masks with ids, is read as void" in told.err
    assert load_embeddings(tmp_path / "p.safetensors").parts.values == (0, 3)


def test_square_requires_faithful_mode(folder, tmp_path, capsys):
    """Square images are for faithful mode."""
    pair = [folder / "images" / "a.png", folder / "masks" / "a.png"]
    message = failure(capsys, "learn", *pair, "--out", tmp_path / "p.safetensors", "--set", "square=true")
    assert "square is for mode faithful" in message
