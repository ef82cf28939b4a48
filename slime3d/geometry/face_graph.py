"""Face graph of a mesh: adjacent faces, their dihedral angles, and bridges between nearby shells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from slime3d.io.mesh import Mesh
from slimecore.array_types import Array

__all__ = ["Edges", "connected_components", "face_adjacency", "shell_bridges"]

_INITIAL_NEIGHBOURS = 8  # nearest faces of a face, the first search size for a face of another shell
_MAX_NEIGHBOURS = 4096  # the search does not grow beyond it


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Pairs of faces that share an edge by position.

    Parameters
    ----------
    pairs : (E, 2) int64
        Face indices.
    angle : (E,) float64
        Angle between the normals, radians, 0 (coplanar) .. pi (folded). 0 if a face has no area.
    concave : (E,) bool
        The edge bends inwards.
    """

    pairs: Array
    angle: Array
    concave: Array


def face_adjacency(mesh: Mesh) -> Edges:
    """Find all pairs of faces that share an edge, regardless of vertices split by the file.

    More than two faces at an edge are chained in face order. The winding defines the outside. Shells with negative
    signed volume are inverted, and neighbours with opposite winding are flipped before the comparison.
    """
    corners = mesh.welded()[mesh.faces]
    ends = np.stack([corners, np.roll(corners, -1, 1)], -1).reshape(-1, 2)
    owner = np.repeat(np.arange(len(corners)), 3)
    nondegenerate = ends[:, 0] != ends[:, 1]
    ends, owner = ends[nondegenerate], owner[nondegenerate]
    forward = ends[:, 0] < ends[:, 1]
    key = ends.min(1) * (int(corners.max()) + 1) + ends.max(1)
    order = np.argsort(key, kind="stable")
    shared = key[order][1:] == key[order][:-1]
    first, second = order[:-1][shared], order[1:][shared]
    distinct = owner[first] != owner[second]
    first, second = first[distinct], second[distinct]
    pairs = np.stack([owner[first], owner[second]], 1)
    same_way = forward[first] == forward[second]
    normals, centroids = mesh.normals(), mesh.middles()
    outward_sign = _outward_signs(mesh, pairs, same_way)
    a, b = normals[pairs[:, 0]], normals[pairs[:, 1]] * np.where(same_way, -1, 1)[:, None]
    sine, cosine = np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(1)
    undefined = (a == 0).all(1) | (b == 0).all(1)
    angle = np.where(undefined, 0.0, np.arctan2(sine, cosine))
    height = ((centroids[pairs[:, 1]] - centroids[pairs[:, 0]]) * a).sum(1) * outward_sign[pairs[:, 0]]
    return Edges(pairs, angle, (height > 0) & ~undefined)


def _outward_signs(mesh: Mesh, pairs: Array, same_way: Array) -> Array:
    """Return (F,) +1, or -1 for faces whose normal points into their shell."""
    shell = connected_components(len(mesh.faces), pairs)
    winding_sign = _winding_signs(shell, pairs, same_way) if same_way.any() else np.ones(len(shell))
    corner = mesh.vertices[mesh.faces] - mesh.vertices.mean(0)
    volume = np.bincount(shell, winding_sign * (corner[:, 0] * np.cross(corner[:, 1], corner[:, 2])).sum(1))
    return np.asarray(np.where(volume < 0, -1.0, 1.0)[shell] * winding_sign)


def _winding_signs(shell: Array, pairs: Array, same_way: Array) -> Array:
    """Return (F,) +1, or -1 for faces wound against the first face of their shell, by breadth-first search."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order

    count = len(shell)
    roots = np.unique(shell, return_index=True)[1]
    start = np.concatenate([pairs[:, 0], np.full(len(roots), count)])  # an extra root node, joined to every shell
    end = np.concatenate([pairs[:, 1], roots])
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), (count + 1, count + 1)).tocsr()
    order, predecessor = breadth_first_order(graph, count, directed=False)
    key = np.sort(pairs, 1) @ np.array([count, 1])
    reversed_keys = set(key[same_way].tolist())
    sign = [1.0] * (count + 1)
    for face, parent in zip(order[1:].tolist(), predecessor[order[1:]].tolist(), strict=True):
        edge = min(face, parent) * count + max(face, parent)
        sign[face] = -sign[parent] if parent != count and edge in reversed_keys else sign[parent]
    return np.array(sign[:count])


def connected_components(count: int, pairs: Array) -> Array:
    """Return the index (F,) of the connected component of every face, for `count` faces and (E, 2) pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


def shell_bridges(mesh: Mesh, shell: Array) -> tuple[Array, Array]:
    """Find pairs of nearby faces of different shells.

    Every face is joined to the nearest face of another shell, if its nearest faces include any. The search
    widens for shells without a bridge. Shells that stay isolated are very far from the others.

    Returns
    -------
    pairs : (B, 2) int64
    distance : (B,) float64
        Between the centroids of both faces, in the file's units.
    """
    from scipy.spatial import cKDTree

    count = int(shell.max()) + 1
    if count == 1:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    centroids = mesh.middles()
    tree = cKDTree(centroids)
    bridges: list[Array] = []
    queries = np.arange(len(shell))
    neighbours = _INITIAL_NEIGHBOURS
    isolated = np.ones(count, bool)
    while len(queries):
        neighbours = min(neighbours, len(shell))
        near = tree.query(centroids[queries], neighbours)[1].reshape(len(queries), neighbours)
        foreign = shell[near] != shell[queries][:, None]
        first = foreign.argmax(1)
        bridged = foreign.any(1)
        pairs = np.stack([queries[bridged], near[np.arange(len(queries)), first][bridged]], 1)
        bridges.append(pairs)
        isolated[shell[pairs]] = False
        if neighbours >= len(shell) or neighbours > _MAX_NEIGHBOURS:
            break
        neighbours *= 8
        queries = _isolated_faces(shell, isolated, budget=max(1, (1 << 24) // neighbours))
    pairs = np.unique(np.sort(np.concatenate(bridges), 1), axis=0)
    return pairs, np.linalg.norm(centroids[pairs[:, 0]] - centroids[pairs[:, 1]], axis=1)


def _isolated_faces(shell: Array, isolated: Array, budget: int) -> Array:
    """Return all faces of isolated shells, or an even subset of about `budget` of them."""
    faces = np.flatnonzero(isolated[shell])
    step = max(1, math.ceil(len(faces) / budget))
    return faces[::step]
