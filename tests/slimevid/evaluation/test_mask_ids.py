"""Formats of masks that are read, and results that cannot be matched with the truth."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from slimecore.imaging.palette import davis_palette
from tests.slimevid.evaluation.commands import mean_j, refused


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
