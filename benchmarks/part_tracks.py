"""Parts on real animals: do they keep the joints they held on the annotated frame.

    python benchmarks/part_tracks.py DAVIS_ROOT BADJA_FOLDER

BADJA says where joints are, DAVIS which pixels are the animal; nobody says what its parts are. So the first frame with
joints is annotated by rule: every pixel of the animal belongs to the limb (four legs, tail, head, torso) whose joint is
nearest; with ``--kinds`` all legs are one part. Frames after it are segmented and judged as ``slimevid eval-tracks``
does, beside the unmoved mask, chance, and the floors asked for. The data is research-only and never enters this
repository.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from slimecore.backbones import load_model
from slimecore.config import apply, parse_assignments
from slimecore.io.masks import MaskFile, fit_mask, make_parts, read_mask, write_mask
from slimecore.types import Annotation
from slimevid.config import RunConfig, preset
from slimevid.evaluation.joint_tracks import measure_tracks, read_joints, track_table
from slimevid.io import open_clip
from slimevid.session.segmenter import Segmenter

LIMBS = {
    1: (8, 9, 10),
    2: (12, 13, 14),
    3: (18, 19, 20),
    4: (22, 23, 24),
    5: (28, 31),
    6: (32, 33, 34, 35, 36),
    7: (15, 25),
}
"""Joint ids of SMAL, by limb."""
KINDS = {
    1: (*LIMBS[1], *LIMBS[2], *LIMBS[3], *LIMBS[4]),
    2: LIMBS[5],
    3: LIMBS[6],
    4: LIMBS[7],
}
"""The same with all legs as one part, as the animals of SLiMe's and PASCAL's part annotations are."""


def by_nearest_joint(
    animal: np.ndarray,
    joints: dict[int, tuple[float, float]],
    limbs: Mapping[int, Sequence[int]] = LIMBS,
) -> np.ndarray:
    """Limb of every pixel of the animal, (h, w) int32; 0 elsewhere."""
    limb_of = {joint: limb for limb, ids in limbs.items() for joint in ids}
    known = [(limb_of[i], *place) for i, place in joints.items() if i in limb_of]
    y, x = np.nonzero(animal)
    distances = np.stack([(x - px) ** 2 + (y - py) ** 2 for _, px, py in known])
    parts = np.zeros(animal.shape, np.int32)
    parts[y, x] = np.array([limb for limb, *_ in known])[distances.argmin(0)]
    return parts


def segment(
    davis: Path,
    file: Path,
    config: RunConfig,
    backbone: object,
    limbs: Mapping[int, Sequence[int]],
    out: Path,
) -> None:
    """Write the masks of one sequence from its first frame with joints on."""
    name = file.stem.rsplit("_", 1)[0]
    clip = open_clip(davis / "JPEGImages" / "480p" / name)
    frame_name, joints = next(iter(read_joints(file).items()))
    start = clip.stems().index(frame_name)
    animal = fit_mask(read_mask(davis / "Annotations" / "480p" / name / f"{frame_name}.png"), clip.size, name)
    mask = by_nearest_joint(animal.labels > 0, joints, limbs)
    first = next(clip.read(start, start + 1))
    parts = make_parts(MaskFile(mask, {}))
    session = Segmenter(config, backbone)
    session.add_reference(first, Annotation(first.rgb, parts.index(mask), parts))
    (out / name).mkdir(parents=True)
    for result in session.propagate(clip, start):
        write_mask(out / name / f"{result.frame.name}.png", result.labels)


def main() -> None:
    """Parse, run, print a table a propagator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("davis", type=Path)
    parser.add_argument("joints", type=Path)
    parser.add_argument("--propagators", nargs="*", default=["fused"])
    parser.add_argument("--kinds", action="store_true", help="head, torso, legs, tail: all legs are one part")
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    config = apply(preset(arguments.preset), parse_assignments(arguments.set), where="--set")
    backbone = load_model(config.model, config.device, config.seed)
    for propagator in arguments.propagators:
        with tempfile.TemporaryDirectory() as folder:
            for file in sorted(arguments.joints.glob("*.json")):
                one = replace(config, propagator=propagator)
                segment(arguments.davis, file, one, backbone, KINDS if arguments.kinds else LIMBS, Path(folder))
            print(propagator)
            print(track_table(measure_tracks(Path(folder), arguments.joints)), flush=True)


if __name__ == "__main__":
    main()
