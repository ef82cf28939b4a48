"""Settings of ``slime3d run``."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from slime3d.labelling.alpha_expansion import ExpansionConfig
from slime3d.labelling.appearance import AppearanceConfig
from slime3d.labelling.random_walk import WalkConfig
from slime3d.labelling.symmetry import SymmetryConfig
from slimecore.errors import ConfigError

__all__ = ["METHODS", "PART_FILES", "SMOOTHS", "UNMARKED", "RunConfig"]

METHODS = ("geometry", "walk")
PART_FILES = ("none", "glb", "obj", "ply", "stl")
SMOOTHS = ("none", "expansion")
UNMARKED = ("auto", "part", "ignore")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Settings of one run.

    Parameters
    ----------
    method : str
        ``geometry``: the annotation and the shape, symmetry included, and what views look like; ``walk``: the random
        walk alone, the floor.
    views : int
        Views around the mesh; ``--view`` and ``--ref`` count in them.
    size : int
        Side of the square pictures, pixels.
    up : str
        Axis of the file that points up.
    renderer : str
        ``zbuffer``, ``embree`` or ``pytorch3d``.
    unlabelled_faces : str
        What 0 in a mask means on the mesh: ``part``, the rest of the object, labelled 0; ``ignore``, nothing;
        ``auto``, the rest if it covers more than 3 % of what the view shows, else a careless outline.
    turntable_frames : int
        Frames of the turntable, 0 for none.
    viewer_faces : int
        Most faces ``viewer.html`` shows, a larger mesh being shown simplified; 0 for no viewer.
    keep_texture : bool
        ``segmented.glb`` and part files look as the mesh's file does, not coloured by part.
    part_files : str
        A file a part in ``parts/``: ``glb``, ``obj``, ``ply``, ``stl``; ``none``.
    smooth : str
        ``none``: labels are those most probable for each face; ``expansion``: shorter borders by alpha-expansion.
    walk : WalkConfig
    symmetry : SymmetryConfig
    appearance : AppearanceConfig
        What the annotated views look like, where the shape leaves doubt.
    expansion : ExpansionConfig
    """

    method: str = "geometry"
    views: int = 12
    size: int = 512
    up: str = "y"
    renderer: str = "zbuffer"
    unlabelled_faces: str = "auto"
    turntable_frames: int = 48
    viewer_faces: int = 500_000
    keep_texture: bool = False
    part_files: str = "none"
    smooth: str = "none"
    walk: WalkConfig = field(default_factory=WalkConfig)
    symmetry: SymmetryConfig = field(default_factory=SymmetryConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    expansion: ExpansionConfig = field(default_factory=ExpansionConfig)

    RENAMED = MappingProxyType({"unmarked": "unlabelled_faces", "frames": "turntable_frames", "viewer": "viewer_faces"})

    def __post_init__(self) -> None:
        choices = {"method": METHODS, "unlabelled_faces": UNMARKED, "part_files": PART_FILES, "smooth": SMOOTHS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if not 0 <= self.turntable_frames <= 10000:
            raise ConfigError(f"turntable_frames must be 0 .. 10000, got {self.turntable_frames}")
        if self.viewer_faces != 0 and not 1000 <= self.viewer_faces <= 16_000_000:
            raise ConfigError(f"viewer_faces must be 0 (none) or 1000 .. 16000000 faces, got {self.viewer_faces}")
