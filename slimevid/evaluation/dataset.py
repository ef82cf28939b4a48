"""Find the annotations of a data set and pair them with the masks of a result folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slimecore.config import suggest_nearest
from slimecore.errors import ConfigError, InputError, InputProblems
from slimecore.io.images import IMAGE_SUFFIXES, list_images
from slimecore.io.result_folder import require_file_name
from slimevid.evaluation.protocol import Protocol
from slimevid.run.output_folder import OutputFolder

__all__ = ["Dataset", "Job", "davis_set", "mask_files", "open_davis", "open_pairs", "open_youtube", "pair"]

YEARS = (2016, 2017)
_MASK_SUFFIXES = (*IMAGE_SUFFIXES, ".npy")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Ground truth of a set of sequences.

    Parameters
    ----------
    label : str
        Ending of the names of result files: ``val`` in ``global_results-val.csv``.
    truths : tuple of (str, tuple of Path)
        Sequence name and its annotation files, in frame order.
    single : bool
        True if the data set is a folder of a single sequence. Its results may lie in the result folder itself.
    """

    label: str
    truths: tuple[tuple[str, tuple[Path, ...]], ...]
    single: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A sequence to score.

    Parameters
    ----------
    name : str
    truths : tuple of Path
        Masks of the annotated frames, in frame order.
    results : tuple of (Path or None)
        Result mask of every annotated frame. None for frames that are not scored.
    """

    name: str
    truths: tuple[Path, ...]
    results: tuple[Path | None, ...]


def mask_files(folder: Path) -> list[Path]:
    """Return the mask files of a folder in natural order: images and ``.npy`` arrays."""
    return list_images(folder, _MASK_SUFFIXES) if folder.is_dir() else []


def davis_set(root: Path, year: int, subset: str, task: str = "semi-supervised") -> list[str]:
    """Read the sequence names of a DAVIS split from the data set's own lists.

    Parameters
    ----------
    root : Path or str
        DAVIS folder, which holds ``ImageSets``.
    year : int
        2016 or 2017.
    subset : str
        ``train``, ``val``, ``test-dev``, ...
    task : str
        ``semi-supervised`` or ``unsupervised``.

    Returns
    -------
    list of str

    Raises
    ------
    ConfigError
        The year is not 2016 or 2017.
    InputError
        The list does not exist (the message names the existing lists), or a line of it leads out of the data set.
    """
    if year not in YEARS:
        raise ConfigError(f"--year must be 2016 or 2017, got {year}")
    folders = [str(year)] if year == 2016 or task == "semi-supervised" else [str(year), "2019"]
    if year == 2016:
        folders.append("480p")  # the original release has lists of path pairs in this folder
    for folder in folders:
        file = root / "ImageSets" / folder / f"{subset}.txt"
        if file.is_file():
            try:
                lines = file.read_text(encoding="utf-8").splitlines()
            except UnicodeDecodeError as error:
                raise InputError(f"{file}: no text; expected a sequence a line") from error
            names = [require_file_name(_sequence_of(line), str(file)) for line in lines if line.strip()]
            return list(dict.fromkeys(names))
    existing = sorted(str(p.relative_to(root).with_suffix("")) for p in (root / "ImageSets").glob("*/*.txt"))
    raise InputError(
        f"{root / 'ImageSets' / str(year) / (subset + '.txt')}: no such list; "
        + (f"there are {', '.join(existing)}" if existing else "give the folder that holds ImageSets and Annotations")
    )


def _sequence_of(line: str) -> str:
    """Return the sequence of a line: a name, or the paths of a picture and its mask in folders called like it."""
    first = line.split()[0]
    folders = first.split("/")
    return first if len(folders) < 2 or ".." in folders or "." not in folders[-1] else folders[-2]


def open_davis(
    root: Path | str,
    year: int,
    subset: str = "val",
    task: str = "semi-supervised",
    resolution: str = "480p",
    sequences: Sequence[str] = (),
) -> Dataset:
    """Find the annotations of a DAVIS split.

    DAVIS 2016: Perazzi et al., CVPR 2016. DAVIS 2017: Pont-Tuset et al., 2017. Unsupervised task: Caelles et al., 2019.

    Parameters
    ----------
    root : Path or str
        DAVIS folder with ``Annotations/<resolution>/<sequence>/*.png`` and ``ImageSets/<year>/<subset>.txt``.
    year : int
        2016 or 2017.
    subset : str
        ``train``, ``val``, ``test-dev``, ...
    task : str
        ``semi-supervised`` or ``unsupervised``.
    resolution : str
        Folder below ``Annotations``.
    sequences : sequence of str
        Names to select from the split. Empty selects all.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        The split, a sequence or its annotations are missing.
    """
    root = Path(root)
    names = _select(davis_set(root, year, subset, task), sequences, f"{year} {subset}")
    base = (
        root / ("Annotations_unsupervised" if task == "unsupervised" and year == 2017 else "Annotations") / resolution
    )
    if not base.is_dir():
        raise InputError(f"no such folder: {base}; give the DAVIS folder that holds it")
    return Dataset(subset, _truths(base, names))


def open_youtube(root: Path, sequences: Sequence[str] = ()) -> Dataset:
    """Find the annotations of a YouTube-VOS folder (Xu et al., ECCV 2018).

    The layout is ``Annotations/<sequence>/*.png``. Only every fifth frame is annotated.

    Raises
    ------
    InputError
        The annotations or a sequence are missing.
    """
    base = root / "Annotations"
    names = _folders(base)
    if not names:
        raise InputError(f"{base}: no sequence folders; give the folder that holds Annotations/<sequence>/*.png")
    return Dataset("ytvos", _truths(base, _select(names, sequences, str(base))))


def open_pairs(truth: Path | str, sequences: Sequence[str] = ()) -> Dataset:
    """Find the annotations in a folder of masks, or in a folder with a subfolder of masks per sequence.

    Raises
    ------
    InputError
        The folder is missing or holds no masks.
    """
    truth = Path(truth)
    if not truth.is_dir():
        raise InputError(f"no such folder: {truth}; --truth takes a folder of masks, or of folders of masks")
    files = mask_files(truth)
    if files:
        return Dataset("pairs", ((truth.resolve().name, tuple(files)),), single=True)
    names = [name for name in _folders(truth) if mask_files(truth / name)]
    if not names:
        raise InputError(f"{truth}: holds no masks, nor folders of masks")
    return Dataset("pairs", _truths(truth, _select(names, sequences, str(truth))))


def _folders(base: Path) -> list[str]:
    return sorted(p.name for p in base.iterdir() if p.is_dir() and not p.name.startswith(".")) if base.is_dir() else []


def _select(names: list[str], wanted: Sequence[str], where: str) -> list[str]:
    for name in wanted:
        if name not in names:
            raise InputError(f"no sequence {name!r} in {where}; {suggest_nearest(name, names)}")
    return [name for name in names if name in wanted] if wanted else names


def _truths(base: Path, names: Sequence[str]) -> tuple[tuple[str, tuple[Path, ...]], ...]:
    truths = tuple((name, tuple(mask_files(base / name))) for name in names)
    missing = [
        f"{base / name}: no annotations; complete the dataset or name --sequences" for name, f in truths if not f
    ]
    if missing:
        raise InputProblems(missing)
    return truths


def pair(dataset: Dataset, results: Path, protocol: Protocol) -> list[Job]:
    """Find the result mask of every scored frame.

    Parameters
    ----------
    dataset : Dataset
    results : Path
        Holds ``<sequence>/<frame>.png``, or the result folder of ``slimevid run`` as ``<sequence>``.
    protocol : Protocol

    Returns
    -------
    list of Job
        A job per sequence.

    Raises
    ------
    InputProblems
        All missing and all ambiguous masks, in a line per sequence. No mask has been decoded by then.
    """
    if not results.is_dir():
        raise InputError(f"no such folder: {results}; RESULTS holds one folder of masks a sequence")
    folders = {name: _result_folder(results, name, dataset.single) for name, _ in dataset.truths}
    if not any(folders.values()) and OutputFolder(results).masks.is_dir() and mask_files(OutputFolder(results).masks):
        raise InputError(
            f"{results} holds the masks of one clip, as slimevid run writes them; measure it with --truth and the "
            "folder of that clip's true masks, or call it RESULTS/NAME as the data set names the clip"
        )
    jobs, problems = [], []
    for name, truths in dataset.truths:
        scored = _scored_frames(truths, protocol.frames)
        if not scored:
            problems.append(
                f"{name}: {len(truths)} annotated frames are too few to score any under the rule "
                f"{protocol.frames!r}; see --frames"
            )
            continue
        folder = folders[name]
        if folder is None:
            problems.append(f"{results / name}: no masks{_hint_where(results, name)}")
            continue
        matched, trouble = _match_results(folder, [truths[i].stem for i in scored])
        problems += [f"{folder}: {text}" for text in trouble]
        chosen = dict(zip(scored, matched, strict=True))
        jobs.append(Job(name, truths, tuple(chosen.get(i) for i in range(len(truths)))))
    if problems:
        raise InputProblems(problems)
    return jobs


def _scored_frames(truths: Sequence[Path], rule: str) -> list[int]:
    count = len(truths)
    return list({"inner": range(1, count - 1), "all": range(count), "later": range(1, count)}[rule])


def _result_folder(results: Path, name: str, single: bool) -> Path | None:
    candidates = [OutputFolder(results / name).masks, results / name]  # `slimevid run` writes masks beside its overlay
    if single:
        candidates = [OutputFolder(results).masks, results, *candidates]
    return next((folder for folder in candidates if mask_files(folder)), None)


def _hint_where(results: Path, name: str) -> str:
    for folder in sorted(p for p in results.iterdir() if p.is_dir()):
        if (folder / name).is_dir():
            return f", but {folder / name} exists: give {folder}"
    return "; RESULTS holds one folder of masks a sequence"


def _match_results(folder: Path, stems: Sequence[str]) -> tuple[list[Path | None], list[str]]:
    """Return the result file of every frame (None if missing), and the problems found."""
    files: dict[str, list[Path]] = {}
    for file in mask_files(folder):
        files.setdefault(file.stem, []).append(file)
    problems = [
        f"frame {stem} has several masks ({', '.join(p.name for p in files[stem])}); keep one"
        for stem in stems
        if len(files.get(stem, ())) > 1
    ]
    missing = [stem for stem in stems if stem not in files]
    if missing:
        listed = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        example = min(files) if len(missing) == len(stems) else ""
        problems.append(
            f"{len(missing)} of {len(stems)} scored frames have no mask: {listed}"
            + (f"; the files there are named like {example}.png, name them as the annotations are" if example else "")
        )
    return [files[stem][0] if stem in files else None for stem in stems], problems
