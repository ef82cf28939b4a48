"""Parts over time, measured with annotated joints: does the part that holds a joint still hold it later.

A joint says where a place of the animal is, not what a part is. The part under it in the reference frame is the one it
belongs to; in every later annotated frame that part should lie under it again. Two floors stand beside the figure: the
reference mask left where it was, and chance (a place drawn from the whole object).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.config import suggest_nearest
from slimecore.errors import ConfigError, InputError, InputProblems
from slimevid.evaluation.dataset import mask_files
from slimevid.evaluation.mask_ids import VOID, holds_only_255, read_labels
from slimevid.evaluation.report import table
from slimevid.run.output_folder import OutputFolder

__all__ = ["JointTrack", "TrackScore", "measure_tracks", "read_joints", "track_table", "tracks_json"]

Plane = npt.NDArray[np.uint8]
Sample = tuple[bool, bool, bool, bool, float]
Points = dict[str, dict[int, tuple[float, float]]]
_FIGURES = ("held", "near", "on_object", "unmoved", "chance")


@dataclass(frozen=True, slots=True)
class JointTrack:
    """One joint in the frames after the reference.

    Parameters
    ----------
    joint, part : int
        Its id, and the part under it in the reference frame.
    frames : int
        Later frames in which it is annotated.
    held, near, on_object : float
        Share of them in which the part lies under it; within the tolerance of it; in which any part lies under it.
    unmoved, chance : float
        Floors of ``held``: the reference mask unmoved; the part's mean share of the object's area.
    """

    joint: int
    part: int
    frames: int
    held: float
    near: float
    on_object: float
    unmoved: float
    chance: float


@dataclass(frozen=True, slots=True)
class TrackScore:
    """A sequence: its joints, and their means weighted by frames."""

    sequence: str
    reference: str
    tolerance_px: float
    joints: tuple[JointTrack, ...]
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """Joints times later frames."""
        return sum(joint.frames for joint in self.joints)

    @property
    def parts(self) -> int:
        """Parts that hold a joint in the reference frame."""
        return len({joint.part for joint in self.joints})

    def mean(self, figure: str) -> float:
        """Mean of a figure over all samples."""
        return float(sum(getattr(joint, figure) * joint.frames for joint in self.joints) / self.samples)


def read_joints(path: Path) -> Points:
    """Joints of a BADJA file.

    Parameters
    ----------
    path : Path
        ``[{"frame": "00000", "joints": [[id, x, y], ...]}, ...]``, x and y in pixels of the masks; or as published,
        ``[{"image_path": ".../00000.jpg", "joints": [[row, column], ...], "visibility": [true, ...]}, ...]``, in
        pixels of pictures at full resolution, which the masks must then be.

    Returns
    -------
    dict
        Frame name to joint id to ``(x, y)``, frames in the file's order.

    Raises
    ------
    InputError
        Missing, or of another form.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        points = dict(_published(e) if "image_path" in e else _plain(e) for e in entries)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f'{path}: expected [{{"frame": "00000", "joints": [[id, x, y], ...]}}, ...], or a file of BADJA: {error!r}'
        ) from error
    if sum(bool(joints) for joints in points.values()) < 2:
        raise InputError(f"{path}: joints in two frames or more are needed, a reference and a later one")
    return points


def _plain(entry: dict[str, Any]) -> tuple[str, dict[int, tuple[float, float]]]:
    return str(entry["frame"]), {int(i): (float(x), float(y)) for i, x, y in entry["joints"]}


def _published(entry: dict[str, Any]) -> tuple[str, dict[int, tuple[float, float]]]:
    seen = zip(entry["joints"], entry["visibility"], strict=True)
    return Path(entry["image_path"]).stem, {i: (float(x), float(y)) for i, ((y, x), there) in enumerate(seen) if there}


def measure_tracks(
    results: Path,
    joints: Path,
    sequences: Sequence[str] = (),
    reference: str | None = None,
    tolerance: float = 0.05,
) -> list[TrackScore]:
    """Measure the masks of every sequence that has joints.

    Parameters
    ----------
    results : Path
        ``<results>/<sequence>/<frame>.png``, or one sequence's masks, or what `slimevid run` writes.
    joints : Path
        A BADJA file, or a folder of them.
    sequences : sequence of str
        Only these; empty = all.
    reference : str, optional
        Reference frame; the first with joints by default.
    tolerance : float
        Distance for ``near``, as a share of the square root of the object's area in the reference frame.

    Raises
    ------
    InputProblems
        Masks that are missing, unreadable or too small for their joints: all of them.
    """
    if not 0 <= tolerance <= 1:
        raise ConfigError(f"--tolerance is a share of the object's size, 0..1, got {tolerance}")
    files = sorted(joints.glob("*.json")) if joints.is_dir() else [joints]
    named = {re.sub(r"_\d+p$", "", file.stem): file for file in files}
    if not named:
        raise InputError(f"{joints}: no joint files (*.json)")
    for name in sequences:
        if name not in named:
            raise InputError(f"no joints of {name!r} in {joints}; {suggest_nearest(name, named)}")
    scores: list[TrackScore] = []
    problems: list[str] = []
    for name, file in named.items():
        if sequences and name not in sequences:
            continue
        try:
            scores.append(_sequence(name, read_joints(file), _masks(results, name, len(files)), reference, tolerance))
        except InputProblems as error:
            problems += error.problems
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputProblems(problems)
    return scores


def _masks(results: Path, name: str, sequences: int) -> dict[str, Path]:
    places = [OutputFolder(results / name).masks, results / name]
    if sequences == 1:
        places += [OutputFolder(results).masks, results]
    for place in places:
        files = mask_files(place)
        if files:
            return {file.stem: file for file in files}
    raise InputError(f"{results / name}: no masks; RESULTS holds one folder of masks a sequence")


def _sequence(name: str, points: Points, masks: dict[str, Path], reference: str | None, tolerance: float) -> TrackScore:
    frames = _frames(name, points, masks, reference)
    start = frames[0]
    first = _labels(masks[start])
    radius = tolerance * math.sqrt(int(np.count_nonzero(first)))
    under = {joint: _under(first, place) for joint, place in points[start].items()}
    parts = {joint: part for joint, part in under.items() if part}
    samples: dict[int, list[Sample]] = {joint: [] for joint in parts}
    problems: list[str] = []
    for frame in frames[1:]:
        try:
            plane = _labels(masks[frame], first.shape)
        except InputError as error:
            problems.append(str(error))
            continue
        for joint in sorted(parts.keys() & points[frame].keys()):
            place = points[frame][joint]
            if _under(plane, place) is not None:
                samples[joint].append(_sample(plane, first, place, parts[joint], radius))
    if problems:
        raise InputProblems(problems)
    tracks = tuple(
        JointTrack(joint, parts[joint], len(rows), *(float(v) for v in np.mean(rows, 0)))
        for joint, rows in samples.items()
        if rows
    )
    if not tracks:
        raise InputError(f"{name}: no joint lies on a part in {start} and is seen later; choose another --ref-frame")
    lost = ", ".join(str(joint) for joint, part in under.items() if not part)
    notes = (f"{name}: joints {lost} lie on no part in frame {start} and do not count",) if lost else ()
    return TrackScore(name, start, radius, tracks, notes)


def _frames(name: str, points: Points, masks: dict[str, Path], reference: str | None) -> list[str]:
    """Frames with joints from the reference on, all of which have masks."""
    frames = [frame for frame, joints in points.items() if joints]
    start = frames[0] if reference is None else reference
    if start not in frames[:-1]:
        shown = ", ".join(frames)
        raise InputError(f"{name}: no frame {start!r} with joints and later ones after it; there are {shown}")
    frames = frames[frames.index(start) :]
    missing = [frame for frame in frames if frame not in masks]
    if missing:
        shown = ", ".join(missing[:8])
        raise InputError(f"{name}: {len(missing)} of {len(frames)} frames with joints have no mask: {shown}")
    return frames


def _labels(path: Path, size: tuple[int, ...] | None = None) -> Plane:
    """Part values of a mask, void as background."""
    labels = read_labels(path)
    plane = labels.values
    if not labels.exact:
        raise InputError(f"{path}: its colours are not the DAVIS palette, so no part can be told; save an indexed PNG")
    if size is not None and plane.shape != size:
        (h, w), (height, width) = plane.shape, size
        raise InputError(f"{path}: is {w}x{h}, the reference frame {width}x{height}; masks must have one size")
    return (plane > 0).astype(np.uint8) if holds_only_255(plane) else np.where(plane == VOID, 0, plane).astype(np.uint8)


def _under(plane: Plane, place: tuple[float, float]) -> int | None:
    """Value of the pixel that holds a place; None outside the picture."""
    x, y = math.floor(place[0]), math.floor(place[1])
    return int(plane[y, x]) if 0 <= y < plane.shape[0] and 0 <= x < plane.shape[1] else None


def _sample(plane: Plane, first: Plane, place: tuple[float, float], part: int, radius: float) -> Sample:
    """Figures of one joint in one frame, in the order of `JointTrack`."""
    here = _under(plane, place)
    y, x = np.nonzero(plane == part)
    # Centres lie at +0.5; the pixel under the joint counts as at distance 0.
    near = here == part or bool((np.hypot(x + 0.5 - place[0], y + 0.5 - place[1]) <= radius).any())
    area = int(np.count_nonzero(plane))
    return (here == part, near, bool(here), _under(first, place) == part, len(x) / area if area else 0.0)


def track_table(scores: Sequence[TrackScore]) -> str:
    """Per cent, a row a sequence; the mean is over sequences."""
    head = ["per cent", "held", "near", "on object", "floor: unmoved", "floor: chance", "parts", "joints", "samples"]
    rows = []
    for score in scores:
        figures = [f"{100 * score.mean(name):.1f}" for name in _FIGURES]
        rows.append([score.sequence, *figures, str(score.parts), str(len(score.joints)), str(score.samples)])
    if len(scores) > 1:
        means = [f"{100 * float(np.mean([s.mean(name) for s in scores])):.1f}" for name in _FIGURES]
        rows.append(["mean", *means, "", "", str(sum(s.samples for s in scores))])
    return table(head, rows)


def tracks_json(scores: Sequence[TrackScore]) -> dict[str, Any]:
    """Everything measured, as plain values: shares 0..1, distances in pixels."""
    sequences = {
        s.sequence: {
            **{name: s.mean(name) for name in _FIGURES},
            "reference": s.reference,
            "tolerance_px": s.tolerance_px,
            "joints": [asdict(joint) for joint in s.joints],
            "notes": list(s.notes),
        }
        for s in scores
    }
    mean = {name: float(np.mean([s.mean(name) for s in scores])) for name in _FIGURES}
    return {"schema": 1, **mean, "sequences": sequences}
