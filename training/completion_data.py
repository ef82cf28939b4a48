"""What slimevid believes on drawn clips, beside what is true: the pictures the completing network learns from.

``python -m training.completion_data --out runs/evidence --clips 420`` draws clips, segments them from their first frame
and keeps, of every third frame, the evidence, the picture and the true mask. Nothing of what colours say or the network
would add is carried on here; in use a little is, but fitted to that it was no better (record 33). Clips that are there
already are left alone, so a stopped run goes on; ``--part 0/2`` and ``1/2`` share the work between two processes.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from slimecore.backbones import Backbone, load_model
from slimecore.imaging.boxes import Box
from slimecore.io.atomic_files import atomic_path
from slimecore.io.masks import MaskFile, make_parts
from slimecore.types import Annotation, Frame
from slimevid.config import FusionConfig, preset
from slimevid.frame.features import FrameFeatures
from slimevid.refinement.samples import RefinementSample, make_sample
from slimevid.session.segmenter import Segmenter
from training.pairs import make_clip
from training.scene import SceneSettings
from training.textures import TextureBank

__all__ = ["Recorder", "collect", "draw", "read_records"]

PRESETS = ("balanced", "fast", "balanced", "quality")
"""By turns: what is small in one is large in another."""
SETTINGS = SceneSettings(camouflage=0.5, twin=0.4, haze=0.4, reach=(0.05, 0.8))
"""Harder than what slime-tiny learned from: more looks like something else."""
_KEPT_EVERY = 3


class Recorder:
    """Stands in the network's place, keeps what it would have seen, and adds nothing.

    Parameters
    ----------
    masks : (frames, h, w) bool
        True masks.
    """

    def __init__(self, masks: np.ndarray) -> None:
        self._masks = masks
        self.records: list[RefinementSample] = []

    def __call__(self, state: FrameFeatures, box: Box, planes: np.ndarray) -> np.ndarray:
        """Keep it; zeros."""
        if state.frame.index % _KEPT_EVERY == 1:
            self.records.append(make_sample(state, box, planes, self._masks[state.frame.index]))
        return np.zeros(planes.shape[1:], np.float32)


def draw(seed: int, number: int, frames: int, size: int, bank: TextureBank) -> tuple[np.ndarray, np.ndarray]:
    """Draw a clip: frames (t, h, size, 3) uint8 and masks (t, h, size) bool of one object never hidden whole."""
    for attempt in range(1000):
        rng = np.random.default_rng((seed, 8, number, attempt))
        clip = make_clip(rng, bank, size, np.linspace(0, 1, frames), SETTINGS)
        height = round(size * rng.uniform(0.56, 1))
        shares = np.bincount(clip.objects[0].ravel()) / size**2
        fit = [i for i in range(1, len(shares)) if 0.015 <= shares[i] <= 0.35]
        if not fit:
            continue
        masks = clip.objects == int(rng.choice(fit))
        middle = int(np.nonzero(masks[0].any(1))[0].mean())
        rows = slice(top := min(max(0, middle - height // 2), size - height), top + height)
        masks = np.ascontiguousarray(masks[:, rows])
        if masks[0].mean() >= 0.01 and masks.any((1, 2)).all():
            return np.ascontiguousarray(clip.rgb[:, rows]), masks
    raise RuntimeError(f"no clip of seed {seed}, number {number} shows an object all the time")


def _segmented(rgb: np.ndarray, masks: np.ndarray, name: str, backbone: Backbone) -> list[RefinementSample]:
    recorder, config = Recorder(masks), replace(preset(name), adaptation_clips=0)  # dreams would be recorded
    limit = (
        config.fusion.refinement_limit or FusionConfig().refinement_limit
    )  # at 0 neither network nor recorder would be asked
    config = replace(config, fusion=replace(config.fusion, refinement_limit=limit, motion_gate=0.0))
    session = Segmenter(config, backbone, refiner=recorder)
    given = masks[0].astype(np.int32)
    parts = make_parts(MaskFile(given, {}))
    session.add_reference(Frame(0, rgb[0], "0"), Annotation(rgb[0], parts.index(given), parts))
    for index in range(1, len(rgb)):
        session.step(Frame(index, rgb[index], str(index)))
    return recorder.records


def collect(out: Path, seed: int, numbers: Sequence[int], frames: int, size: int) -> None:
    """Write ``<out>/<number>.npz`` for every number that is not there yet."""
    bank = TextureBank((seed, 7))
    backbones: dict[str, Backbone] = {}
    out.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        path = out / f"{number:05d}.npz"
        if path.exists():
            continue
        name = PRESETS[number % len(PRESETS)]
        if name not in backbones:
            config = preset(name)
            backbones[name] = load_model(config.model, config.device, config.seed)
        records = _segmented(*draw(seed, number, frames, size, bank), name, backbones[name])
        arrays = {f"{i}.{key}": getattr(r, key) for i, r in enumerate(records) for key in ("planes", "rgb", "truth")}
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
        print(f"{path}: {len(records)} frames", flush=True)


def read_records(path: Path) -> list[RefinementSample]:
    """Read what :func:`collect` wrote for a clip."""
    with np.load(path) as arrays:
        count = len({name.split(".")[0] for name in arrays.files})
        return [RefinementSample(*(arrays[f"{i}.{key}"] for key in ("planes", "rgb", "truth"))) for i in range(count)]


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=420)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="0/1", help="which share of the clips, as I/N")
    args = parser.parse_args()
    if not re.fullmatch(r"\d+/[1-9]\d*", args.part):
        parser.error(f"--part {args.part}: give I/N, such as 0/2")
    first, step = (int(x) for x in args.part.split("/"))
    torch.set_num_threads(1)
    collect(args.out, args.seed, range(first, args.clips, step), args.frames, args.size)


if __name__ == "__main__":
    _main()
