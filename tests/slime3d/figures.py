"""Bodies and carts with parts known by construction."""

from __future__ import annotations

import numpy as np
import trimesh

from slime3d.io.materials import Appearance
from slime3d.io.mesh import Mesh
from tests.slime3d.shapes import make_mesh

BODY, HEAD, ARM, LEG = range(4)


def figure(arms=(0.0, 0.0), legs=(0.25, 0.25), plump=1.0, cell=0.06):
    """A body in one closed surface and the part of every face; angles of arms and legs in radians, `plump` a build.

    A distance field of capsules is meshed, so that the surface is one piece as scanned bodies are.
    """
    shoulder, hip = np.array([0.22 * plump, 0.45, 0.0]), np.array([0.12 * plump, -0.35, 0.0])
    bones = [(BODY, [0, -0.3, 0], [0, 0.4, 0], 0.2 * plump), (HEAD, [0, 0.72, 0], [0, 0.8, 0.15], 0.17)]
    for side, arm, leg in zip((1.0, -1.0), arms, legs, strict=True):
        mirror = np.array([side, 1.0, 1.0])
        hand = shoulder + 0.75 * np.array([np.cos(arm), np.sin(arm), 0.1])
        foot = hip + 0.9 * np.array([np.sin(leg), -np.cos(leg), 0.0])
        toe = foot + np.array([0.0, 0.0, 0.35])  # a front, or front and back would be mirror images too
        bones += [(ARM, shoulder * mirror, hand * mirror, 0.075), (LEG, hip * mirror, foot * mirror, 0.1)]
        bones.append((LEG, foot * mirror, toe * mirror, 0.1))
    vertices, faces, part = _surface(bones, cell)
    return make_mesh(vertices, faces), part


def _surface(bones, cell):
    """Marching tetrahedra of the union of capsules, and the nearest bone's part of every face."""
    ends = np.array([[b[1], b[2]] for b in bones], float)
    radii = np.array([b[3] for b in bones])
    low, high = ends.min((0, 1)) - radii.max() - 2 * cell, ends.max((0, 1)) + radii.max() + 2 * cell
    axes = [np.arange(a, b + cell, cell) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    shape = grid.shape[:3]
    index = np.arange(np.prod(shape)).reshape(shape)
    corners = {
        (i, j, k): index[i : shape[0] - 1 + i, j : shape[1] - 1 + j, k : shape[2] - 1 + k].ravel()
        for i in (0, 1)
        for j in (0, 1)
        for k in (0, 1)
    }
    points = grid.reshape(-1, 3)
    value = _field(points, ends, radii).min(0)
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    tets = []
    for order in orders:  # six tetrahedra a cell, all around one diagonal: neighbours agree
        steps = [np.zeros(3, int)]
        for axis in order:
            steps.append(steps[-1] + np.eye(3, dtype=int)[axis])
        tets.append(np.stack([corners[tuple(step.tolist())] for step in steps], 1))
    tets = np.concatenate(tets)
    inside = value[tets] < 0
    tets, inside = tets[inside.any(1) & ~inside.all(1)], inside[inside.any(1) & ~inside.all(1)]
    triangles = []
    for tet, mark in zip(tets, inside, strict=True):
        a, b = tet[mark], tet[~mark]
        if len(a) == 2:
            quad = [(a[0], b[0]), (a[0], b[1]), (a[1], b[1]), (a[1], b[0])]
            triangles += [[quad[0], quad[1], quad[2]], [quad[0], quad[2], quad[3]]]
        else:
            one, three = (a[0], b) if len(a) == 1 else (b[0], a)
            triangles.append([(one, other) for other in three])
    edges = np.sort(np.array(triangles), -1).reshape(-1, 2)
    unique, place = np.unique(edges, axis=0, return_inverse=True)
    f0, f1 = value[unique[:, 0]], value[unique[:, 1]]
    share = (f0 / (f0 - f1)).clip(0.05, 0.95)[:, None]
    vertices = points[unique[:, 0]] * (1 - share) + points[unique[:, 1]] * share
    faces = place.reshape(-1, 3)
    nearest = _field(vertices[faces].mean(1), ends, radii).argmin(0)
    outward = _field(vertices[faces].mean(1) + 0.01 * _normals(vertices, faces), ends, radii).min(0)
    faces = np.where((outward < _field(vertices[faces].mean(1), ends, radii).min(0))[:, None], faces[:, ::-1], faces)
    return vertices, faces, np.array([b[0] for b in bones])[nearest]


def _normals(vertices, faces):
    normal = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    return normal / np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-12)


def _field(points, ends, radii):
    """(bones, n) signed distances to capsules."""
    out = []
    for (a, b), radius in zip(ends, radii, strict=True):
        along = b - a
        t = ((points - a) @ along / max(along @ along, 1e-12)).clip(0, 1)
        out.append(np.linalg.norm(points - a - t[:, None] * along, axis=1) - radius)
    return np.stack(out)


def cart(length=2.0, height=0.6, paint=(200, 30, 30)):
    """A box on four wheels with a window on each side, all pieces of their own; labels 0 box, 1 wheel, 2 window."""
    pieces, parts, colors = [], [], []

    def add(shape, part, color):
        pieces.append(shape)
        parts.append(np.full(len(shape.faces), part))
        colors.append(np.full((len(shape.faces), 3, 3), color, np.uint8))

    box = trimesh.creation.box((1.0, height, length)).subdivide()
    add(box, 0, paint)
    for x in (-0.5, 0.5):
        for z in (-0.35 * length, 0.35 * length):
            wheel = trimesh.creation.cylinder(0.22, 0.15, sections=20)
            wheel.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [0, 1, 0]))
            wheel.apply_translation([x, -height / 2, z])
            add(wheel, 1, (40, 40, 40))
        pane = trimesh.creation.box((0.02, 0.5 * height, 0.3 * length))
        pane.apply_translation([x * 1.03, 0.1 * height, 0])
        add(pane, 2, (150, 220, 250))
    offset = np.cumsum([0, *(len(p.vertices) for p in pieces)])
    faces = np.concatenate([p.faces + o for p, o in zip(pieces, offset, strict=False)])
    vertices = np.concatenate([p.vertices for p in pieces])
    corner = np.concatenate(colors)
    look = Appearance(corner, None, np.full(len(faces), -1, np.int32), ())
    mesh = Mesh(vertices, faces, np.zeros(len(faces), np.int32), ("cart",), look)
    return mesh, np.concatenate(parts)
