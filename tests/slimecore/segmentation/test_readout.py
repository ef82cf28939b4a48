"""Part embeddings that do not fit a model or its read-out are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from slimecore.backbones import ModelSpec
from slimecore.backbones.stable_diffusion import build
from slimecore.errors import ArtifactError
from slimecore.io.embeddings import load_embeddings, save_embeddings
from slimecore.io.masks import annotate
from slimecore.learning.faithful import learn_faithful
from slimecore.learning.faithful_config import FaithfulConfig
from slimecore.learning.probe import learn_parts
from slimecore.learning.probe_config import IMAGE_LEARNING, LearnConfig, ViewConfig
from slimecore.segmentation.readout import project_embeddings, segment_image


def test_embeddings_of_other_model_refused(tiny, two_tone, sd_folder):
    """Embeddings of another model are refused with the remedy."""
    rgb, mask = two_tone
    config = LearnConfig(tokens=1, steps=2, views=ViewConfig(count=0))
    parts = learn_parts(tiny, [annotate(rgb, mask)], config)
    other = build(ModelSpec(name=str(sd_folder)), torch.device("cpu"))
    with pytest.raises(ArtifactError, match=r"use --model slime-tiny, or learn the parts again"):
        segment_image(other, parts, rgb)


def test_query_features_round_trip_and_validated(tiny, two_tone, tmp_path):
    """Weights of the additional features survive the file, and mismatched settings are refused."""
    rgb, mask = two_tone
    parts = learn_parts(tiny, [annotate(rgb, mask)], replace(IMAGE_LEARNING, steps=3, views=ViewConfig(count=1)))
    save_embeddings(tmp_path / "a.safetensors", parts)
    again = load_embeddings(tmp_path / "a.safetensors")
    assert np.array_equal(again.columns, parts.columns)
    assert np.abs(again.columns).max() > 0
    assert np.array_equal(segment_image(tiny, again, rgb).values, segment_image(tiny, parts, rgb).values)
    other = replace(parts, settings={**parts.settings, "position_scale": 0.0})
    with pytest.raises(ArtifactError, match="89 columns a token, their settings say 64"):
        segment_image(tiny, other, rgb)


def test_faithful_embeddings_refused_as_keys(backbone):
    """Embeddings of faithful mode are no keys of a neutral pass."""
    rgb = np.zeros((64, 64, 3), np.uint8)
    mask = np.eye(64, dtype=np.uint8)
    made = learn_faithful(backbone, [annotate(rgb, mask)], FaithfulConfig(epochs=1, views=1), short_side=64)
    with pytest.raises(ArtifactError, match=r"faithful mode.*use slime segment"):
        project_embeddings(backbone, made)
