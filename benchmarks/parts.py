"""Part segmentation of single pictures: slime-tiny beside a colour and position classifier, on two small data sets.

    python benchmarks/parts.py DATA_ROOT --shots 1 10 --draws 0 1 2 3 --methods floor slime

DATA_ROOT/carparts and DATA_ROOT/celebamask hold ``images`` and ``masks`` (research-only; they never enter this
repository). References are drawn by a rule that sees the masks' labels only: greedily, the picture whose parts were
seen least so far; every draw leaves out the references of the draws before it. All other pictures are scored, squashed
to 512 x 512 as in SLiMe's evaluation. Both methods know all label names of a data set and learn from the same
references.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional

from slimecore.backbones import ModelSpec
from slimecore.backbones.stable_diffusion import build
from slimecore.config import apply, parse_assignments
from slimecore.imaging.resize import fit_short_side, resize_labels, resize_rgb, resize_soft
from slimecore.io.images import read_rgb
from slimecore.io.masks import read_mask, read_names
from slimecore.learning.augmentation import augmented_views
from slimecore.learning.probe import learn_parts
from slimecore.learning.probe_config import IMAGE_LEARNING, LearnConfig
from slimecore.metrics.part_iou import IouAccumulator, SegmentationReport
from slimecore.segmentation.config import SegmentConfig
from slimecore.segmentation.part_segmenter import PartSegmenter
from slimecore.types import Annotation, Parts

CELEBA = [
    *("background", "skin", "nose", "eyeglasses", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth"),
    *("u_lip", "l_lip", "hair", "hat", "earring", "necklace", "neck", "cloth"),
]
SIZE = 512
Predict = Callable[[int], np.ndarray]


class Dataset:
    """Pictures with masks of one folder."""

    def __init__(self, folder: Path) -> None:
        listed = folder / "labels.json"
        names = read_names(listed) if listed.exists() else dict(enumerate(CELEBA))
        self.parts = Parts(tuple(sorted(names)), tuple(names[v] for v in sorted(names)), ((0, 0, 0),) * len(names))
        self.items = []
        for path in sorted((folder / "images").iterdir()):
            rows = self.parts.index(read_mask(folder / "masks" / f"{path.stem}.png").labels)
            self.items.append(Annotation(read_rgb(path), rows, self.parts))
        self.truths = [resize_labels(np.asarray(item.rows), (SIZE, SIZE)) for item in self.items]

    def draw(self, shots: int, draw: int) -> list[int]:
        """References number `draw`, apart from those of all earlier draws."""
        visible = [set(np.unique(item.rows)) - {-1, 0} for item in self.items]
        if (draw + 1) * shots >= len(self.items):
            raise SystemExit(f"draw {draw} of {shots} references needs more than the {len(self.items)} pictures")
        used: list[int] = []
        for _ in range(draw + 1):
            seen = dict.fromkeys(range(len(self.parts)), 0)
            picked: list[int] = []
            for _ in range(shots):
                rest = [i for i in range(len(self.items)) if i not in used and i not in picked]
                picked.append(max(rest, key=lambda i: (sum(1 / (1 + seen[p]) for p in visible[i]), -i)))
                for part in visible[picked[-1]]:
                    seen[part] += 1
            used += picked
        return picked

    def score(self, references: list[int], predict: Predict) -> SegmentationReport:
        """Scores on all other pictures; `predict` gives soft labels (P, h, w) of any size."""
        tally = IouAccumulator()
        for i, truth in enumerate(self.truths):
            if i not in references:
                tally.add(resize_soft(predict(i).astype(np.float32), (SIZE, SIZE)).argmax(0), truth)
        return tally.report(dict(enumerate(self.parts.names)))


def floor(data: Dataset, references: list[int], arguments: argparse.Namespace) -> Predict:
    """An MLP on blurred Lab colour and position, on the pixels of the references' views."""

    def columns(rgb: np.ndarray) -> np.ndarray:
        lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / 50 - np.array([1, 0, 0], np.float32)
        h, w = rgb.shape[:2]
        y, x = np.mgrid[:h, :w]
        place = np.stack([(x + 0.5) / w * 2 - 1, (y + 0.5) / h * 2 - 1], -1)
        use = [cv2.GaussianBlur(lab, (0, 0), 1.0)] * arguments.floor_color
        return np.concatenate([*use, place], -1, dtype=np.float32).reshape(h * w, -1)

    rng = np.random.default_rng(0)
    inputs, targets = [], []
    for i in references:
        size = fit_short_side(data.items[i].rows.shape, 256, 1)
        views = IMAGE_LEARNING.views if arguments.floor_views else apply(IMAGE_LEARNING.views, {"count": 0}, where="")
        for rgb, rows in zip(*augmented_views(data.items[i], size, views, rng), strict=True):
            inputs.append(columns(rgb)[rows.ravel() >= 0])
            targets.append(rows.ravel()[rows.ravel() >= 0])
    x, t = torch.from_numpy(np.concatenate(inputs)), torch.from_numpy(np.concatenate(targets)).long()
    area = torch.bincount(t, minlength=len(data.parts)).float()
    known = area > 0
    weights = torch.where(known, (area[known].mean() / area.clamp(min=1)) ** arguments.floor_balance, 0.0)
    random = torch.Generator().manual_seed(0)
    layers = [torch.nn.Linear(a, b) for a, b in ((x.shape[1], 64), (64, 64), (64, len(data.parts)))]
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=random) * (2 / layer.weight.shape[1]) ** 0.5)
            layer.bias.zero_()
    net = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=arguments.floor_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, arguments.floor_steps)
    for _ in range(arguments.floor_steps):
        some = torch.randint(len(x), (4096,), generator=random)
        loss = functional.cross_entropy(net(x[some]), t[some], weight=weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()

    @torch.no_grad()
    def predict(i: int) -> np.ndarray:
        rgb = resize_rgb(data.items[i].rgb, fit_short_side(data.items[i].rows.shape, 256, 1))
        logits = net(torch.from_numpy(columns(rgb))).masked_fill(~known, -1e9)
        return logits.softmax(1).T.unflatten(1, rgb.shape[:2]).numpy()

    return predict


def slime(
    data: Dataset, references: list[int], arguments: argparse.Namespace, backbone: Any, base: LearnConfig
) -> Predict:
    """Learned tokens, read as ``slime segment`` does."""
    config = apply(base, parse_assignments(arguments.set), where="--set")
    items = [data.items[i] for i in references]
    reading = apply(SegmentConfig(), parse_assignments(arguments.read), where="--read")
    learned = learn_parts(backbone, items, config, short_side=arguments.short_side)
    segmenter = PartSegmenter(backbone, learned, reading)
    return lambda i: segmenter(data.items[i].rgb).scores.values


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--datasets", nargs="*", default=["carparts", "celebamask"])
    parser.add_argument("--shots", nargs="*", type=int, default=[1, 10])
    parser.add_argument("--draws", nargs="*", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--methods", nargs="*", choices=["floor", "video", "slime"], default=["floor", "slime"])
    parser.add_argument("--short-side", type=int, default=384)
    parser.add_argument("--set", action="append", default=[], help="change a setting of learning, KEY=VALUE")
    parser.add_argument("--read", action="append", default=[], help="change a setting of reading, KEY=VALUE")
    parser.add_argument("--floor-color", type=int, default=1, help="0: position alone")
    parser.add_argument("--floor-views", type=int, default=1, help="0: the references as they are")
    parser.add_argument("--floor-balance", type=float, default=0.5)
    parser.add_argument("--floor-steps", type=int, default=1000)
    parser.add_argument("--floor-decay", type=float, default=1e-3)
    parser.add_argument("--table", action="store_true", help="per part, of the first draw")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    backbone = build(ModelSpec(), torch.device("cpu"))
    learners: dict[str, Callable[..., Predict]] = {
        "floor": floor,
        "video": partial(slime, backbone=backbone, base=LearnConfig()),
        "slime": partial(slime, backbone=backbone, base=IMAGE_LEARNING),
    }
    results: dict[str, Any] = {}
    for name in arguments.datasets:
        data = Dataset(arguments.root / name)
        for shots in arguments.shots:
            for method in arguments.methods:
                reports, seconds = [], []
                for draw in arguments.draws:
                    references = data.draw(shots, draw)
                    start = time.perf_counter()
                    predict = learners[method](data, references, arguments)
                    seconds.append(time.perf_counter() - start)
                    reports.append(data.score(references, predict))
                scores = np.array([[100 * (r.mean(p) or 0) for p in ("per_image", "dataset")] for r in reports])
                mean, std = scores.mean(0), scores.std(0, ddof=min(1, len(scores) - 1))
                print(
                    f"{name:10s} {shots:2d} references  {method:6s} mIoU per image {mean[0]:5.1f} +- {std[0]:.1f}  "
                    f"data set {mean[1]:5.1f} +- {std[1]:.1f}  learned in {np.mean(seconds):.1f} s",
                    flush=True,
                )
                if arguments.table:
                    print(reports[0].table(), flush=True)
                results[f"{name} {shots} {method}"] = [report.to_dict() for report in reports]
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
