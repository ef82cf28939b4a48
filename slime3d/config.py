"""Settings of ``slime3d run``."""

from __future__ import annotations

from dataclasses import dataclass, field

from slime3d.symmetry import SymmetryConfig
from slime3d.walk import WalkConfig
from slimecore.errors import ConfigError

__all__ = ["METHODS", "UNMARKED", "RunConfig"]

METHODS = ("geometry", "walk")
UNMARKED = ("auto", "part", "ignore")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Settings of one run.

    Parameters
    ----------
    method : str
        ``geometry``: the annotation and the shape alone, symmetry included; ``walk``: the random walk alone, the floor.
    views : int
        Views around the mesh; ``--view`` and ``--ref`` count in them.
    size : int
        Side of the square pictures, pixels.
    up : str
        Axis of the file that points up.
    renderer : str
        ``zbuffer``, ``embree`` or ``pytorch3d``.
    unmarked : str
        What 0 in a mask means on the mesh: ``part``, the rest of the object, labelled 0; ``ignore``, nothing;
        ``auto``, the rest if it covers more than 3 % of what the view shows, else a careless outline.
    frames : int
        Frames of the turntable, 0 for none.
    walk : WalkConfig
    symmetry : SymmetryConfig
    """

    method: str = "geometry"
    views: int = 12
    size: int = 512
    up: str = "y"
    renderer: str = "zbuffer"
    unmarked: str = "auto"
    frames: int = 48
    walk: WalkConfig = field(default_factory=WalkConfig)
    symmetry: SymmetryConfig = field(default_factory=SymmetryConfig)

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("unmarked", UNMARKED)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if not 0 <= self.frames <= 10000:
            raise ConfigError(f"frames must be 0 .. 10000, got {self.frames}")
