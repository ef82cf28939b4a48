"""The forward diffusion against its naive implementation."""

from __future__ import annotations

from tests.slimecore import naive_slime as naive
from tests.slimecore.faithful_case import close


def test_noise_schedule_matches_forward_diffusion(backbone, case):
    """Noising is the forward diffusion."""
    noised = backbone.noising.add(case.clean, case.noise, case.steps)
    close(noised, naive.naive_noisy(case.clean, case.noise, backbone.noising.alphas[case.steps]), 1e-6)
    target = backbone.noising.target(case.clean, case.noise, case.steps)
    expected = naive.naive_target(
        case.clean, case.noise, backbone.noising.alphas[case.steps], backbone.noising.prediction
    )
    close(target, expected, 1e-6)
