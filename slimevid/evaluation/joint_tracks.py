"""Part consistency over time, measured with annotated joints (BADJA, Biggs et al., ACCV 2018).

A joint is a point of the animal. It belongs to the part that covers it in the reference frame. In every later annotated
frame, the same part should cover it again. Two baselines accompany the score: the reference mask without motion, and
chance (a random pixel of the object).
"""

from __future__ import annotations

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
from slimecore.user_files import read_json
from slimevid.evaluation.dataset import mask_files
from slimevid.evaluation.mask_ids import VOID, holds_only_255, read_labels
from slimevid.evaluation.report import table
from slimevid.run.output_folder import OutputFolder

__all__ = ["JointTrack", "TrackScore", "measure_tracks", "read_joints", "track_table", "tracks_json"]

Plane = npt.NDArray[np.uint8]
Sample = tuple[bool, bool, bool, bool, float]
Points = dict[str, dict[int, tuple[float, float]]]
_FARTHEST_PIXEL = 1e7
_SCORE_FIELDS = ("held", "near", "on_object", "unmoved", "chance")


@dataclass(frozen=True, slots=True)
class JointTrack:
    """Scores of a joint in the frames after the reference.

    Parameters
    ----------
    joint : int
        Id of the joint.
    part : int
        Value of the part that covers the joint in the reference frame.
    frames : int
        Number of later frames in which the joint is annotated.
    held, near, on_object : float
        Shares of frames, 0..1: the part covers the joint, the part lies within the tolerance of the joint, any part
        covers the joint.
    unmoved, chance : float
        Baselines of ``held``, 0..1: the reference mask without motion, and the part's mean share of the object's area.
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
    """Scores of a sequence. Means over joints are weighted by the number of frames.

    Parameters
    ----------
    sequence, reference : str
        Name of the sequence, and of the reference frame.
    tolerance_px : float
        Tolerance of ``near``, in pixels.
    joints : tuple of JointTrack
    notes : tuple of str
        Warnings, for instance about joints that no part covers.
    """

    sequence: str
    reference: str
    tolerance_px: float
    joints: tuple[JointTrack, ...]
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """Number of samples: later frames, summed over joints."""
        return sum(joint.frames for joint in self.joints)

    @property
    def parts(self) -> int:
        """Number of parts that cover a joint in the reference frame."""
        return len({joint.part for joint in self.joints})

    def mean(self, figure: str) -> float:
        """Return the mean over all samples of a field of :class:`JointTrack`, 0..1."""
        return float(sum(getattr(joint, figure) * joint.frames for joint in self.joints) / self.samples)


def read_joints(path: Path) -> Points:
    """Read the joints of a BADJA file (Biggs et al., ACCV 2018).

    Parameters
    ----------
    path : Path
        Either ``[{"frame": "00000", "joints": [[id, x, y], ...]}, ...]``, with x and y in pixels of the masks. Or the
        published form ``[{"image_path": ".../00000.jpg", "joints": [[row, column], ...], "visibility": [true, ...]},
        ...]``, in pixels of the full-resolution images. Masks must then have full resolution too.

    Returns
    -------
    dict
        Maps frame name to joint id to ``(x, y)``. Frames are in the file's order.

    Raises
    ------
    InputError
        The file is missing, of another form, or has joints in fewer than two frames.
    """
    try:
        entries = read_json(path)
        points = dict(_published(e) if "image_path" in e else _plain(e) for e in entries)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise InputError(
            f'{path}: expected [{{"frame": "00000", "joints": [[id, x, y], ...]}}, ...], or a file of BADJA: {error!r}'
        ) from error
    for frame, joints in points.items():
        for joint, place in joints.items():
            if not all(abs(value) < _FARTHEST_PIXEL for value in place):  # NaN is not below either
                raise InputError(f"{path}: joint {joint} of frame {frame} is at {place}, outside any picture")
    if sum(bool(joints) for joints in points.values()) < 2:
        raise InputError(f"{path}: joints in two frames or more are needed, a reference and a later one")
    return points


def _plain(entry: dict[str, Any]) -> tuple[str, dict[int, tuple[float, float]]]:
    return str(entry["frame"]), {int(i): (float(x), float(y)) for i, x, y in entry["joints"]}


def _published(entry: dict[str, Any]) -> tuple[str, dict[int, tuple[float, float]]]:
    points = zip(entry["joints"], entry["visibility"], strict=True)
    return Path(entry["image_path"]).stem, {
        i: (float(x), float(y)) for i, ((y, x), visible) in enumerate(points) if visible
    }


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
        Holds ``<sequence>/<frame>.png``. With a single joint file also a folder of masks, or a result folder of
        ``slimevid run``.
    joints : Path
        A BADJA file, or a folder of BADJA files.
    sequences : sequence of str
        Names to select. Empty selects all.
    reference : str, optional
        Name of the reference frame. By default the first frame with joints.
    tolerance : float
        Distance for ``near``, as a share of the square root of the object's area in the reference frame, 0..1.

    Returns
    -------
    list of TrackScore

    Raises
    ------
    ConfigError
        The tolerance is out of range.
    InputError
        A joint file is missing.
    InputProblems
        All masks that are missing, unreadable, or of different sizes.
    """
    if not 0 <= tolerance <= 1:
        raise ConfigError(f"--tolerance is a share of the object's size, 0..1, got {tolerance}")
    files = sorted(joints.glob("*.json")) if joints.is_dir() else [joints]
    files_by_sequence = {re.sub(r"_\d+p$", "", file.stem): file for file in files}
    if not files_by_sequence:
        raise InputError(f"{joints}: no joint files (*.json)")
    for name in sequences:
        if name not in files_by_sequence:
            raise InputError(f"no joints of {name!r} in {joints}; {suggest_nearest(name, files_by_sequence)}")
    scores: list[TrackScore] = []
    problems: list[str] = []
    for name, file in files_by_sequence.items():
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
    candidates = [OutputFolder(results / name).masks, results / name]
    if sequences == 1:
        candidates += [OutputFolder(results).masks, results]
    for folder in candidates:
        files = mask_files(folder)
        if files:
            return {file.stem: file for file in files}
    raise InputError(f"{results / name}: no masks; RESULTS holds one folder of masks a sequence")


def _sequence(name: str, points: Points, masks: dict[str, Path], reference: str | None, tolerance: float) -> TrackScore:
    frames = _frames(name, points, masks, reference)
    start = frames[0]
    first = _labels(masks[start])
    radius = tolerance * math.sqrt(int(np.count_nonzero(first)))
    part_under = {joint: _part_at(first, point) for joint, point in points[start].items()}
    parts = {joint: part for joint, part in part_under.items() if part}
    samples: dict[int, list[Sample]] = {joint: [] for joint in parts}
    problems: list[str] = []
    for frame in frames[1:]:
        try:
            plane = _labels(masks[frame], first.shape)
        except InputError as error:
            problems.append(str(error))
            continue
        for joint in sorted(parts.keys() & points[frame].keys()):
            point = points[frame][joint]
            if _part_at(plane, point) is not None:
                samples[joint].append(_sample(plane, first, point, parts[joint], radius))
    if problems:
        raise InputProblems(problems)
    tracks = tuple(
        JointTrack(joint, parts[joint], len(rows), *(float(v) for v in np.mean(rows, 0)))
        for joint, rows in samples.items()
        if rows
    )
    if not tracks:
        raise InputError(f"{name}: no joint lies on a part in {start} and is seen later; choose another --ref-frame")
    lost = ", ".join(str(joint) for joint, part in part_under.items() if not part)
    notes = (f"{name}: joints {lost} lie on no part in frame {start} and do not count",) if lost else ()
    return TrackScore(name, start, radius, tracks, notes)


def _frames(name: str, points: Points, masks: dict[str, Path], reference: str | None) -> list[str]:
    """Return the frames with joints from the reference on, after checking that all have masks."""
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
    """Read the part values of a mask, (h, w) uint8. Void counts as background."""
    labels = read_labels(path)
    plane = labels.values
    if not labels.exact:
        raise InputError(f"{path}: its colours are not the DAVIS palette, so no part can be told; save an indexed PNG")
    if size is not None and plane.shape != size:
        (h, w), (height, width) = plane.shape, size
        raise InputError(f"{path}: is {w}x{h}, the reference frame {width}x{height}; masks must have one size")
    return (plane > 0).astype(np.uint8) if holds_only_255(plane) else np.where(plane == VOID, 0, plane).astype(np.uint8)


def _part_at(plane: Plane, point: tuple[float, float]) -> int | None:
    """Return the part value at a point (x, y) in pixels, or None outside the image."""
    x, y = math.floor(point[0]), math.floor(point[1])
    return int(plane[y, x]) if 0 <= y < plane.shape[0] and 0 <= x < plane.shape[1] else None


def _sample(plane: Plane, first: Plane, point: tuple[float, float], part: int, radius: float) -> Sample:
    """Score a joint in a frame: held, near, on_object, unmoved, chance."""
    part_here = _part_at(plane, point)
    y, x = np.nonzero(plane == part)
    # Pixel centres lie at +0.5. The pixel under the joint counts as distance 0.
    near = part_here == part or bool((np.hypot(x + 0.5 - point[0], y + 0.5 - point[1]) <= radius).any())
    area = int(np.count_nonzero(plane))
    return (part_here == part, near, bool(part_here), _part_at(first, point) == part, len(x) / area if area else 0.0)


def track_table(scores: Sequence[TrackScore]) -> str:
    """Format scores in per cent, with a row per sequence and their mean over sequences."""
    head = ["per cent", "held", "near", "on object", "floor: unmoved", "floor: chance", "parts", "joints", "samples"]
    rows = []
    for score in scores:
        figures = [f"{100 * score.mean(name):.1f}" for name in _SCORE_FIELDS]
        rows.append([score.sequence, *figures, str(score.parts), str(len(score.joints)), str(score.samples)])
    if len(scores) > 1:
        means = [f"{100 * float(np.mean([s.mean(name) for s in scores])):.1f}" for name in _SCORE_FIELDS]
        rows.append(["mean", *means, "", "", str(sum(s.samples for s in scores))])
    return table(head, rows)


def tracks_json(scores: Sequence[TrackScore]) -> dict[str, Any]:
    """Return all scores as plain values for JSON: shares 0..1, distances in pixels."""
    sequences = {
        s.sequence: {
            **{name: s.mean(name) for name in _SCORE_FIELDS},
            "reference": s.reference,
            "tolerance_px": s.tolerance_px,
            "joints": [asdict(joint) for joint in s.joints],
            "notes": list(s.notes),
        }
        for s in scores
    }
    mean = {name: float(np.mean([s.mean(name) for s in scores])) for name in _SCORE_FIELDS}
    return {"schema": 1, **mean, "sequences": sequences}
