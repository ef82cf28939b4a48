"""Transfer: labels of one mesh applied to others of its kind, all ordered pairs, beside the floor.

``python benchmarks/transfer.py ROOT`` with ROOT a folder of categories of ``NAME.labels.json`` beside meshes. A kind is
a category whose meshes have the same parts (``semantic_parts`` where a file has them; ``coarse_parts`` make a kind of
their own, and meshes without common names none). The source is annotated on two of ten views, chosen as in
``benchmarks/mesh.py``, and labelled as ``slime3d run`` does. Scored by area on the target: parts with at least 1 % of
their area visible in the source's annotated views that the target has.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mesh import VISIBLE, Case, load_case

from slime3d.config import RunConfig
from slime3d.evaluation import score_labels
from slime3d.io.mesh import Mesh
from slime3d.run.pipeline import label_mesh
from slime3d.transfer.labels import PreparedMesh, SourceMesh, TransferConfig, transfer_labels
from slimecore.io.masks import MaskFile, make_parts

VARIANTS = {
    "nearest": {"method": "nearest"},
    "default": {},
    "no surface": {"surface": False},
    "no form": {"form": 0.0},
    "no colour": {"color": 0.0, "own_color": 0.0},
    "no own colour": {"own_color": 0.0},
    "no walk": {"weight": 0.0},
    "search": {"search": True},
    "nearest, search": {"method": "nearest", "search": True},
}


@dataclass
class Member:
    """A mesh of a kind with the labels of that kind."""

    case: Case
    truth: np.ndarray


@dataclass
class Source:
    """A mesh labelled from two views."""

    rows: np.ndarray
    values: np.ndarray
    visible: list[int]


def kinds(root: Path, size: int, wanted: Sequence[str], across: bool) -> dict[str, list[Member]]:
    """Kinds with at least two meshes; across categories too, if asked."""
    out: dict[str, list[Member]] = defaultdict(list)
    for path in sorted(root.rglob("*.labels.json")):
        raw = json.loads(path.read_text(encoding="utf-8"))
        category, base = "any" if across else path.parent.name, np.array(raw["labels"])
        options = {}
        if "semantic_of" in raw:
            options[f"{category} {' '.join(raw['semantic_parts'])}"] = np.append(raw["semantic_of"], -1)[base]
        elif not str(raw["parts"][0]).startswith("segment_"):
            options[f"{category} {len(raw['parts'])} parts: {raw['parts'][1]} .. {raw['parts'][-1]}"] = base
        if "coarse_of" in raw:
            options[f"{category} {' '.join(raw['coarse_parts'])}"] = np.append(raw["coarse_of"], -1)[base]
        options = {kind: labels for kind, labels in options.items() if any(w in kind for w in wanted)}
        if not options:
            continue
        case = load_case(path, size)
        for kind, labels in options.items():
            out[kind].append(Member(case, np.where(labels < 0, -1, labels + 1)))
    return {kind: members for kind, members in out.items() if len(members) > 1}


def annotated(member: Member) -> Source:
    """Label a source from its two best views."""
    case = replace(member.case, truth=member.truth)
    views: list[int] = []
    for _ in range(2):
        views.append(case.best(views))
    ids = case.face_id[views]
    labels = np.where(ids >= 0, case.truth[ids], -1)
    parts = make_parts(MaskFile(labels.reshape(-1, 1), {}))
    found = label_mesh(case.mesh, ids, parts.index(labels), parts, RunConfig())
    visible = np.flatnonzero(case.shares(views) >= VISIBLE).tolist()
    return Source(found.rows, np.asarray(parts.values), visible)


def score(source: Source, target: Member, rows: np.ndarray) -> float:
    """Mean IoU by area over the parts both have."""
    parts = [p for p in source.visible if (target.truth == p).any()]
    iou, _ = score_labels(source.values[rows], target.truth, target.case.mesh.areas(), parts)
    return float(np.mean(list(iou.values())))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument(
        "--kinds", nargs="+", default=[""], metavar="TEXT", help="only those whose name holds one of these"
    )
    parser.add_argument("--variants", nargs="+", default=["nearest", "default"], choices=list(VARIANTS))
    parser.add_argument("--across", action="store_true", help="meshes of other categories with the same parts too")
    parser.add_argument("--detail", action="store_true", help="a line a pair")
    arguments = parser.parse_args()
    prepared: dict[int, PreparedMesh] = {}

    def kin(mesh: Mesh) -> PreparedMesh:
        if id(mesh) not in prepared:
            prepared[id(mesh)] = PreparedMesh.of(mesh, TransferConfig())
        return prepared[id(mesh)]

    print("kind, variant: pairs, mean, worst, seconds a pair (meshes prepared)")
    for kind, members in kinds(arguments.root, arguments.size, arguments.kinds, arguments.across).items():
        sources = [annotated(member) for member in members]
        donors = [SourceMesh.of(kin(m.case.mesh), s.rows, len(s.values)) for m, s in zip(members, sources, strict=True)]
        for variant in arguments.variants:
            config = replace(TransferConfig(), **VARIANTS[variant])
            scores = []
            started = time.perf_counter()
            for i, (source, donor) in enumerate(zip(sources, donors, strict=True)):
                for j, target in enumerate(members):
                    if i == j:
                        continue
                    found = transfer_labels(donor, kin(target.case.mesh), config)
                    scores.append(score(source, target, found.labels.rows))
                    if arguments.detail:
                        told = {name: round(weight, 2) for name, weight in found.weights.items()}
                        print(f"    {members[i].case.name} -> {target.case.name} {100 * scores[-1]:.1f} {told}")
            spent = (time.perf_counter() - started) / len(scores)
            print(
                f"{kind}, {variant}: {len(scores)}, {100 * np.mean(scores):.1f}, {100 * np.min(scores):.1f}, "
                f"{spent:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
