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
    """Settings of a run on a mesh.

    Parameters
    ----------
    method : str
        ``geometry``: annotation, symmetry and appearance, combined by the random walk. ``walk``: annotation and random
        walk alone, the baseline.
    views : int
        Views around the mesh. ``--view`` and ``--ref`` are numbers of views.
    size : int
        Side of the square views, pixels.
    up : str
        Up axis of the file: x, y, z, -x, -y or -z.
    renderer : str
        ``zbuffer``, ``embree`` or ``pytorch3d``.
    unlabelled_faces : str
        Meaning of 0 in a mask on the object. ``part``: the rest of the object, labelled 0. ``ignore``: unlabelled.
        ``auto``: ``part`` if it covers more than 3 % of the visible object, else ``ignore``.
    turntable_frames : int
        Frames of the turntable, 0 .. 10000, 0 = no turntable.
    viewer_faces : int
        Largest number of faces of ``viewer.html``, 1000 .. 16000000, 0 = no viewer. Larger meshes are simplified.
    keep_texture : bool
        ``segmented.glb`` and part files keep the colours and textures of the mesh, instead of colours of parts.
    part_files : str
        Format of a separate file for each part in ``parts/``: ``glb``, ``obj``, ``ply``, ``stl``, or ``none``.
    smooth : str
        ``none``: the most probable label of each face. ``expansion``: shorter borders by alpha-expansion.
    walk : WalkConfig
    symmetry : SymmetryConfig
    appearance : AppearanceConfig
        Appearance of the annotated views, used where the shape leaves the label uncertain.
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
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if not 0 <= self.turntable_frames <= 10000:
            raise ConfigError(f"turntable_frames must be 0 .. 10000, got {self.turntable_frames}")
        if self.viewer_faces != 0 and not 1000 <= self.viewer_faces <= 16_000_000:
            raise ConfigError(f"viewer_faces must be 0 (none) or 1000 .. 16000000 faces, got {self.viewer_faces}")
