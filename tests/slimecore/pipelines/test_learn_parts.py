"""The example of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from slimecore.learning.probe_config import LearnConfig, ViewConfig


def test_documentation_example_runs(two_tone, tiny, monkeypatch):
    """The example of docs/concepts/was-attention.md runs as printed, after others imported slimecore's modules."""
    text = (Path(__file__).parents[3] / "docs" / "concepts" / "was-attention.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    rgb, mask = two_tone
    names = {"rgb": rgb, "labels": mask + mask * (np.arange(128) > 60), "pictures": [rgb]}
    quick = "ImageConfig(probe=LearnConfig(tokens=1, steps=5, views=ViewConfig(count=0)))"
    names |= {"LearnConfig": LearnConfig, "ViewConfig": ViewConfig}
    exec(code.replace("ImageConfig()", quick), names)
    assert names["result"].labels.labels.shape == mask.shape
    assert names["parts"].parts.names == ("background", "hair", "skin")
