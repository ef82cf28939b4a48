"""Part embeddings on disk: exact, without pickle, bound to their model."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from slimecore.errors import ArtifactError, InputError
from slimecore.io.embeddings import SCHEMA, load_embeddings, require_model, save_embeddings
from slimecore.types import PartEmbeddings, Parts

PARTS = Parts((0, 3, 254), ("background", "Kopf", "Füße"), ((0, 0, 0), (1, 2, 3), (4, 5, 6)))


@pytest.fixture
def learned() -> PartEmbeddings:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 2, 8)).astype(np.float32)
    vectors[0, 0, :2] = [np.finfo(np.float32).tiny / 8, -0.0]  # a subnormal and a signed zero
    return PartEmbeddings(PARTS, vectors, rng.random(5), "tiny", "abc", {"steps": 3, "lr": 0.1, "x": None, "y": True})


def header_of(path: Path) -> dict:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])


def rewrite(path: Path, **changes) -> None:
    """Store the same tensors under a changed header."""
    header = json.loads(header_of(path)["__metadata__"]["slime"])
    header.update(changes)
    header = {k: v for k, v in header.items() if v != "drop"}
    tensors = {"vectors": np.zeros((3, 2, 8), np.float32), "layer_weights": np.zeros(5, np.float32)}
    save_file(tensors, path, metadata={"slime": json.dumps(header)})


def test_embeddings_round_trip_exact(tmp_path: Path, learned: PartEmbeddings) -> None:
    """Saving and loading embeddings is bit exact."""
    save_embeddings(tmp_path / "p.safetensors", learned)
    back = load_embeddings(tmp_path / "p.safetensors")
    assert back.vectors.tobytes() == learned.vectors.tobytes()
    assert back.layer_weights.tobytes() == learned.layer_weights.tobytes()
    assert (back.parts, back.model, back.revision) == (learned.parts, "tiny", "abc")
    assert dict(back.settings) == dict(learned.settings)


def test_saved_file_plain_safetensors(tmp_path: Path, learned: PartEmbeddings) -> None:
    """The file is plain safetensors, a header and raw numbers, without pickle."""
    path = tmp_path / "p.safetensors"
    save_embeddings(path, learned)
    header = header_of(path)
    assert header["vectors"]["dtype"] == "F32"
    assert header["vectors"]["shape"] == [3, 2, 8]
    assert json.loads(header["__metadata__"]["slime"])["schema"] == SCHEMA
    start, end = header["vectors"]["data_offsets"]
    body = path.read_bytes()[-(3 * 2 * 8 + 5) * 4 :]
    assert body[start:end] == learned.vectors.tobytes(), "the file holds more than header and numbers"
    assert [p.name for p in tmp_path.iterdir()] == ["p.safetensors"]


def test_truncated_file_refused(tmp_path: Path, learned: PartEmbeddings) -> None:
    """A file cut off at any byte is refused in a single line."""
    path = tmp_path / "p.safetensors"
    save_embeddings(path, learned)
    whole = path.read_bytes()
    for length in range(0, len(whole), 23):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=r"p\.safetensors: cannot be read") as caught:
            load_embeddings(path)
        assert "\n" not in str(caught.value)


def test_foreign_files_refused(tmp_path: Path) -> None:
    """Files without part embeddings and missing files are refused."""
    path = tmp_path / "p.safetensors"
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ArtifactError, match="no part embeddings"):
        load_embeddings(path)
    save_torch({"a": torch.zeros(3, dtype=torch.bfloat16)}, path, metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match="no part embeddings"):
        load_embeddings(path)
    save_file({"a": np.zeros(3)}, path, metadata={"slime": "[1, 2]"})
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_embeddings(path)
    with pytest.raises(ArtifactError, match="no such file"):
        load_embeddings(tmp_path / "gone")


@pytest.mark.parametrize("schema", [SCHEMA + 1, "drop"])
def test_unknown_schema_refused(tmp_path: Path, learned: PartEmbeddings, schema) -> None:
    """A file of another schema is refused with a remedy."""
    save_embeddings(tmp_path / "p.safetensors", learned)
    rewrite(tmp_path / "p.safetensors", schema=schema)
    with pytest.raises(ArtifactError, match="update slime-toolkit"):
        load_embeddings(tmp_path / "p.safetensors")


@pytest.mark.parametrize(
    "changes",
    [{"values": "drop"}, {"values": [0, 1]}, {"names": ["a", "a", "b"]}, {"colors": [[1, 2]]}, {"values": ["x"]}],
)
def test_damaged_header_refused(tmp_path: Path, learned: PartEmbeddings, changes: dict) -> None:
    """Files with damaged headers are refused."""
    save_embeddings(tmp_path / "p.safetensors", learned)
    rewrite(tmp_path / "p.safetensors", **changes)
    with pytest.raises(ArtifactError, match="damaged part embeddings"):
        load_embeddings(tmp_path / "p.safetensors")


def test_other_model_refused(learned: PartEmbeddings) -> None:
    """Embeddings of another model are refused with a remedy."""
    require_model(learned, "moved/elsewhere", "abc", "p.safetensors")
    with pytest.raises(ArtifactError, match=r"p\.safetensors: learned with tiny \(abc\).*use --model tiny"):
        require_model(learned, "tiny", "def", "p.safetensors")


def faithful() -> PartEmbeddings:
    rng = np.random.default_rng(1)
    prompt = rng.normal(size=(9, 8)).astype(np.float32)
    deltas = {"a.to_k.down": rng.normal(size=(2, 8)).astype(np.float32), "a.to_k.up": np.zeros((4, 2), np.float32)}
    return PartEmbeddings(PARTS, prompt[:3, None], np.ones(5), "sd", "abc", {"mode": "faithful"}, prompt, deltas)


def test_prompt_and_lora_round_trip_exact(tmp_path: Path) -> None:
    """The prompt and the LoRA weights survive saving bit for bit."""
    made = faithful()
    save_embeddings(tmp_path / "p.safetensors", made)
    back = load_embeddings(tmp_path / "p.safetensors")
    assert back.mode == "faithful"
    assert back.prompt is not None
    assert back.prompt.tobytes() == made.prompt.tobytes()
    assert {k: v.tobytes() for k, v in back.deltas.items()} == {k: v.tobytes() for k, v in made.deltas.items()}


def test_first_schema_read_as_probe(tmp_path: Path, learned: PartEmbeddings) -> None:
    """Files of the first schema are read as embeddings of probe mode."""
    path = tmp_path / "p.safetensors"
    save_embeddings(path, learned)
    rewrite(path, schema=1)
    assert load_embeddings(path).mode == "probe"
    rewrite(path, schema=SCHEMA + 1)
    with pytest.raises(ArtifactError, match="schema"):
        load_embeddings(path)


@pytest.mark.parametrize(
    "change",
    [
        {"values": [0, 3, 70000]},
        {"values": [0, 3, "x"]},
        {"names": 5},
        {"settings": [1]},
        {"settings": {"short_side": "big"}},
        {"settings": {"model.timestep": float("nan")}},
    ],
    ids=str,
)
def test_absurd_headers_refused(tmp_path, learned, change):
    """Part values above 65534, and values of a wrong type, are refused as damage."""
    path = tmp_path / "p.safetensors"
    save_embeddings(path, learned)
    rewrite(path, **change)
    with pytest.raises(ArtifactError, match="damaged part embeddings"):
        load_embeddings(path)


def test_layer_weights_must_be_finite(learned):
    """Layer weights that are no numbers are refused."""
    with pytest.raises(InputError, match="layer_weights hold NaN"):
        PartEmbeddings(PARTS, learned.vectors, np.array([1.0, np.nan]), "tiny", "abc")
