"""The face graph: which faces touch, how sharply they bend, and which shells lie close together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from slime3d.io.mesh import Mesh
from slimecore.array_types import Array

__all__ = ["Edges", "connected_components", "face_adjacency", "shell_bridges"]

_FEW = 8  # nearest faces looked at first, when shells are bridged


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Pairs of faces that share an edge by position.

    Parameters
    ----------
    pairs : (E, 2) int64
    angle : (E,) float64
        Between the normals, radians, 0 flat .. pi folded; 0 where a face has no area.
    concave : (E,) bool
    """

    pairs: Array
    angle: Array
    concave: Array


def face_adjacency(mesh: Mesh) -> Edges:
    """Pairs of faces that share an edge, whatever vertices the file split.

    Where more than two faces share one edge they are chained in face order. Which side is out follows the winding;
    shells whose signed volume is negative are taken as inside out, and a neighbour wound the other way is turned.
    """
    corners = mesh.welded()[mesh.faces]
    ends = np.stack([corners, np.roll(corners, -1, 1)], -1).reshape(-1, 2)
    owner = np.repeat(np.arange(len(corners)), 3)
    real = ends[:, 0] != ends[:, 1]
    ends, owner = ends[real], owner[real]
    forward = ends[:, 0] < ends[:, 1]
    key = ends.min(1) * (int(corners.max()) + 1) + ends.max(1)
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    one, two = order[:-1][same], order[1:][same]
    distinct = owner[one] != owner[two]
    one, two = one[distinct], two[distinct]
    pairs = np.stack([owner[one], owner[two]], 1)
    same_way = forward[one] == forward[two]
    normals, middles = mesh.normals(), mesh.middles()
    outward = _outward(mesh, pairs, same_way)
    a, b = normals[pairs[:, 0]], normals[pairs[:, 1]] * np.where(same_way, -1, 1)[:, None]
    sine, cosine = np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(1)
    flat = (a == 0).all(1) | (b == 0).all(1)
    angle = np.where(flat, 0.0, np.arctan2(sine, cosine))
    rise = ((middles[pairs[:, 1]] - middles[pairs[:, 0]]) * a).sum(1) * outward[pairs[:, 0]]
    return Edges(pairs, angle, (rise > 0) & ~flat)


def _outward(mesh: Mesh, pairs: Array, same_way: Array) -> Array:
    """(F,) +1, or -1 for faces whose normal points into their shell."""
    shell = connected_components(len(mesh.faces), pairs)
    turned = _turned(shell, pairs, same_way) if same_way.any() else np.ones(len(shell))
    corner = mesh.vertices[mesh.faces] - mesh.vertices.mean(0)
    volume = np.bincount(shell, turned * (corner[:, 0] * np.cross(corner[:, 1], corner[:, 2])).sum(1))
    return np.asarray(np.where(volume < 0, -1.0, 1.0)[shell] * turned)


def _turned(shell: Array, pairs: Array, same_way: Array) -> Array:
    """(F,) +1, or -1 for faces wound against the first face of their shell, followed from neighbour to neighbour."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order

    count = len(shell)
    firsts = np.unique(shell, return_index=True)[1]
    one = np.concatenate([pairs[:, 0], np.full(len(firsts), count)])  # a root beside the faces, joined to every shell
    two = np.concatenate([pairs[:, 1], firsts])
    graph = coo_array((np.ones(len(one), np.int8), (one, two)), (count + 1, count + 1)).tocsr()
    order, before = breadth_first_order(graph, count, directed=False)
    key = np.sort(pairs, 1) @ np.array([count, 1])
    against = set(key[same_way].tolist())
    sign = [1.0] * (count + 1)
    for face, parent in zip(order[1:].tolist(), before[order[1:]].tolist(), strict=True):
        edge = min(face, parent) * count + max(face, parent)
        sign[face] = -sign[parent] if parent != count and edge in against else sign[parent]
    return np.array(sign[:count])


def connected_components(count: int, pairs: Array) -> Array:
    """(F,) index of the connected component of every face."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


def shell_bridges(mesh: Mesh, shell: Array) -> tuple[Array, Array]:
    """Pairs of faces (B, 2) of different shells that lie close together, and the distances of their middles.

    Every face is joined to the nearest face of another shell, if one is among its nearest faces; the search widens
    for shells that found none, so that most of a mesh hangs together. What stays alone is very far from the rest.
    """
    from scipy.spatial import cKDTree

    count = int(shell.max()) + 1
    if count == 1:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    middles = mesh.middles()
    tree = cKDTree(middles)
    found: list[Array] = []
    asking = np.arange(len(shell))
    few = _FEW
    alone = np.ones(count, bool)
    while len(asking):
        few = min(few, len(shell))
        near = tree.query(middles[asking], few)[1].reshape(len(asking), few)
        foreign = shell[near] != shell[asking][:, None]
        first = foreign.argmax(1)
        hit = foreign.any(1)
        pairs = np.stack([asking[hit], near[np.arange(len(asking)), first][hit]], 1)
        found.append(pairs)
        alone[shell[pairs]] = False
        if few >= len(shell) or few > 4096:
            break
        few *= 8
        asking = _samples(shell, alone, budget=max(1, (1 << 24) // few))
    pairs = np.unique(np.sort(np.concatenate(found), 1), axis=0)
    return pairs, np.linalg.norm(middles[pairs[:, 0]] - middles[pairs[:, 1]], axis=1)


def _samples(shell: Array, alone: Array, budget: int) -> Array:
    """Faces of the shells that stand alone: all of them if the budget allows, else evenly chosen ones."""
    faces = np.flatnonzero(alone[shell])
    step = max(1, math.ceil(len(faces) / budget))
    return faces[::step]
