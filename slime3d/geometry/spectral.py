"""Intrinsic geometry of a surface: Laplacian eigenfunctions and distances along the surface.

Both are invariant to bending, so they match the elbow of a raised arm with that of a hanging arm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from slime3d.io.mesh import Mesh
from slimecore.array_types import Array

__all__ = ["Spectrum", "spectrum", "wave_kernel"]

_MAX_NODES = 15_000  # finer meshes are clustered on a grid first
_MIN_COMPONENT_SHARE = 0.9  # share of the area that the largest component must have
_MAX_COTANGENT = 20  # of an angle of a triangle, for slivers
_MIN_EDGE_WEIGHT = 1e-4  # of the Laplacian, so that no node is isolated


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """Laplacian spectrum of the largest connected component of a mesh, coarsened and scaled to area 1.

    Parameters
    ----------
    points : (n, 3) float64
        Positions of the nodes, in the file's units.
    node_of : (V,) int64
        Node of every vertex of the mesh, -1 = of another component.
    mass : (n,) float64
        Areas of the nodes, sum 1.
    values : (k,) float64
        Eigenvalues, ascending from 0.
    functions : (n, k) float64
        Eigenfunctions, orthonormal under `mass`.
    edges : sparse (n, n)
        Lengths of the edges, for distances along the surface.
    """

    points: Array
    node_of: Array
    mass: Array
    values: Array
    functions: Array
    edges: Any

    def distances(self, nodes: Array) -> Array:
        """Compute the (m, n) shortest path lengths along edges from m nodes to all nodes."""
        from scipy.sparse.csgraph import dijkstra

        return np.asarray(dijkstra(self.edges, directed=False, indices=nodes))

    def farthest_points(self, count: int) -> Array:
        """Select `count` nodes by farthest point sampling in space, starting farthest from the centroid."""
        centroid = np.average(self.points, axis=0, weights=self.mass)
        chosen = [int(((self.points - centroid) ** 2).sum(1).argmax())]
        squared_distance = ((self.points - self.points[chosen[0]]) ** 2).sum(1)
        while len(chosen) < min(count, len(self.points)):
            chosen.append(int(squared_distance.argmax()))
            squared_distance = np.minimum(squared_distance, ((self.points - self.points[chosen[-1]]) ** 2).sum(1))
        return np.array(chosen)


def spectrum(mesh: Mesh, count: int) -> Spectrum | None:
    """Compute the `count` lowest eigenfunctions of the Laplacian of a mesh.

    Returns
    -------
    Spectrum or None
        None if no component has most of the area, or if the mesh has too few nodes.
    """
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.csgraph import connected_components

    node, points = _cluster_vertices(mesh)
    faces = node[mesh.faces]
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    faces = faces[np.unique(np.sort(faces, 1), axis=0, return_index=True)[1]]
    node_count = len(points)
    start, end = faces.reshape(-1), np.roll(faces, -1, 1).reshape(-1)
    component = connected_components(
        coo_array((np.ones(len(start)), (start, end)), (node_count, node_count)), directed=False
    )[1]
    corner = points[faces]
    area = 0.5 * np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    component_area = np.bincount(component[faces[:, 0]], area, minlength=int(component.max()) + 1)
    if component_area.max() < _MIN_COMPONENT_SHARE * component_area.sum():
        return None
    faces = faces[component[faces[:, 0]] == component_area.argmax()]
    used, local = np.unique(faces, return_inverse=True)
    if len(used) < 4 * count:
        return None
    faces, points = local.reshape(-1, 3), points[used]
    new_index = np.full(node_count, -1)
    new_index[used] = np.arange(len(used))
    unit_points = points / np.sqrt(component_area.max())
    stiffness, mass = _laplacian(unit_points, faces)
    values, functions = _lowest_eigenfunctions(stiffness, mass, count)
    start, end = faces.reshape(-1), np.roll(faces, -1, 1).reshape(-1)
    length = np.linalg.norm(unit_points[start] - unit_points[end], axis=1).clip(1e-9)
    key = np.unique(np.minimum(start, end) * len(used) + np.maximum(start, end), return_index=True)[1]
    edges = csr_array((length[key], (start[key], end[key])), (len(used), len(used)))
    return Spectrum(points, new_index[node], mass, values, functions, edges)


def _cluster_vertices(mesh: Mesh) -> tuple[Array, Array]:
    """Return the node (V,) of every vertex and the positions (n, 3) of the nodes.

    Nodes are welded vertices, or clusters of vertices in a grid if the mesh is too fine.
    """
    weld = mesh.welded()
    node = weld
    count = int(node.max()) + 1
    if count > _MAX_NODES:
        used = mesh.used()
        origin = used.min(0)
        cell_side = float(np.sqrt(mesh.areas().sum() / _MAX_NODES))
        for _ in range(20):  # cells grow until the number of nodes fits
            keys = np.floor((mesh.vertices - origin) / cell_side).astype(np.int64)
            cell = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
            node = _split_cells(mesh.faces, weld, cell)
            if len(np.unique(node[mesh.faces])) <= _MAX_NODES:
                break
            cell_side *= 1.1
        count = int(node.max()) + 1
    member_count = np.bincount(node, minlength=count)[:, None]
    points = np.stack([np.bincount(node, mesh.vertices[:, i], minlength=count) for i in range(3)], 1) / member_count
    return node, points


def _split_cells(faces: Array, weld: Array, cell: Array) -> Array:
    """Return the connected component (V,) of the surface within each grid cell.

    A hand that rests on a thigh shares its cell but stays a separate node.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = int(weld.max()) + 1
    cell_of_node = np.zeros(count, np.int64)
    cell_of_node[weld] = cell  # vertices at one position are in one cell
    start, end = weld[faces].reshape(-1), weld[np.roll(faces, -1, 1)].reshape(-1)
    inside_cell = cell_of_node[start] == cell_of_node[end]
    graph = coo_array(
        (np.ones(int(inside_cell.sum()), np.int8), (start[inside_cell], end[inside_cell])), (count, count)
    )
    return np.asarray(connected_components(graph, directed=False)[1])[weld]


def _laplacian(points: Array, faces: Array) -> tuple[Any, Array]:
    """Return the sparse cotangent stiffness matrix (n, n) (Pinkall and Polthier, 1993) and lumped areas (n,), sum 1.

    Edge weights are clipped to positive values.
    """
    from scipy.sparse import coo_array, diags_array

    count = len(points)
    half_weights: list[Array] = []
    starts: list[Array] = []
    ends: list[Array] = []
    mass = np.zeros(count)
    for i in range(3):
        a, b, c = (faces[:, (i + k) % 3] for k in range(3))
        u, v = points[b] - points[a], points[c] - points[a]
        double_area = np.linalg.norm(np.cross(u, v), axis=1).clip(1e-12)
        half_weights.append(0.5 * ((u * v).sum(1) / double_area).clip(-_MAX_COTANGENT, _MAX_COTANGENT))
        starts.append(b)
        ends.append(c)
        mass += np.bincount(a, double_area / 6, minlength=count)
    start, end, weight = np.concatenate(starts), np.concatenate(ends), np.concatenate(half_weights)
    symmetric = np.concatenate([start, end]), np.concatenate([end, start])
    weights = coo_array((np.concatenate([weight, weight]), symmetric), (count, count)).tocsr()
    weights.data = weights.data.clip(_MIN_EDGE_WEIGHT)
    stiffness = diags_array(np.asarray(weights.sum(1)).ravel()) - weights
    return stiffness.tocsc(), mass / mass.sum()


def _lowest_eigenfunctions(stiffness: Any, mass: Array, count: int) -> tuple[Array, Array]:
    """Return the `count` smallest eigenvalues, ascending, and their eigenfunctions (n, count)."""
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import eigsh

    start_vector = np.cos(np.arange(len(mass)) * 0.7)  # fixed, so that results are reproducible
    values, functions = eigsh(stiffness, count, diags_array(mass.clip(1e-12)).tocsc(), sigma=-0.1, v0=start_vector)
    order = values.argsort()
    return values[order].clip(0), functions[:, order]


def wave_kernel(shape: Spectrum, count: int = 40) -> Array:
    """Compute wave kernel signatures (n, count) (Aubry et al., ICCV Workshops 2011).

    Each energy level is scaled to mean 1 over the surface.
    """
    log_eigenvalues = np.log(shape.values[1:].clip(1e-9))
    energies = np.linspace(log_eigenvalues[0], log_eigenvalues[-1] / 1.02, count)
    width = 7 * (energies[1] - energies[0])
    filters = np.exp(-((energies[:, None] - log_eigenvalues[None]) ** 2) / (2 * width**2))
    signature = (shape.functions[:, 1:] ** 2) @ (filters / filters.sum(1, keepdims=True)).T
    return np.asarray(signature / np.average(signature, axis=0, weights=shape.mass))
