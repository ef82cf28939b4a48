"""Intrinsic symmetry by functional maps."""

from __future__ import annotations

import numpy as np

from slime3d.geometry.functional_map import LandmarkedSpectrum, intrinsic_symmetry
from slime3d.geometry.spectral import spectrum
from tests.slime3d.figures import ARM


def test_intrinsic_symmetry_of_waving_body(waving):
    """A waving body is mirrored along its surface."""
    mesh, part = waving
    shape = spectrum(mesh, 40)
    found = intrinsic_symmetry(LandmarkedSpectrum.of(shape, landmarks=200))
    assert found.distortion < 0.15
    hands = shape.points[:, 0].argmax(), shape.points[:, 0].argmin()
    for here, there in (hands, hands[::-1]):
        assert np.linalg.norm(shape.points[found.source_of[here]] - shape.points[there]) < 0.4
    assert (part == ARM).any()
