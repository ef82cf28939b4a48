"""Names of result files."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from slime3d.output.results import safe_name


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=80))
def test_part_file_names_are_safe(name):
    """File names of parts are safe."""
    safe = safe_name(name)
    assert 0 < len(safe) <= 60
    assert not set(safe) & set('/\\:*?"<>|.\0 \n')
    assert safe.isprintable()
