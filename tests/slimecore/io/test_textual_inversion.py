"""Exported tokens are read by diffusers."""

from __future__ import annotations

import numpy as np
import pytest

from slimecore.errors import OutputError
from slimecore.io.textual_inversion import export_tokens, placeholder
from slimecore.types import PartEmbeddings, Parts


def embeddings(dim, names=("background", "left ear", "tail"), tokens=2):
    parts = Parts((0, 1, 4), names, ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    vectors = np.random.default_rng(0).normal(size=(3, tokens, dim)).astype(np.float32)
    return PartEmbeddings(parts, vectors, np.ones(2, np.float32), "some/model", "0" * 16)


@pytest.mark.filterwarnings("ignore:The configuration file of this scheduler")  # diffusers on SD 1.4's own scheduler
def test_exported_tokens_load_in_diffusers(sd_folder, tmp_path):
    """diffusers loads the exported tokens.

    One placeholder a token: ``<left-ear>`` and ``<left-ear>_1``, with the learned vectors in the text encoder.
    """
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(
        sd_folder, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    made = embeddings(pipeline.text_encoder.config.hidden_size)
    paths = export_tokens(made, tmp_path / "out")
    assert [path.name for path in paths] == ["background.safetensors", "left-ear.safetensors", "tail.safetensors"]
    pipeline.load_textual_inversion(paths[1])
    table = pipeline.text_encoder.get_input_embeddings().weight.detach().numpy()
    for i, token in enumerate(("<left-ear>", "<left-ear>_1")):
        row = pipeline.tokenizer.convert_tokens_to_ids(token)
        np.testing.assert_allclose(table[row], made.vectors[1, i], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("left ear", "<left-ear>"),
        ("Wheel (2)", "<wheel-2>"),
        ("../etc", "<etc>"),
        ("漢", "<漢>"),
        ("Голова_1", "<голова-1>"),
        ("?!", "<part>"),
    ],
)
def test_placeholder_is_safe_file_name(name, token):
    """Placeholders are safe file names."""
    assert placeholder(name) == token


def test_colliding_names_refused(tmp_path):
    """Names that collide are refused."""
    with pytest.raises(OutputError, match="two parts would be called <tail>"):
        export_tokens(embeddings(8, ("background", "Tail", "tail!")), tmp_path)
    assert not list(tmp_path.iterdir())
