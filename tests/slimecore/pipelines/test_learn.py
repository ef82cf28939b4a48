"""Pictures and masks of folders find each other, and keep their values."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slimecore.errors import InputError
from slimecore.io.embeddings import load_embeddings
from slimecore.io.masks import read_mask
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.pipelines.config import ImageConfig
from slimecore.pipelines.learn import LearnRequest, run_learn
from slimecore.pipelines.segment import SegmentRequest, run_segment

QUICK = ImageConfig(network_size=64, probe=LearnConfig(tokens=1, steps=40, views=ViewConfig(count=0)))
LABELS = np.kron(np.array([[0, 1, 2]]), np.ones((48, 16), int))
PICTURE = np.array([(20, 20, 90), (220, 120, 30), (40, 190, 60)], np.uint8)[LABELS]


def learn(folder: Path, *pairs: Path) -> dict:
    return run_learn(LearnRequest(pairs, folder / "parts.safetensors", config=QUICK))


@pytest.mark.parametrize("mask", ["a.npy", "a.png"])
def test_mask_beside_its_picture_found(tmp_path: Path, mask: str) -> None:
    """In one folder, the array is the mask of the picture of its name, or else the PNG is."""
    Image.fromarray(PICTURE).save(tmp_path / ("a.png" if mask == "a.npy" else "a.jpg"))
    if mask == "a.npy":
        np.save(tmp_path / mask, LABELS * 3)
    else:
        Image.fromarray((LABELS * 3).astype(np.uint8)).save(tmp_path / mask)
    report = learn(tmp_path, tmp_path, tmp_path)
    assert [part["value"] for part in report["parts"]] == [0, 3, 6]
    assert report["notes"] == []


def test_picture_is_never_its_own_mask(tmp_path: Path) -> None:
    """A flat drawing without a mask beside it is not taken as its own mask."""
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="no picture has a mask of the same name"):
        learn(tmp_path, tmp_path, tmp_path)


def test_two_masks_of_one_name_refused(tmp_path: Path) -> None:
    """Two masks of one name are refused."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.fromarray(PICTURE).save(tmp_path / "images" / "a.png")
    np.save(tmp_path / "masks" / "a.npy", LABELS)
    Image.fromarray(LABELS.astype(np.uint8)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(InputError, match="share a name; keep one"):
        learn(tmp_path, tmp_path / "images", tmp_path / "masks")


def test_coloured_masks_agree_over_files(tmp_path: Path) -> None:
    """Masks in colours agree by colour over several files."""
    red, green = (250, 10, 10), (10, 250, 10)
    pairs = []
    for name, colors in (("a", [red, green]), ("b", [green, (250, 250, 10)])):
        Image.fromarray(PICTURE).save(tmp_path / f"{name}.png")
        Image.fromarray(np.array([(0, 0, 0), *colors], np.uint8)[LABELS]).save(tmp_path / f"{name}_mask.png")
        pairs += [tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png"]
    report = learn(tmp_path, *pairs)
    colors = load_embeddings(tmp_path / "parts.safetensors").parts.colors
    assert set(colors[1:]) == {red, green, (250, 250, 10)}
    assert "numbered over all masks" in report["notes"][-1]


def test_values_above_255_kept_everywhere(tmp_path: Path) -> None:
    """Part values 2 and 300 are learned, written and evaluated as they are."""
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    Image.fromarray(np.array([0, 2, 300], np.uint16)[LABELS]).save(tmp_path / "mask.png")
    learn(tmp_path, tmp_path / "a.png", tmp_path / "mask.png")
    run_segment(SegmentRequest(tmp_path / "parts.safetensors", [tmp_path / "a.png"], tmp_path / "out", config=QUICK))
    assert set(read_mask(tmp_path / "out" / "masks" / "a.png").values) == {2, 300}


def test_pictures_of_unread_formats_named(tmp_path: Path) -> None:
    """`slime segment` names what it leaves out of a folder."""
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    np.save(tmp_path / "mask.npy", LABELS)
    learn(tmp_path, tmp_path / "a.png", tmp_path / "mask.npy")
    (tmp_path / "in").mkdir()
    Image.fromarray(PICTURE).save(tmp_path / "in" / "a.jfif", format="JPEG")
    (tmp_path / "in" / "b.HEIC").touch()
    request = SegmentRequest(tmp_path / "parts.safetensors", [tmp_path / "in"], tmp_path / "out", config=QUICK)
    report = run_segment(request)
    assert report["images"] == 1
    assert "b.HEIC left out" in report["notes"][0]
