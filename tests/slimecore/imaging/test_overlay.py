"""Overlays: colour on the parts, nothing elsewhere."""

import numpy as np

from slimecore.imaging.overlay import overlay
from slimecore.types import Frame

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
LABELS = np.zeros((20, 30), int)
LABELS[5:15, 5:15] = 1
LABELS[5:15, 15:25] = 2


def test_overlay_keeps_background_and_input() -> None:
    """The background away from parts is untouched, and the input, too."""
    before = RGB.copy()
    out = overlay(RGB, LABELS)
    far = np.ones((20, 30), bool)
    far[4:16, 4:26] = False
    assert np.array_equal(out[far], RGB[far])
    assert np.array_equal(RGB, before)
    assert out.dtype == np.uint8


def test_opacity_blends_image_and_colour() -> None:
    """Opacity blends from the image to the colour."""
    assert np.array_equal(overlay(RGB, LABELS, opacity=0, outline=False), RGB)
    full = overlay(RGB, LABELS, opacity=1, outline=False)
    one, two = np.unique(full[LABELS == 1], axis=0), np.unique(full[LABELS == 2], axis=0)
    assert len(one) == len(two) == 1
    assert one[0].argmax() == 0, "1 is red in the DAVIS palette"
    assert two[0].argmax() == 1, "2 is green"
    half = overlay(RGB, LABELS, opacity=0.5, outline=False)
    expected = (RGB.astype(float) + full) / 2
    assert np.abs(half - expected)[LABELS > 0].max() <= 0.5


def test_outline_light_and_between_labels() -> None:
    """The outline is light and lies between labels."""
    dark = np.zeros_like(RGB)
    with_line, without = overlay(dark, LABELS), overlay(dark, LABELS, outline=False)
    changed = (with_line != without).any(-1)
    assert changed[10, 14]
    assert changed[10, 15]
    assert changed[5, 10]
    assert not changed[7:13, 7:13].any()
    assert with_line[changed].min() >= 190


def test_overlay_accepts_frozen_frame() -> None:
    """A frozen frame can be drawn on."""
    assert overlay(Frame(0, RGB, "x").rgb, LABELS).shape == RGB.shape
