"""The memory: what it keeps, and that its kernel columns mean what they say."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from slimecore.errors import ConfigError
from slimecore.memory import MaskMemory, Places
from slimecore.memory_config import MemoryConfig

GRID = (4, 6)


def places(seed, colors=48):
    generator = torch.Generator().manual_seed(seed)
    descriptor = functional.normalize(torch.randn(24, 8, generator=generator), dim=1)
    return Places(descriptor, 0.1 * torch.rand(24, colors, generator=generator), GRID)


def mask(seed, parts=3):
    return torch.rand(parts, *GRID, generator=torch.Generator().manual_seed(seed)).softmax(0)


def naive_read(config, query, permanent, recent):
    """Sum of kernels written out: cosine / temperature, Lab distance, position for recent frames, area prior."""
    out = torch.zeros(mask(0).shape[0], *GRID)
    for q in range(24):
        logits, values = [], []
        for entries, is_recent in ((permanent, False), (recent, True)):
            for remembered, soft in entries:
                flat = soft.flatten(1)
                share = flat.mean(1).clamp(min=1e-3).log()
                for p in range(24):
                    logit = query.descriptor[q] @ remembered.descriptor[p] / config.temperature
                    logit = logit - 0.5 * config.color * (query.color[q] - remembered.color[p]).square().sum()
                    logit = logit - config.balance * (flat[:, p] @ share)
                    if is_recent and config.window:
                        a = torch.tensor([q // 6, q % 6]) / 4
                        b = torch.tensor([p // 6, p % 6]) / 4
                        logit = logit - 0.5 * (a - b).square().sum() / config.window**2
                    logits.append(logit)
                    values.append(flat[:, p])
        out[:, q // 6, q % 6] = torch.stack(logits).softmax(0) @ torch.stack(values)
    return out


@pytest.mark.parametrize(
    "config",
    [
        MemoryConfig(),
        MemoryConfig(color=0.0),
        MemoryConfig(window=0.0),
        MemoryConfig(balance=0.0, temperature=0.2),
        MemoryConfig(color=0.0, window=0.0, balance=0.0),
    ],
)
def test_reading_equals_the_sum_of_kernels_written_out(config):
    memory = MaskMemory(config)
    permanent, recent = [(places(1), mask(1))], [(places(2), mask(2)), (places(3), mask(3))]
    for entry in permanent:
        memory.write(*entry, permanent=True)
    for entry in recent:
        memory.write(*entry)
    query = places(9)
    torch.testing.assert_close(memory.read(query), naive_read(config, query, permanent, recent), rtol=1e-4, atol=1e-5)


def test_a_remembered_frame_gives_its_own_mask_back():
    config = MemoryConfig(temperature=0.01)
    memory = MaskMemory(config)
    seen, labels = places(1), mask(1)
    memory.write(seen, labels, permanent=True)
    torch.testing.assert_close(memory.read(seen), labels, atol=1e-2, rtol=0)


def test_references_are_never_dropped_and_recent_frames_are_bounded():
    memory = MaskMemory(MemoryConfig(recent=2, every=3))
    memory.write(places(0), mask(0), permanent=True)
    sizes = []
    for i in range(20):
        memory.write(places(i), mask(i))
        sizes.append(memory.nbytes)
    assert len(memory) == 3
    assert sizes[-1] == sizes[8] == max(sizes)
    assert memory.read(places(0)).argmax(0).eq(mask(0).argmax(0)).float().mean() > 0.8


def test_every_third_frame_enters():
    memory = MaskMemory(MemoryConfig(recent=10, every=3))
    for i in range(7):
        memory.write(places(i), mask(i))
    assert len(memory) == 2


def test_no_recent_frames_means_references_only():
    memory = MaskMemory(MemoryConfig(recent=0))
    memory.write(places(0), mask(0), permanent=True)
    memory.write(places(1), mask(1))
    assert len(memory) == 1


@pytest.mark.parametrize("bad", [{"recent": -1}, {"every": 0}, {"temperature": 0.0}, {"color": -1.0}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ConfigError):
        MemoryConfig(**bad)
