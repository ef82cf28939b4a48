"""Run the commands of the tutorials and make their pictures again.

    python docs/make_tutorials.py                 # all pages, in a temporary folder; rewrites outputs and pictures
    python docs/make_tutorials.py chair-in-3d     # one page

Every fenced ``sh`` block of a page runs in order. A ``python`` block with a title is written to a file of that name
first. A ``text`` block that follows an ``sh`` block is replaced by the printed output. Pictures go to
``docs/images/tutorials`` as JPEG files of at most 80 KB. The first two pages share one folder.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "tutorials"
PICTURES = ROOT / "docs" / "images" / "tutorials"
MAX_BYTES = 80_000
GROUPS = (("first-video", "correcting-a-frame"), ("parts-from-one-picture",), ("chair-in-3d",))
PROGRAMS = {"slime": "slimecore.cli", "slimevid": "slimevid.cli", "slime3d": "slime3d.cli"}
BLOCK = re.compile(r'```(sh|python title="[^"]+")\n(.*?)```(?:\n\n```text\n(.*?)```)?', re.DOTALL)
PARTS_MASKS = ("truth", "segmented/masks", "segmented_anywhere/masks")
WIDTH = 300  # pixels of one frame in a strip


def run_page(page: Path, folder: Path, path: str) -> None:
    """Run the blocks of a page in `folder`, and write the outputs into the page."""
    text = page.read_text(encoding="utf-8")

    def execute(match: re.Match[str]) -> str:
        kind, code, shown = match.groups()
        if kind != "sh":
            (folder / kind.split('"')[1]).write_text(code, encoding="utf-8")
            return match.group()
        print(f"+ {code.strip()}", flush=True)
        settings = {**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "100"}
        result = subprocess.run(
            ["bash", "-ec", code],
            cwd=folder,
            env=settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(result.stdout, flush=True)
        if result.returncode:
            raise SystemExit(f"{page.name}: exit status {result.returncode}")
        if shown is None:
            return match.group()
        return f"```sh\n{code}```\n\n```text\n{result.stdout.strip()}\n```"

    page.write_text(BLOCK.sub(execute, text), encoding="utf-8")


def programs(folder: Path) -> str:
    """Write wrappers of the programs of this working tree into `folder`; return a PATH that begins with it."""
    folder.mkdir()
    python = f'PYTHONPATH="{ROOT}:{ROOT / "common"}" exec "{sys.executable}"'
    wrappers = {name: f'-c "import sys; from {home} import main; sys.exit(main())"' for name, home in PROGRAMS.items()}
    for name, arguments in {**wrappers, "python": ""}.items():
        file = folder / name
        file.write_text(f'#!/bin/sh\n{python} {arguments} "$@"\n', encoding="utf-8")
        file.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def save(name: str, picture: Image.Image) -> None:
    """Write a JPEG file at the best quality that stays below the limit."""
    for quality in (90, 85, 80, 70, 60, 50):
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= MAX_BYTES:
            break
    else:
        raise SystemExit(f"{name}: {buffer.tell()} bytes at the lowest quality; make it smaller")
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / name).write_bytes(buffer.getvalue())
    print(f"{name}: {picture.size}, {buffer.tell()} bytes")


def blend(picture: Image.Image, mask: Path, strength: float = 0.55) -> Image.Image:
    """Draw a mask over a picture in the colours of the DAVIS palette."""
    from slimecore.imaging.palette import davis_palette

    labels = np.array(Image.open(mask))
    colours = davis_palette()[labels].astype(np.float32)
    rgb = np.asarray(picture.convert("RGB"), np.float32)
    mixed = np.where((labels > 0)[..., None], rgb * (1 - strength) + colours * strength, rgb)
    return Image.fromarray(mixed.astype(np.uint8))


def grid(rows: list[list[Image.Image]], width: int = WIDTH, gap: int = 4) -> Image.Image:
    """Lay pictures of one shape out in rows."""
    height = round(rows[0][0].height * width / rows[0][0].width)
    sheet = Image.new("RGB", (len(rows[0]) * (width + gap) - gap, len(rows) * (height + gap) - gap), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
            sheet.paste(small, (x * (width + gap), y * (height + gap)))
    return sheet


def clip_frame(index: int) -> Image.Image:
    """Read a frame of the example clip."""
    from slimevid import open_clip

    clip = open_clip(ROOT / "examples" / "walker" / "clip.mp4")
    return Image.fromarray(next(iter(clip.read(index, index + 1))).rgb)


def first_video(folder: Path) -> None:
    """Make the pictures of the first tutorial."""
    first = clip_frame(0)
    save("first-video-input.jpg", grid([[first, blend(first, ROOT / "examples/walker/reference.png")]], 420))
    row = [blend(clip_frame(i), folder / f"walker/masks/{i:05d}.png") for i in (12, 30, 48, 66)]
    save("first-video-result.jpg", grid([row]))


def correcting(folder: Path) -> None:
    """Make the picture of the second tutorial: before above, after below."""
    frames = (44, 52, 60, 68)
    rows = [
        [blend(clip_frame(i), folder / f"{out}/masks/{i:05d}.png") for i in frames]
        for out in ("walker", "walker_corrected")
    ]
    save("correcting-result.jpg", grid(rows))


def parts(folder: Path) -> None:
    """Make the picture of the third tutorial: truth, result with position, result without."""
    files = sorted((folder / "pictures").glob("*.png"))
    rows = [[blend(Image.open(f), folder / masks / f.name) for f in files] for masks in PARTS_MASKS]
    save("parts-result.jpg", grid(rows, 260))


def chair(folder: Path) -> None:
    """Make the pictures of the mesh tutorial."""
    views = [Image.open(folder / f"views/view_{i:03d}.png") for i in range(12)]
    save("chair-views.jpg", grid([views[:6], views[6:]], 200))
    save("chair-mask.jpg", grid([[views[0], blend(views[0], folder / "mask.png")]], 384))
    sheet = Image.open(folder / "chair/labels.png").convert("RGB")
    sheet.thumbnail((1100, 1100), Image.Resampling.LANCZOS)
    save("chair-result.jpg", sheet)


MAKERS: dict[str, Callable[[Path], None]] = {
    "first-video": first_video,
    "correcting-a-frame": correcting,
    "parts-from-one-picture": parts,
    "chair-in-3d": chair,
}


def main() -> None:
    """Run the pages that are asked for, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=", ".join(MAKERS))
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in DIR and keep it")
    asked = parser.parse_args()
    if unknown := set(asked.pages) - set(MAKERS):
        parser.error(f"no such page: {', '.join(sorted(unknown))}")
    sys.path[:0] = [str(ROOT), str(ROOT / "common")]
    with tempfile.TemporaryDirectory() as temporary:
        base = asked.keep or Path(temporary)
        base.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(base / "bin", ignore_errors=True)
        path = programs(base / "bin")
        for group in GROUPS:
            pages = group if not asked.pages or set(group) & set(asked.pages) else ()
            folder = base / group[0]
            shutil.rmtree(folder, ignore_errors=True)
            for page in pages:
                folder.mkdir(exist_ok=True)
                if not (folder / "examples").exists():
                    (folder / "examples").symlink_to(ROOT / "examples")
                run_page(PAGES / f"{page}.md", folder, path)
                MAKERS[page](folder)


if __name__ == "__main__":
    main()
