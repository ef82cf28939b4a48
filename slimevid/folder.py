"""The result folder of ``slimevid run``: what is cleared before a run, and what a resumed one must find."""

from __future__ import annotations

from contextlib import suppress

from slimecore.config import dump_yaml
from slimecore.files import make_folder, write_json, write_text
from slimevid.io import Clip
from slimevid.ledger import LEDGER, Ledger
from slimevid.passes import Gap
from slimevid.request import RunRequest, clip_entry
from slimevid.snapshots import SnapshotFile

__all__ = ["missing_masks", "open_folder"]


def open_folder(request: RunRequest, clip: Clip, ledger: Ledger, snapshots: SnapshotFile, *, fresh: bool) -> None:
    """Make the folder ready.

    The ledger comes before anything is cleared away: from then on it says what is done, so a run that is killed at any
    later moment can be resumed. Masks of an earlier run are removed only where a ledger says that they are ours.

    Raises
    ------
    OutputError
        The place cannot be written.
    """
    out = request.out
    make_folder(out)
    ours = (out / LEDGER).is_file()  # else what lies here is not ours to clear away
    if fresh:
        snapshots.remove()
    ledger.save()
    masks = make_folder(out / "masks")
    soft = make_folder(out / "soft") if request.soft else out / "soft"
    results = ("overlay.mp4", "parts.safetensors", "completion.safetensors", "scores.csv", "coco_rle.json")
    stale = [out / name for name in results if fresh]
    if ours and not ledger.done and snapshots.load(ledger.key) is None:
        kinds = (("masks", ".png"), ("soft", ".npy"), ("rgba", ".png"))
        stale += [out / kind / f"{stem}{suffix}" for stem in clip.stems() for kind, suffix in kinds]
    for folder in (out, masks, soft, out / "rgba"):  # what a killed process was writing
        stale += folder.glob(".*.part*") if folder.is_dir() else []
    for path in stale:
        with suppress(OSError):
            path.unlink()
    write_text(out / "config.yaml", dump_yaml(request.config))
    write_json(out / "report.json", {"status": "running", "clip": clip_entry(clip)})


def missing_masks(request: RunRequest, clip: Clip, gaps: list[Gap], ledger: Ledger) -> list[Gap]:
    """Gaps that count as done, of which a mask is gone."""
    stems = clip.stems()
    done = [gap for gap in gaps if ledger.ends(gap) in ledger.done]
    return [gap for gap in done if not all((request.out / "masks" / f"{stems[i]}.png").is_file() for i in gap.frames())]
