"""Write the averaged weights as an ordinary diffusers folder.

``python -m training.export --work runs/slime_tiny --out common/slimecore/models/slime-tiny``
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import diffusers
import torch
from safetensors.torch import save_file

from slimecore.errors import SlimeError
from training.checkpoint import load_state
from training.config import TrainConfig, load_config, to_dict
from training.encoder import load_model
from training.model import SlimeTiny
from training.network import BLOCK, build_scheduler, readout

if TYPE_CHECKING:
    from training.train import Run

__all__ = ["FILES", "export"]

FILES = (
    "model_index.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "scheduler/scheduler_config.json",
    "null_prompt.safetensors",
    "readout.json",
    "README.md",
)
"""What an exported folder holds."""

_CARD = """# slime-tiny

A small diffusion UNet whose attention Slime reads out. Ordinary diffusers layout, fp16, {parameters:.1f} M
parameters.

| | |
|---|---|
| latents | `pixel_unshuffle(2 * rgb - 1, 4)`: 48 channels, no autoencoder weights |
| levels | 1/4, 1/8, 1/16 of the pixels, widths {channels}; attention at 1/16 (mid, up) and 1/8 (up) |
| input | sides that are multiples of 16; the toolkit resizes to them, nothing is padded |
| read | `readout.json`: the forward pass stops after the last module named there, early in the up path |
| prompt | `null_prompt.safetensors`, (1, 8, {cross_dim}), learned; there is no text encoder |
| prediction | v, DDIM, 1000 steps, scaled-linear betas |

## Data
Only pictures that `training/` draws: dead leaves of blobs, polygons, jointed figures and turning balls in
procedural textures, under camera and object motion, light and colour change, blur, noise and JPEG. No
photograph, no third-party data, no pre-trained weights.

## Recipe
Two frames of one procedural clip with exact correspondence. InfoNCE between the frames' descriptors, and labels
of parts carried by descriptor attention; every fourth step, by turns, denoising, or self-attention inside one's
own object and "segment like me" through cross-attention and weighted accumulated self-attention. AdamW,
exponential moving average of the weights.

{steps} steps, {pairs} frame pairs drawn, {minutes:.0f} minutes of one CPU thread (plus a second thread that
draws){start}. Seed {seed}. Rerun: `python -m training.train --config configs/slime_tiny.yaml --work runs/slime_tiny
--export DIR`.

## Not good at
- It has seen no photograph: it knows texture, colour, shape and motion, not animals, faces or cars.
- Thin structures below 8 pixels; large changes of view; objects that look like the background.
- As a picture generator it makes blurry dead leaves, if that. There is no text.
"""


def _write_json(path: Path, values: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n")


def _write_card(path: Path, run: "Run", config: TrainConfig, measured: str) -> None:
    drawn = -(-run.step // config.reuse)
    pairs = sum(config.counts[number % len(config.counts)] for number in range(drawn))
    path.write_text(
        _CARD.format(
            parameters=sum(p.numel() for p in run.model.unet.parameters()) / 1e6,
            channels=", ".join(map(str, config.channels)),
            cross_dim=config.cross_dim,
            steps=run.step,
            pairs=pairs,
            minutes=run.seconds / 60,
            seed=config.seed,
            start=f", from the weights of {config.start}, of which {config.keep:.0%} are kept" if config.start else "",
        )
        + (f"\n## Measured\n{measured.strip()}\n" if measured else "")
    )


def _swap(new: Path, out: Path) -> None:
    """Put a finished folder in the place of another; readers see one or the other."""
    out.parent.mkdir(parents=True, exist_ok=True)
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    new.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def export(run: "Run", config: TrainConfig, out: Path, measured: str = "") -> None:
    """Write ``FILES`` with the averaged weights of a run, mixed with those it started from as ``config.keep`` says.

    Parameters
    ----------
    run : Run
    config : TrainConfig
    out : Path
        Replaced as a whole, once everything is written.
    measured : str
        Markdown for the card: what evaluation found.
    """
    model = SlimeTiny(config)
    run.ema.copy_to(model)
    if config.start and config.keep:
        unet, _, prompt = load_model(Path(config.start))
        for own, other in zip((*model.unet.parameters(), model.null), (*unet.parameters(), prompt), strict=True):
            own.data.lerp_(other.data, config.keep)
    version = {"_diffusers_version": diffusers.__version__}
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    model.unet.half().save_pretrained(folder / "unet", safe_serialization=True)
    build_scheduler().save_pretrained(folder / "scheduler")
    codec = {"_class_name": "SpaceToDepthCodec", **version, "block_size": BLOCK, "scaling_factor": 1.0}
    _write_json(folder / "vae" / "config.json", codec)
    index = {
        "_class_name": "StableDiffusionPipeline",
        **version,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["slimecore", "SpaceToDepthCodec"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    _write_json(folder / "model_index.json", index)
    _write_json(folder / "readout.json", readout(config.layers))
    save_file({"embeddings": model.null.detach().to(torch.float16).contiguous()}, folder / "null_prompt.safetensors")
    _write_card(folder / "README.md", run, config, measured)
    folder.chmod(0o755)
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)
    _swap(folder, out)


def _main() -> None:
    from training.train import start_run

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--measured", type=Path, help="Markdown with evaluation results, for the card")
    args = parser.parse_args()
    saved = load_state(args.work / "state.pt")
    if saved is None:
        parser.error(f"{args.work}: no state.pt; train first")
    try:
        config = load_config(args.config)
        run = start_run(config)
        run.restore(saved)
    except SlimeError as error:
        parser.error(str(error))
    export(run, config, args.out, args.measured.read_text() if args.measured else "")
    print(f"step {run.step} written to {args.out}; run configuration {to_dict(config)}")


if __name__ == "__main__":
    _main()
