"""Rewrite glTF features that trimesh does not read as plain geometry.

Sparse, normalised and quantised accessors, instances, skins, morph weights, further texture coordinates and texture
transforms, fans, cameras and missing scenes become a plain .glb, which trimesh reads right.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from slime3d.io.gltf_document import GltfDocument
from slime3d.io.gltf_editor import FLOAT, UNSIGNED_INT, GltfEditor
from slime3d.io.gltf_textures import load_images, plain_textures, repair_colors
from slimecore.array_types import Array

__all__ = ["expected_faces", "rewrite_gltf"]

_POINTS_AND_LINES = {0, 1, 2, 3}
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_INSTANCING, _DRACO = "EXT_mesh_gpu_instancing", "KHR_draco_mesh_compression"
_SKIN_TOLERANCE = 1e-4  # of the mesh's size: a rest pose within rounding stays as it is stored


def rewrite_gltf(document: GltfDocument) -> tuple[bytes | None, list[str]]:
    """Return a plain .glb with the content of a document, None if it is plain, and notes.

    Parameters
    ----------
    document : GltfDocument
        Its `head` is changed.

    Returns
    -------
    data : bytes or None
    notes : list of str
        What is left out, a clause each.
    """
    rewriter = _Rewriter(document)
    rewriter.run()
    plain = not rewriter.changed and all("uri" not in entry for entry in document.entries("buffers"))
    plain &= all("uri" not in entry for entry in document.entries("images"))
    return None if plain else rewriter.as_glb(), rewriter.notes


def expected_faces(document: GltfDocument) -> int:
    """Count the triangles of all nodes of the scene."""
    nodes, meshes, accessors = (document.entries(key) for key in ("nodes", "meshes", "accessors"))
    total = 0
    for index in document.scene_nodes():
        if "mesh" not in nodes[index]:
            continue
        for primitive in meshes[nodes[index]["mesh"]]["primitives"]:
            mode = primitive.get("mode", _TRIANGLES)
            count = accessors[primitive.get("indices", primitive["attributes"]["POSITION"])]["count"]
            if mode == _TRIANGLES:
                total += count // 3
            elif mode in {_STRIP, _FAN}:
                total += max(0, count - 2)
    return total


class _Rewriter(GltfEditor):
    """Changes of the scene and of the shape."""

    def __init__(self, document: GltfDocument) -> None:
        super().__init__(document)
        self._dense: dict[int, int] = {}

    def run(self) -> None:
        """Apply all changes."""
        self._complete_scene()
        self._count_left_out()
        self._remove_cameras()
        self._bake_morphs()
        self._bake_skins()
        for mesh in self.document.entries("meshes"):
            for primitive in mesh["primitives"]:
                self._plain_accessors(primitive)
                self._triangles_of_fan(primitive)
        plain_textures(self)
        repair_colors(self)
        self._expand_instances()
        load_images(self)

    def _complete_scene(self) -> None:
        if not self.document.entries("scenes") and self.document.entries("nodes"):
            self.head["scenes"] = [{"nodes": self.document.scene_roots()}]
            self.head["scene"] = 0
            self.changed = True
        elif len(self.document.entries("scenes")) > 1:
            self.notes.append(
                f"only scene {self.head.get('scene', 0)} of {len(self.document.entries('scenes'))} is shown"
            )

    def _count_left_out(self) -> None:
        modes = [p.get("mode", 4) for mesh in self.document.entries("meshes") for p in mesh["primitives"]]
        loose = sum(mode in _POINTS_AND_LINES for mode in modes)
        if loose and loose < len(modes):
            self.notes.append(f"{loose} primitives of points or lines are left out")

    def _remove_cameras(self) -> None:
        for node in self.document.entries("nodes"):
            if node.pop("camera", None) is not None:  # trimesh moves the scene with the camera
                self.changed = True

    def _expand_instances(self) -> None:
        nodes = self.document.entries("nodes")
        for node in list(nodes):
            extension = (node.get("extensions") or {}).get(_INSTANCING)
            if extension is None or "mesh" not in node:
                continue
            keys = {"TRANSLATION": "translation", "ROTATION": "rotation", "SCALE": "scale"}
            tables = {keys[k]: self.values(v) for k, v in extension["attributes"].items() if k in keys}
            count = min((len(table) for table in tables.values()), default=0)
            mesh = node.pop("mesh")
            del node["extensions"][_INSTANCING]
            first = len(nodes)
            for i in range(count):
                values = {key: table[i].tolist() for key, table in tables.items()}
                nodes.append({"mesh": mesh, "name": f"{node.get('name', 'instance')}.{i}", **values})
            # trimesh visits the last child first
            node["children"] = [*(node.get("children") or []), *reversed(range(first, len(nodes)))]
            self.changed = True

    def _worlds(self) -> dict[int, Array]:
        """Return the matrices of all nodes, from node to scene."""
        nodes = self.document.entries("nodes")
        children = {child for node in nodes for child in node.get("children") or ()}
        queue = [(index, np.eye(4)) for index in range(len(nodes)) if index not in children]
        worlds: dict[int, Array] = {}
        while queue:
            index, parent = queue.pop()
            if index in worlds:
                continue
            worlds[index] = parent @ _local_matrix(nodes[index])
            queue.extend((child, worlds[index]) for child in nodes[index].get("children") or ())
        return worlds

    def _own_mesh(self, node: dict[str, Any]) -> dict[str, Any]:
        """Give a node a mesh of its own and return it."""
        meshes = self.document.entries("meshes")
        users = sum(other.get("mesh") == node["mesh"] for other in self.document.entries("nodes"))
        if users > 1:
            meshes.append(copy.deepcopy(meshes[node["mesh"]]))
            node["mesh"] = len(meshes) - 1
        own: dict[str, Any] = meshes[node["mesh"]]
        return own

    def _bake_morphs(self) -> None:
        meshes = self.document.entries("meshes")
        for node in self.document.entries("nodes"):
            if "mesh" not in node:
                continue
            weights = node.get("weights") or meshes[node["mesh"]].get("weights") or []
            if not any(weights):
                continue
            for primitive in self._own_mesh(node)["primitives"]:
                targets = primitive.get("targets") or []
                places = self.values(primitive["attributes"]["POSITION"])
                for weight, target in zip(weights, targets, strict=False):
                    if weight and "POSITION" in target:
                        places = places + weight * self.values(target["POSITION"])
                primitive["attributes"]["POSITION"] = self.add_floats(places)
                primitive.pop("targets", None)
            self.notes.append("morph weights of the file are applied")

    def _bake_skins(self) -> None:
        nodes, skins = self.document.entries("nodes"), self.document.entries("skins")
        worlds: dict[int, Array] = {}
        for index, node in enumerate(nodes):
            if "skin" not in node or "mesh" not in node:
                continue
            worlds = worlds or self._worlds()
            skin = skins[node["skin"]]
            joints = np.stack([worlds[joint] for joint in skin["joints"]])
            if "inverseBindMatrices" in skin:
                inverse = self.values(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
                joints = joints @ inverse[: len(joints)]
            self._bake_skin(node, joints, worlds[index])

    def _bake_skin(self, node: dict[str, Any], joints: Array, world: Array) -> None:
        """Move the vertices of a node to where the joints put them, unless they are there."""
        posed: list[Array | None] = []
        moved = False
        for primitive in self.document.entries("meshes")[node["mesh"]]["primitives"]:
            attributes = primitive["attributes"]
            if "JOINTS_0" not in attributes or "WEIGHTS_0" not in attributes:
                posed.append(None)
                continue
            places = self.values(attributes["POSITION"])
            total, weight_sum = np.zeros((len(places), 4, 4)), np.zeros(len(places))
            for k in range(8):
                if f"JOINTS_{k}" not in attributes or f"WEIGHTS_{k}" not in attributes:
                    break
                index = self.values(attributes[f"JOINTS_{k}"]).astype(np.int64)
                weight = self.values(attributes[f"WEIGHTS_{k}"])
                for column in range(4):
                    total += weight[:, column, None, None] * joints[index[:, column]]
                    weight_sum += weight[:, column]
            total[weight_sum <= 0], weight_sum[weight_sum <= 0] = world, 1
            total /= weight_sum[:, None, None]
            points = np.einsum("nij,nj->ni", total[:, :3, :3], places) + total[:, :3, 3]
            plain = places @ world[:3, :3].T + world[:3, 3]
            size = float(np.linalg.norm(np.ptp(points, axis=0))) if len(points) else 0.0
            moved |= bool(len(points)) and float(np.abs(points - plain).max()) > _SKIN_TOLERANCE * size
            posed.append(points)
        if not moved:
            return
        if abs(np.linalg.det(world[:3, :3])) < 1e-18:
            raise ValueError("a skinned node has no size; save the file without its skin")
        back = np.linalg.inv(world)
        for primitive, points in zip(self._own_mesh(node)["primitives"], posed, strict=True):
            if points is not None:
                primitive["attributes"]["POSITION"] = self.add_floats(points @ back[:3, :3].T + back[:3, 3])
        self.notes.append("skins are applied in the pose of the file")

    def _plain_accessors(self, primitive: dict[str, Any]) -> None:
        """Replace sparse, quantised and normalised numbers by plain ones."""
        if _DRACO in (primitive.get("extensions") or {}):
            return
        attributes = primitive["attributes"]
        for key in list(attributes):
            entry = self.document.entries("accessors")[attributes[key]]
            geometric = key == "POSITION" or key.startswith("TEXCOORD_")
            if key in {"NORMAL", "TANGENT"} and ("sparse" in entry or entry["componentType"] != FLOAT):
                del attributes[key]  # normals are computed of the triangles
                self.changed = True
            elif geometric and ("sparse" in entry or entry["componentType"] != FLOAT):
                attributes[key] = self._replaced(attributes[key], lambda i: self.add_floats(self.values(i)))
            elif key == "COLOR_0" and "sparse" in entry:
                attributes[key] = self._replaced(attributes[key], self._dense_copy)
        if "indices" in primitive and "sparse" in self.document.entries("accessors")[primitive["indices"]]:
            primitive["indices"] = self._replaced(primitive["indices"], self._dense_copy)

    def _replaced(self, accessor: int, make: Any) -> int:
        if accessor not in self._dense:
            self._dense[accessor] = make(accessor)
        return self._dense[accessor]

    def _dense_copy(self, accessor: int) -> int:
        entry = self.document.entries("accessors")[accessor]
        table = self.document.values(accessor, raw=True)
        return self.add_array(table, entry["componentType"], normalized=bool(entry.get("normalized")))

    def _triangles_of_fan(self, primitive: dict[str, Any]) -> None:
        if primitive.get("mode", _TRIANGLES) != _FAN:
            return
        attributes = primitive["attributes"]
        if "indices" in primitive:
            order = self.values(primitive["indices"])[:, 0].astype(np.int64)
        else:
            order = np.arange(self.document.entries("accessors")[attributes["POSITION"]]["count"])
        first = np.full(max(0, len(order) - 2), order[0] if len(order) else 0)
        fan = np.stack([order[1:-1], order[2:], first], 1) if len(order) > 2 else np.zeros((0, 3))
        primitive["indices"] = self.add_array(fan.astype("<u4").reshape(-1, 1), UNSIGNED_INT)
        primitive["mode"] = _TRIANGLES


def _local_matrix(node: dict[str, Any]) -> Array:
    """Return the matrix of a node, from node to parent."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = np.array(node.get("rotation", [0, 0, 0, 1]), np.float64) / max(
        float(np.linalg.norm(node.get("rotation", [0, 0, 0, 1]))), 1e-30
    )
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix[:3, :3] = turn * np.array(node.get("scale", [1, 1, 1]), np.float64)
    matrix[:3, 3] = node.get("translation", [0, 0, 0])
    return matrix
