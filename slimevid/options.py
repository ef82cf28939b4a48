"""Options that say how to segment, shared by ``slimevid run`` and ``slimevid davis``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimevid.config import RunConfig

__all__ = ["add_settings", "read_settings"]


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Model, preset, propagator and single settings."""
    parser.add_argument("--model", metavar="MODEL", help="slime-tiny (default), a Stable Diffusion folder, or a Hub id")
    parser.add_argument("--preset", default="balanced", metavar="NAME", help="fast, balanced (default) or quality")
    parser.add_argument("--propagator", metavar="NAME", help="fused (default), per_frame, flow_warp or copy")
    parser.add_argument("--flow", metavar="NAME", help="dis (default) or none")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="short side the network sees")
    parser.add_argument("--device", metavar="NAME", help="auto (default), cpu, cuda or mps")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of everything random (default 0)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML settings over the preset")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, such as learn.steps=300"
    )


def read_settings(arguments: argparse.Namespace) -> RunConfig:
    """Preset <- file <- options <- ``--set``.

    Raises
    ------
    ConfigError
        An unknown preset or key, or a value out of range.
    """
    from slimecore.config import apply, load_yaml, parse_assignments
    from slimevid.config import preset

    config = preset(arguments.preset)
    if arguments.config:
        config = apply(config, load_yaml(arguments.config), where=str(arguments.config))
    direct = {
        "short_side": arguments.size,
        "propagator": arguments.propagator,
        "flow": arguments.flow,
        "device": arguments.device,
        "seed": arguments.seed,
        "model": {"name": arguments.model} if arguments.model else None,
    }
    config = apply(config, {k: v for k, v in direct.items() if v is not None}, where="command line")
    return apply(config, parse_assignments(arguments.set), where="--set")
