"""Masks painted by hand on a view: doubtful borders, gaps, and the rest of the object."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from slime3d.config import RunConfig
from slime3d.labelling.annotated_views import Reference, read_references
from slime3d.labelling.appearance import AppearanceConfig
from slime3d.labelling.painted_masks import interpret_mask, is_exact, marked_beside
from slime3d.rendering.cameras import orbit_cameras
from slime3d.rendering.renderers import build_renderer
from slime3d.run.pipeline import label_mesh
from slimecore.io.masks import write_mask

SIZE = 256


@pytest.fixture
def view(dumbbell):
    """The dumbbell seen from the side: cameras, face ids, true part values of the faces."""
    cameras = orbit_cameras(dumbbell.used(), 6, SIZE).at([0])
    x = dumbbell.middles()[:, 0]
    truth = np.where(np.abs(x) < 0.54, 7, np.where(x < 0, 4, 9))
    return cameras, build_renderer().rasterize(dumbbell.vertices, dumbbell.faces, cameras).face_id, truth


def paint_inside(values, margin):
    """Keep what is farther than `margin` pixels from the border of its part."""
    out = np.zeros_like(values)
    for part in np.unique(values[values > 0]):
        out[distance_transform_edt(values == part) > margin] = part
    return out


def paint_over(values, growth, order):
    """Grow the parts, later ones over earlier ones and over the ground."""
    out = np.zeros_like(values)
    for part in order:
        out[distance_transform_edt(values != part) <= growth] = part
    return out


def true_mask(view, parts=(4, 7, 9)):
    _, face_id, truth = view
    return np.where((face_id[0] >= 0) & np.isin(truth[face_id[0]], parts), truth[face_id[0]], 0)


def label(mesh, view, mask, folder, unlabelled="auto"):
    """Label the mesh from a mask file; return the part values of the faces and the notes."""
    cameras, face_id, _ = view
    write_mask(folder / "mask.png", mask)
    given = read_references([Reference(0, folder / "mask.png")], face_id, None, unlabelled)
    config = RunConfig(appearance=AppearanceConfig(weight=0))
    labels = label_mesh(mesh, face_id, given.rows, given.parts, config, cameras, weight=given.weight)
    return np.asarray(given.parts.values)[labels.rows], given.notes


def mean_iou(found, truth, areas):
    return np.mean([areas[(found == p) & (truth == p)].sum() / areas[(found == p) | (truth == p)].sum()
                    for p in np.unique(truth)])  # fmt: skip


@pytest.mark.parametrize("margin", [0, 3])
@pytest.mark.parametrize("part", [4, 7])
def test_lone_part_leaves_the_rest(dumbbell, view, tmp_path, margin, part):
    """A mask of one part alone, exact or inside its borders, does not flood the mesh."""
    found, _ = label(dumbbell, view, paint_inside(true_mask(view, [part]), margin), tmp_path)
    assert mean_iou(found == part, view[2] == part, dumbbell.areas()) > 0.93


@pytest.mark.parametrize(
    ("paint", "least"),
    [(lambda mask: paint_inside(mask, 3), 0.93), (lambda mask: paint_over(mask, 2, (9, 7, 4)), 0.9)],
    ids=["inside", "over"],
)
def test_painted_mask_gives_the_parts(dumbbell, view, tmp_path, paint, least):
    """Gaps between paints are no part, and paint over borders does not move them far."""
    found, notes = label(dumbbell, view, paint(true_mask(view)), tmp_path)
    assert mean_iou(found, view[2], dumbbell.areas()) > least
    assert any("painted by hand" in note for note in notes)


def test_large_unmarked_region_stays_rest(dumbbell, view, tmp_path):
    """A bulb that no paint is near is the rest of the object, unless the option says that it is unknown."""
    mask = paint_inside(true_mask(view, [4, 7]), 3)
    found, notes = label(dumbbell, view, mask, tmp_path)
    truth = np.where(view[2] == 9, 0, view[2])
    assert mean_iou(found, truth, dumbbell.areas()) > 0.93
    assert any("as the rest (0)" in note and "as unknown" in note for note in notes)
    assert 0 not in label(dumbbell, view, mask, tmp_path, "ignore")[0]
    every = label(dumbbell, view, mask, tmp_path, "part")[0]
    assert (every == 0).sum() > (found == 0).sum()


def test_lone_part_beside_sliver_no_flood(view, tmp_path):
    """One exact part over all but 2 % of the visible object leaves these 2 % the rest."""
    _, face_id, truth = view
    x = np.argsort(np.bincount(face_id[face_id >= 0], minlength=len(truth)))
    shown = np.bincount(face_id[face_id >= 0], minlength=len(truth))[x].cumsum()
    left_out = x[shown <= 0.02 * shown[-1]]
    mask = np.where((face_id[0] >= 0) & ~np.isin(face_id[0], left_out), 5, 0)
    write_mask(tmp_path / "mask.png", mask)
    given = read_references([Reference(0, tmp_path / "mask.png")], face_id, None, "auto")
    assert 0 in given.parts.values


def test_exact_mask_is_taken_as_given(view, tmp_path):
    """Borders on borders of faces make a mask exact; paint past them does not."""
    mask, ids = true_mask(view), view[1][0]
    assert is_exact(mask, ids)
    assert is_exact(true_mask(view, [7]), ids)
    assert not is_exact(paint_inside(mask, 3), ids)
    assert not is_exact(paint_over(mask, 2, (4, 7, 9)), ids)
    write_mask(tmp_path / "mask.png", mask)
    given = read_references([Reference(0, tmp_path / "mask.png")], view[1], None, "auto")
    assert given.weight is None
    assert given.notes == ()


def test_certainty_falls_towards_borders():
    """Pixels between two paints are doubtful, more so near the border; gaps are never certain."""
    ids = np.zeros((512, 512), np.int32)
    mask = np.repeat(np.where(np.arange(512) < 250, 1, 2), 512).reshape(512, 512)
    row = interpret_mask(mask, ids).weight[:, 100]
    assert row[200] == row[300] == 1
    assert (np.diff(row[240:250]) <= 0).all()
    assert row[249] < 0.1
    mask[240:260] = 0
    painted = interpret_mask(mask, ids)
    assert painted.gap[240:260].all()
    assert not painted.rest.any()
    assert (painted.labels[[242, 257], 100] == [1, 2]).all()
    assert painted.weight[240:260].max() < 1
    assert painted.weight[[239, 260], 100].min() == 1


def test_spill_beside_silhouette_no_alarm(view):
    """Paint that spills over the outline is not drawn on another view; paint far off is."""
    ids = view[1][0]
    assert marked_beside(paint_over(true_mask(view), 4, (4, 7, 9)), ids) == 0
    assert marked_beside(np.full(ids.shape, 4), ids) > 0.1
