"""Results never overwrite files that do not belong to them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from slimecore.io.masks import write_mask
from tests.slimevid.run.commands import SMALL, one_line, run


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
