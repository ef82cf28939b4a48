"""What slimevid believes on drawn clips, beside what is true: the pictures the completing network learns from.

``python -m training.completion_data --out runs/evidence --clips 420`` draws clips, segments them from their first frame
and keeps, of every third frame, the evidence, the picture and the true mask. As what the network adds is never carried
on, this is what it will see in use: its own additions change nothing about its inputs. Clips that are there already are
left alone, so a stopped run goes on; ``--part 0/2`` and ``1/2`` share the work between two processes.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from slimecore.backbones import Backbone, load_model
from slimecore.files import atomic_path
from slimecore.images import Box
from slimecore.masks import MaskFile, make_parts
from slimecore.types import Annotation, Frame
from slimevid.config import FusionConfig, preset
from slimevid.segmenter import Segmenter
from slimevid.state import FrameState
from training.pairs import make_clip
from training.scene import SceneSettings
from training.textures import TextureBank

__all__ = ["Record", "Recorder", "collect", "crop", "draw", "read_records"]

PRESETS = ("balanced", "fast", "balanced", "quality")
"""By turns: what is small in one is large in another."""
SETTINGS = SceneSettings(camouflage=0.5, twin=0.4, haze=0.4, reach=(0.05, 0.8))
"""Harder than what slime-tiny learned from: more looks like something else."""
_KEPT_EVERY = 3


@dataclass(frozen=True, eq=False)
class Record:
    """One frame, in the box that was undecided.

    Attributes
    ----------
    planes : (7, h, w) float16
        :data:`slimevid.completion.PLANES`.
    rgb : (h, w, 3) uint8
    truth : (h, w) uint8
        Share of the thing in every pixel, 255 is all.
    """

    planes: np.ndarray
    rgb: np.ndarray
    truth: np.ndarray


class Recorder:
    """Stands in the network's place, keeps what it would have seen, and adds nothing.

    Parameters
    ----------
    masks : (frames, h, w) bool
        True masks.
    """

    def __init__(self, masks: np.ndarray) -> None:
        self._masks = masks
        self.records: list[Record] = []

    def __call__(self, state: FrameState, box: Box, planes: np.ndarray) -> np.ndarray:
        """Keep it; zeros."""
        if state.frame.index % _KEPT_EVERY == 1:
            true = self._masks[state.frame.index][state.window.box].astype(np.float32)
            share = cv2.resize(true, state.work_size[::-1], interpolation=cv2.INTER_AREA)[box]
            truth = np.rint(share * 255).astype(np.uint8)
            self.records.append(Record(planes.astype(np.float16), state.worked[box], truth))
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


def _segmented(rgb: np.ndarray, masks: np.ndarray, name: str, backbone: Backbone) -> list[Record]:
    recorder, config = Recorder(masks), preset(name)
    if not config.fusion.completion:  # then the network would not be asked, nor the recorder
        config = replace(config, fusion=replace(config.fusion, completion=FusionConfig().completion))
    session = Segmenter(config, backbone, completion=recorder)
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


def read_records(path: Path) -> list[Record]:
    """Read what :func:`collect` wrote for a clip."""
    with np.load(path) as arrays:
        count = len({name.split(".")[0] for name in arrays.files})
        return [Record(*(arrays[f"{i}.{key}"] for key in ("planes", "rgb", "truth"))) for i in range(count)]


def crop(rng: np.random.Generator, record: Record, size: int) -> Record:
    """Square piece near the thing or where the evidence errs: scaled, mirrored, relit, the evidence spoiled."""
    planes, rgb, truth = record.planes.astype(np.float32), record.rgb, record.truth
    scale = np.exp(rng.uniform(np.log(0.6), np.log(1.5))) if rng.random() < 0.5 else 1.0
    height, width = (max(8, round(side * scale)) for side in truth.shape)
    if scale != 1.0:
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        planes = np.stack([cv2.resize(plane, (width, height), interpolation=how) for plane in planes])
        rgb, truth = (cv2.resize(image, (width, height), interpolation=how) for image in (rgb, truth))
    down, right = max(0, size - height), max(0, size - width)
    planes = np.pad(planes, ((0, 0), (0, down), (0, right)), mode="edge")
    rgb, truth = (
        np.pad(rgb, ((0, down), (0, right), (0, 0)), mode="edge"),
        np.pad(truth, ((0, down), (0, right)), mode="edge"),
    )
    wrong = np.abs(planes[0] - truth / 255) > 0.3
    places = np.argwhere(wrong if rng.random() < 0.5 and wrong.any() else truth > 127)
    middle = places[rng.integers(len(places))] if len(places) else np.array(truth.shape) // 2
    corner = middle + rng.integers(-size // 3, size // 3, 2) - size // 2
    top, left = (int(np.clip(c, 0, side - size)) for c, side in zip(corner, truth.shape, strict=True))
    inside = (slice(top, top + size), slice(left, left + size))
    planes, rgb, truth = _spoiled(rng, planes[(slice(None), *inside)], truth[inside]), rgb[inside], truth[inside]
    if rng.random() < 0.5:
        planes, rgb, truth = planes[..., ::-1], rgb[:, ::-1], truth[:, ::-1]
    return Record(np.ascontiguousarray(planes), _relit(rng, rgb), np.ascontiguousarray(truth))


def _relit(rng: np.random.Generator, rgb: np.ndarray) -> np.ndarray:
    changed = rgb.astype(np.float32) * rng.uniform(0.7, 1.3) + 255 * rng.normal(0, 0.05, 3)
    if rng.random() < 0.3:
        changed = cv2.GaussianBlur(changed, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.5:
        changed = changed + 255 * rng.normal(0, rng.uniform(0, 0.04), changed.shape)
    return np.clip(changed, 0, 255).astype(np.uint8)


def _spoiled(rng: np.random.Generator, planes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Evidence that errs as on real clips, more than on drawn ones: pieces of the border missed, or taken too much."""
    edge = np.argwhere(cv2.morphologyEx((truth > 127).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))
    planes = planes.copy()
    if rng.random() < 0.35 or not len(edge):
        return planes
    probabilities = planes[:4]
    for _ in range(int(rng.integers(1, 6))):
        y, x = edge[rng.integers(len(edge))] + rng.normal(0, 4, 2)
        radius = rng.uniform(4, 28)
        spot = np.zeros(truth.shape, np.float32)
        axes = (max(1, int(radius * rng.uniform(0.3, 1))), int(radius))
        cv2.ellipse(spot, (int(x), int(y)), axes, rng.uniform(0, 180), 0, 360, 1, -1)
        spot = cv2.GaussianBlur(spot, (0, 0), rng.uniform(1, 5))
        value = rng.choice([0.03, 0.15, 0.5, 0.9], p=[0.45, 0.25, 0.15, 0.15])
        for i, plane in enumerate(probabilities):
            if i == 0 or rng.random() < 0.6:
                plane += spot * (value - plane)
    if rng.random() < 0.3:
        radius = int(rng.integers(1, 4))
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        change = cv2.erode if rng.random() < 0.7 else cv2.dilate
        probabilities[:] = [change(plane, disk) for plane in probabilities]
    if rng.random() < 0.4:
        width = rng.uniform(1, 4)
        probabilities[:] = [cv2.GaussianBlur(plane, (0, 0), width) for plane in probabilities]
    return planes


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
