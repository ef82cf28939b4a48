"""The shape of a surface as it knows itself: eigenfunctions of its Laplacian and distances along it.

Neither changes when a body bends, which is why they find the elbow of a raised arm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from slime3d.io.mesh import Mesh
from slimecore.array_types import Array

__all__ = ["Spectrum", "spectrum", "wave_kernel"]

_MOST = 15_000  # vertices; finer meshes are clustered on a grid first
_WHOLE = 0.9  # share of the surface that must hang together


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """The largest connected piece of a mesh, coarsened, scaled to area 1, and its smoothest functions.

    Parameters
    ----------
    points : (n, 3) float64
        In the file's units.
    node_of : (V,) int64
        Node of every vertex of the mesh; -1 = of another piece.
    mass : (n,) float64
        Areas, sum 1.
    values : (k,) float64
        Eigenvalues, rising from 0.
    functions : (n, k) float64
        Eigenfunctions, orthonormal under `mass`.
    edges : sparse (n, n)
        Lengths of edges, for distances along the surface.
    """

    points: Array
    node_of: Array
    mass: Array
    values: Array
    functions: Array
    edges: Any

    def distances(self, nodes: Array) -> Array:
        """(m, n) shortest ways from some nodes to all, along edges."""
        from scipy.sparse.csgraph import dijkstra

        return np.asarray(dijkstra(self.edges, directed=False, indices=nodes))

    def farthest_points(self, count: int) -> Array:
        """(count,) nodes far from each other in space, the first the one farthest from the middle."""
        middle = np.average(self.points, axis=0, weights=self.mass)
        chosen = [int(((self.points - middle) ** 2).sum(1).argmax())]
        far = ((self.points - self.points[chosen[0]]) ** 2).sum(1)
        while len(chosen) < min(count, len(self.points)):
            chosen.append(int(far.argmax()))
            far = np.minimum(far, ((self.points - self.points[chosen[-1]]) ** 2).sum(1))
        return np.array(chosen)


def spectrum(mesh: Mesh, count: int) -> Spectrum | None:
    """Eigenfunctions of the Laplacian of a mesh; None if it is made of pieces, or too small for `count` of them."""
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.csgraph import connected_components

    node, points = _clustered(mesh)
    faces = node[mesh.faces]
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    faces = faces[np.unique(np.sort(faces, 1), axis=0, return_index=True)[1]]
    total = len(points)
    one, two = faces.reshape(-1), np.roll(faces, -1, 1).reshape(-1)
    piece = connected_components(coo_array((np.ones(len(one)), (one, two)), (total, total)), directed=False)[1]
    corner = points[faces]
    area = 0.5 * np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    by_piece = np.bincount(piece[faces[:, 0]], area, minlength=int(piece.max()) + 1)
    if by_piece.max() < _WHOLE * by_piece.sum():
        return None
    faces = faces[piece[faces[:, 0]] == by_piece.argmax()]
    used, flat = np.unique(faces, return_inverse=True)
    if len(used) < 4 * count:
        return None
    faces, points = flat.reshape(-1, 3), points[used]
    place = np.full(total, -1)
    place[used] = np.arange(len(used))
    unit = points / np.sqrt(by_piece.max())
    stiff, mass = _laplacian(unit, faces)
    values, functions = _smoothest(stiff, mass, count)
    one, two = faces.reshape(-1), np.roll(faces, -1, 1).reshape(-1)
    length = np.linalg.norm(unit[one] - unit[two], axis=1).clip(1e-9)
    key = np.unique(np.minimum(one, two) * len(used) + np.maximum(one, two), return_index=True)[1]
    edges = csr_array((length[key], (one[key], two[key])), (len(used), len(used)))
    return Spectrum(points, place[node], mass, values, functions, edges)


def _clustered(mesh: Mesh) -> tuple[Array, Array]:
    """Node of every vertex and the nodes' positions: welded vertices, or cells of a grid if those are too many."""
    weld = mesh.welded()
    node = weld
    count = int(node.max()) + 1
    if count > _MOST:
        used = mesh.used()
        low = used.min(0)
        side = float(np.sqrt(mesh.areas().sum() / _MOST))
        for _ in range(20):  # a cell of the surface's size, until the number fits
            keys = np.floor((mesh.vertices - low) / side).astype(np.int64)
            cell = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
            node = _pieces(mesh.faces, weld, cell)
            if len(np.unique(node[mesh.faces])) <= _MOST:
                break
            side *= 1.1
        count = int(node.max()) + 1
    members = np.bincount(node, minlength=count)[:, None]
    points = np.stack([np.bincount(node, mesh.vertices[:, i], minlength=count) for i in range(3)], 1) / members
    return node, points


def _pieces(faces: Array, weld: Array, cell: Array) -> Array:
    """(V,) connected pieces of the surface within cells: a hand on a thigh shares its cell and stays a hand."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = int(weld.max()) + 1
    first = np.zeros(count, np.int64)
    first[weld] = cell  # vertices at one position are in one cell
    one, two = weld[faces].reshape(-1), weld[np.roll(faces, -1, 1)].reshape(-1)
    within = first[one] == first[two]
    graph = coo_array((np.ones(int(within.sum()), np.int8), (one[within], two[within])), (count, count))
    return np.asarray(connected_components(graph, directed=False)[1])[weld]


def _laplacian(points: Array, faces: Array) -> tuple[Any, Array]:
    """Cotangent stiffness (n, n), weights clipped at 0, and lumped areas (n,)."""
    from scipy.sparse import coo_array, diags_array

    count = len(points)
    half: list[Array] = []
    one: list[Array] = []
    two: list[Array] = []
    mass = np.zeros(count)
    for i in range(3):
        a, b, c = (faces[:, (i + k) % 3] for k in range(3))
        u, v = points[b] - points[a], points[c] - points[a]
        twice = np.linalg.norm(np.cross(u, v), axis=1).clip(1e-12)
        half.append(0.5 * ((u * v).sum(1) / twice).clip(-20, 20))
        one.append(b)
        two.append(c)
        mass += np.bincount(a, twice / 6, minlength=count)
    start, end, bond = np.concatenate(one), np.concatenate(two), np.concatenate(half)
    both = np.concatenate([start, end]), np.concatenate([end, start])
    bonds = coo_array((np.concatenate([bond, bond]), both), (count, count)).tocsr()
    bonds.data = bonds.data.clip(1e-4)
    stiff = diags_array(np.asarray(bonds.sum(1)).ravel()) - bonds
    return stiff.tocsc(), mass / mass.sum()


def _smoothest(stiff: Any, mass: Array, count: int) -> tuple[Array, Array]:
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import eigsh

    start = np.cos(np.arange(len(mass)) * 0.7)  # any vector that is not random
    values, functions = eigsh(stiff, count, diags_array(mass.clip(1e-12)).tocsc(), sigma=-0.1, v0=start)
    order = values.argsort()
    return values[order].clip(0), functions[:, order]


def wave_kernel(shape: Spectrum, count: int = 40) -> Array:
    """(n, count) wave kernel signatures (Aubry et al. 2011), each level scaled to mean 1 over the surface."""
    log = np.log(shape.values[1:].clip(1e-9))
    levels = np.linspace(log[0], log[-1] / 1.02, count)
    width = 7 * (levels[1] - levels[0])
    gain = np.exp(-((levels[:, None] - log[None]) ** 2) / (2 * width**2))
    signature = (shape.functions[:, 1:] ** 2) @ (gain / gain.sum(1, keepdims=True)).T
    return np.asarray(signature / np.average(signature, axis=0, weights=shape.mass))
