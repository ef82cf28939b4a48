"""The baseline that reads the memory alone."""

import pytest

from slimecore.errors import ConfigError
from slimecore.metrics.davis import region_j
from slimevid.config import FusionConfig
from tests.slimevid.sessions import small_session


def test_memory_only_learns_nothing(tiny, disc):
    """The propagator ``memory_only`` reads the memory and learns nothing."""
    one = small_session(tiny, "memory_only")
    one.add_reference(*disc(0))
    assert one.embeddings is None
    for i in range(1, 4):
        result = one.step(disc(i)[0])
    assert region_j(result.labels, disc(3)[1]) > 0.5
    with pytest.raises(ConfigError, match="reads the memory alone"):
        small_session(tiny, "memory_only", fusion=FusionConfig(memory_weight=0.0)).add_reference(*disc(0))
