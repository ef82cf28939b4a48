"""Command-line options of the segmentation itself, shared by ``slimevid run`` and ``slimevid davis``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from slimecore import cli_support as cli_base

if TYPE_CHECKING:
    from slimevid.config import RunConfig

__all__ = ["add_settings", "read_settings"]


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options for model, preset, propagator and single settings."""
    parser.add_argument("--model", metavar="MODEL", help="slime-tiny (default), a Stable Diffusion folder, or a Hub id")
    parser.add_argument("--preset", default="balanced", metavar="NAME", help="fast, balanced (default) or quality")
    kinds = "fused (default), memory_only, per_frame, flow_warp or copy"
    parser.add_argument("--propagator", metavar="NAME", help=kinds)
    parser.add_argument("--flow", metavar="NAME", help="dis (default), raft or none")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="short side the network sees")
    cli_base.add_settings(parser)


def read_settings(arguments: argparse.Namespace) -> RunConfig:
    """Return the configuration: preset, overridden by ``--config``, by the options, and last by ``--set``.

    Raises
    ------
    ConfigError
        An unknown preset or key, or a value out of range.
    """
    from slimevid.config import preset

    direct = {
        "network_size": arguments.size,
        "propagator": arguments.propagator,
        "flow": arguments.flow,
        "model": {"name": arguments.model} if arguments.model else None,
    }
    return cli_base.configured(preset(arguments.preset), arguments, direct)
