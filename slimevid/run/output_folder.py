"""The result folder of ``slimevid run``: what is cleared before a run, and what a resumed one must find."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from slimecore.config import dump_yaml
from slimecore.io.atomic_files import make_folder, write_json, write_text
from slimevid.io import Clip
from slimevid.run.checkpoint import CheckpointFile
from slimevid.run.manifest import RUN_MANIFEST, RunManifest
from slimevid.run.request import RunRequest, clip_entry
from slimevid.session.passes import ReferenceInterval

__all__ = ["missing_results", "prepare_output_folder"]


def prepare_output_folder(
    request: RunRequest,
    clip: Clip,
    gaps: Iterable[ReferenceInterval],
    ledger: RunManifest,
    snapshots: CheckpointFile,
    *,
    fresh: bool,
) -> None:
    """Make the folder ready.

    The ledger comes before anything is cleared away: from then on it says what is done, so a run that is killed at any
    later moment can be resumed. Masks of an earlier run are removed only where a ledger says that they are ours; so are
    exports of frames that will be labelled again.

    Raises
    ------
    OutputError
        The place cannot be written.
    """
    out = request.out
    make_folder(out)
    ours = (out / RUN_MANIFEST).is_file()  # else what lies here is not ours to clear away
    begun = not fresh and snapshots.load(ledger.key) is not None
    if not begun:  # else one of other references would be taken up when these are taken back
        snapshots.remove()
    ledger.save()
    masks = make_folder(out / "masks")
    soft = make_folder(out / "soft") if request.soft else out / "soft"
    results = ("overlay.mp4", "parts.safetensors", "completion.safetensors", "scores.csv", "coco_rle.json")
    stale = [out / name for name in results if fresh]
    stems = clip.stems()
    if ours and not ledger.done and not begun:
        kinds = (("masks", ".png"), ("soft", ".npy"), ("rgba", ".png"))
        stale += [out / kind / f"{stem}{suffix}" for stem in stems for kind, suffix in kinds]
    elif again := [i for gap in gaps if ledger.interval_key(gap) not in ledger.done for i in gap.frames()]:
        stale += [out / "coco_rle.json", *(out / "rgba" / f"{stems[i]}.png" for i in again if ours)]
    for folder in (out, masks, soft, out / "rgba"):  # what a killed process was writing
        stale += folder.glob(".*.part*") if folder.is_dir() else []
    for path in stale:
        with suppress(OSError):
            path.unlink()
    write_text(out / "config.yaml", dump_yaml(request.config))
    write_json(out / "report.json", {"status": "running", "clip": clip_entry(clip)})


def missing_results(
    request: RunRequest, clip: Clip, gaps: list[ReferenceInterval], ledger: RunManifest
) -> list[ReferenceInterval]:
    """Gaps that count as done, of which a mask, or soft labels that are asked for, are gone; all without scores."""
    done = [gap for gap in gaps if ledger.interval_key(gap) in ledger.done]
    if not (request.out / "scores.csv").is_file():
        return done
    kinds = [("masks", "png"), *([("soft", "npy")] if request.soft else [])]
    stems = clip.stems()

    def there(frame: int) -> bool:
        return all((request.out / kind / f"{stems[frame]}.{suffix}").is_file() for kind, suffix in kinds)

    return [gap for gap in done if not all(there(frame) for frame in gap.frames())]
