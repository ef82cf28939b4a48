"""Settings by preset, file and name, their ranges, and old names."""

from __future__ import annotations

import dataclasses
import re

import pytest

from slimecore.config import apply
from slimecore.errors import ConfigError
from slimecore.memory.config import MemoryConfig
from slimevid.config import PRESETS, FusionConfig, RunConfig, as_config, preset
from slimevid.session.segmenter import Segmenter


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"key_every": 2}, "'key_every' is now called 'keyframe_interval'"),
        ({"fusion": {"colours": 0.1}}, "'fusion.colours' is now called 'fusion.color_weight'"),
        ({"memory": {"recent": 3}}, "'memory.recent' is now called 'memory.recent_frames'"),
        ({"fusion": {"memory_every": 2}}, "'fusion.memory_every' is no longer a setting; leave it out"),
        ({"memory": {"enabled": True}}, "'memory.enabled' is no longer a setting; leave it out"),
    ],
)
def test_old_key_names_new_one(overrides, message):
    """The old key of a renamed setting is refused with its new name. A removed setting is reported as removed."""
    with pytest.raises(ConfigError, match=re.escape(f"run.yaml: {message}")):
        apply(RunConfig(), overrides, where="run.yaml")


@pytest.mark.parametrize("kind", [RunConfig, FusionConfig, MemoryConfig])
def test_renamed_table_names_fields(kind):
    """In the tables of renamed settings every new name is a setting, no old name is, and none occurs twice."""
    fields = {field.name for field in dataclasses.fields(kind)}
    new = [name for name in kind.RENAMED.values() if name]
    assert set(new) <= fields
    assert not fields & set(kind.RENAMED)
    assert len(new) == len(set(new))


def test_old_key_on_command_line(command, tmp_path, one_line):
    """The command names the new key in a single line, and writes nothing."""
    assert command("--ref", tmp_path / "ref_0.png", "--set", "key_every=2") == 2
    assert "'key_every' is now called 'keyframe_interval'" in one_line()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", PRESETS)
def test_segmenter_takes_preset_name(name, monkeypatch):
    """The name of a preset gives its settings."""
    monkeypatch.setattr("slimevid.session.setup.load_model", lambda *_: None)
    assert Segmenter(config=name).config == preset(name)


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["text", "path"])
@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_segmenter_takes_yaml_file(tmp_path, kind, suffix):
    """A YAML file sets its keys and leaves the others at their defaults."""
    path = tmp_path / f"run.{suffix}"
    path.write_text("propagator: copy\nfusion: {color_weight: 0.5}\n", encoding="utf-8")
    config = Segmenter(kind(path)).config
    assert config == RunConfig(propagator="copy", fusion=FusionConfig(color_weight=0.5))


def test_config_defaults_and_objects_accepted():
    """A configuration is taken as it is, and none stands for the defaults."""
    config = RunConfig(propagator="copy")
    assert Segmenter(config).config is config
    assert as_config(None) == RunConfig()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("fsat", "unknown preset 'fsat'; did you mean 'fast'?"),
        ("none.yaml", "cannot read config none.yaml"),
    ],
)
def test_unknown_preset_or_file_named(config, message, tmp_path, monkeypatch):
    """An unknown preset or file is named, with the nearest preset."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(message)):
        Segmenter(config)


def test_yaml_with_old_key_names_file(tmp_path):
    """An old key in a YAML file is reported with the file and the new name."""
    path = tmp_path / "old.yaml"
    path.write_text("bidirectional: 8\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"old\.yaml: 'bidirectional' is now called 'bidirectional_span'"):
        Segmenter(path)


@pytest.mark.parametrize("every", [0, 101])
def test_keyframe_interval_range(every):
    """The interval of key frames has a range."""
    with pytest.raises(ConfigError, match=rf"1\.\.100 frames, got {every}"):
        RunConfig(keyframe_interval=every)


@pytest.mark.parametrize("span", [-1, 10_001])
def test_bidirectional_span_range(span):
    """The bidirectional span has a range."""
    with pytest.raises(ConfigError, match=rf"0\.\.10000 frames, got {span}"):
        RunConfig(bidirectional_span=span)


@pytest.mark.parametrize("name", ["fast", "balanced", "quality"])
def test_presets_open_motion_gate(name):
    """Every preset propagates appearance that motion confirms."""
    fusion = preset(name).fusion
    assert fusion.motion_gate > 0
    assert fusion.background_motion_weight > 0
    assert fusion.color_weight > 0


@pytest.mark.parametrize("dreams", [-1, 1001])
def test_adaptation_clips_and_gate_ranges(dreams):
    """The number of adaptation clips and the motion gate have ranges."""
    with pytest.raises(ConfigError, match=r"adaptation_clips must lie in 0\.\.1000"):
        RunConfig(adaptation_clips=dreams)
    with pytest.raises(ConfigError, match="must not be negative"):
        FusionConfig(motion_gate=-0.1)


@pytest.mark.parametrize("reach", [-0.1, -1.0])
def test_negative_search_radius_refused(reach):
    """A negative search radius is refused."""
    with pytest.raises(ConfigError, match="must not be negative"):
        FusionConfig(search_radius=reach)
