"""Fit the weights of slimevid's fusion on drawn clips: one weight after the other, by the masks they lead to.

``python -m training.fusion --clips 12 --out runs/fusion.json`` draws clips with exact masks, segments them from their
first frame with the settings of a preset, and tries factors on one weight at a time, keeping what scores higher. Every
trial segments whole clips, so a weight is judged on the system's own earlier masks (on-policy), not on true ones. The
clips of ``--check`` seeds are never fitted to: a gain that is not found there is not one.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from slimecore.backbones import Backbone, load_model
from slimecore.io.masks import MaskFile, make_parts
from slimecore.metrics.davis import boundary_f, region_j
from slimecore.types import Annotation, Frame, PartEmbeddings
from slimevid.config import RunConfig, preset
from slimevid.session.segmenter import Segmenter
from training.pairs import make_clip
from training.scene import SceneSettings
from training.textures import TextureBank

__all__ = ["Drawn", "draw_clips", "fit", "score"]

WEIGHTS = ("appearance_weight", "flow_weight", "background_motion_weight", "motion_gate", "probability_floor")
"""Of :class:`slimevid.config.FusionConfig`; the memory's is 1, as only ratios matter."""
FACTORS = (0.5, 0.7, 1.4, 2.0)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Frames (t, h, w, 3) uint8 and the mask (t, h, w) bool of one object."""

    rgb: np.ndarray
    mask: np.ndarray


class Recall:
    """A backbone that encodes a picture once: trials differ in what is made of the features only."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._known: dict[tuple[str, int], object] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(self._backbone, name)

    def _once(self, kind: str, rgb: torch.Tensor, make: Callable[[torch.Tensor], object]) -> object:
        key = (kind, hash(rgb.numpy().tobytes()))
        if key not in self._known:
            self._known[key] = make(rgb)
        return self._known[key]

    def encode(self, rgb: torch.Tensor, draws: int = 1) -> object:
        """As the backbone does, remembered where one picture is asked for."""
        if draws > 1 or len(rgb) > 1:
            return self._backbone.encode(rgb, draws)
        return self._once("encode", rgb, self._backbone.encode)

    def describe(self, rgb: torch.Tensor) -> object:
        """As the backbone does, remembered."""
        return self._once("describe", rgb, self._backbone.describe)


def draw_clips(seed: int, count: int, frames: int, size: int) -> list[Drawn]:
    """Clips whose largest object covers 2 to 40 % of the first frame and is never hidden whole."""
    clips: list[Drawn] = []
    attempt = 0
    bank = TextureBank((seed, 7))
    while len(clips) < count:
        rng = np.random.default_rng((seed, 8, attempt))
        attempt += 1
        clip = make_clip(rng, bank, size, np.linspace(0, 1, frames), SceneSettings())
        shares = np.bincount(clip.objects[0].ravel()) / size**2
        shares[0] = 0
        mask = clip.objects == shares.argmax()
        if 0.02 <= shares.max() <= 0.4 and mask.any((1, 2)).all():
            clips.append(Drawn(clip.rgb, mask))
    return clips


def score(
    clips: Sequence[Drawn],
    config: RunConfig,
    backbone: Backbone,
    learned: list[PartEmbeddings | None],
) -> float:
    """Mean J&F, 0..100, over the clips' frames but the first.

    Parameters
    ----------
    clips : sequence of Drawn
    config : RunConfig
    backbone : Backbone
    learned : list of PartEmbeddings or None
        One a clip; filled in where there is None, so that parts are learned once.
    """
    totals = []
    for number, clip in enumerate(clips):
        session = Segmenter(config, backbone, learned[number])
        parts = make_parts(MaskFile(clip.mask[0].astype(np.int32), {}))
        labels = parts.index(clip.mask[0].astype(np.int32))
        session.add_reference(Frame(0, clip.rgb[0], "0"), Annotation(clip.rgb[0], labels, parts))
        learned[number] = session.embeddings
        found = [session.step(Frame(i, clip.rgb[i], str(i))).labels > 0 for i in range(1, len(clip.rgb))]
        pairs = list(zip(found, clip.mask[1:], strict=True))
        totals.append(50 * np.mean([region_j(m, t) + boundary_f(m, t) for m, t in pairs]))
    return float(np.mean(totals))


def fit(
    measure: Callable[[RunConfig], float],
    config: RunConfig,
    rounds: int,
    least: float,
    report: Callable[[str], None],
) -> RunConfig:
    """Coordinate search over :data:`WEIGHTS`.

    Parameters
    ----------
    measure : callable(RunConfig) -> float
        To be raised.
    config : RunConfig
        Where to start.
    rounds : int
        Times over all weights; ends early when none changed.
    least : float
        A weight changes only for more than this: the nearest round number that does no harm is the better choice.
    report : callable(str)
        Told every trial.

    Returns
    -------
    RunConfig
    """
    best = measure(config)
    report(f"start {best:.2f}")
    for _ in range(rounds):
        changed = False
        for name in WEIGHTS:
            value = getattr(config.fusion, name)
            trials = {}
            for factor in FACTORS:
                other = replace(config, fusion=replace(config.fusion, **{name: value * factor}))
                trials[factor] = measure(other)
                report(f"{name} {value * factor:.3g}: {trials[factor]:.2f} ({trials[factor] - best:+.2f})")
            factor = max(trials, key=lambda f: trials[f])
            if trials[factor] > best + least:
                best, changed = trials[factor], True
                config = replace(config, fusion=replace(config.fusion, **{name: value * factor}))
        if not changed:
            break
    return config


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--least", type=float, default=0.2, help="smallest gain in J&F worth a change")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", type=int, default=1, help="seed of the clips that judge the result")
    parser.add_argument("--out", type=Path, help="JSON of the trials and the weights")
    args = parser.parse_args()
    config = preset(args.preset)
    backbone = Recall(load_model(config.model, config.device, config.seed))
    fitted_on, judges = (draw_clips(seed, args.clips, args.frames, args.size) for seed in (args.seed, args.check))
    learned: list[PartEmbeddings | None] = [None] * args.clips
    lines: list[str] = []

    def report(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    found = fit(lambda c: score(fitted_on, c, backbone, learned), config, args.rounds, args.least, report)
    others: list[PartEmbeddings | None] = [None] * args.clips
    before, after = (score(judges, c, backbone, others) for c in (config, found))
    report(f"clips not fitted to: {before:.2f} before, {after:.2f} after")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        weights = {name: getattr(found.fusion, name) for name in WEIGHTS}
        args.out.write_text(json.dumps({"weights": weights, "trials": lines}, indent=2) + "\n")


if __name__ == "__main__":
    _main()
