"""Look at what the generator draws: a contact sheet (PNG) and a clip (mp4).

``python -m training.preview --out runs/preview --seed 0``
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from training.pairs import Clip, make_clip, match
from training.scene import SceneSettings
from training.textures import TextureBank

__all__ = ["contact_sheet", "flow_check"]


def _id_colours(ids: np.ndarray) -> np.ndarray:
    palette = np.random.default_rng(3).integers(40, 256, (256, 3)).astype(np.uint8)
    palette[0] = 0
    return palette[ids % 256]


def flow_check(clip: Clip) -> np.ndarray:
    """Frame B redrawn from A's pixels along the exact correspondence, (h, w, 3) uint8; hidden is magenta."""
    size = clip.scene.size
    y, x = (axis.ravel() for axis in np.mgrid[:size, :size])
    positions, visible = match(clip, 1, 0, x, y)
    maps = (positions - 0.5).astype(np.float32).reshape(size, size, 2)
    drawn = cv2.remap(clip.rgb[0], maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    drawn[~visible.reshape(size, size)] = (255, 0, 255)
    return drawn


def contact_sheet(seed: int, rows: int, size: int, settings: SceneSettings) -> np.ndarray:
    """Rows of: frame A, frame B, object ids of A, part ids of A, B redrawn from A. RGB uint8."""
    bank = TextureBank((seed, 1, 0))
    lines = []
    for row in range(rows):
        rng = np.random.default_rng((seed, 2, 0, row))
        clip = make_clip(rng, bank, size, np.array([0.0, 1.0]), settings)
        tiles = [*clip.rgb, _id_colours(clip.objects[0]), _id_colours(clip.parts[0]), flow_check(clip)]
        lines.append(np.concatenate(tiles, axis=1))
    return np.concatenate(lines)


def _write_video(path: Path, frames: np.ndarray) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=12)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for sheet.png and clip.mp4")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--size", type=int, default=192)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    settings = SceneSettings()
    start = time.perf_counter()
    sheet = contact_sheet(args.seed, args.rows, args.size, settings)
    seconds = time.perf_counter() - start
    cv2.imwrite(str(args.out / "sheet.png"), sheet[..., ::-1])
    rng = np.random.default_rng((args.seed, 9))
    clip = make_clip(rng, TextureBank((args.seed, 9)), 256, np.linspace(0, 1, 25), settings)
    _write_video(args.out / "clip.mp4", np.concatenate([clip.rgb, _id_colours(clip.objects)], axis=2))
    print(f"{args.rows} pairs in {seconds:.2f} s (with a fresh texture bank); written to {args.out}")


if __name__ == "__main__":
    _main()
