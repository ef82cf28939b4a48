"""``coco_rle.json``: all masks as one COCO data set, run-length encoded, written as it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from slimecore.io.atomic_files import atomic_path
from slimecore.io.masks import read_mask
from slimecore.io.rle import encode_rle
from slimevid.exports import Results

__all__ = ["write"]


def write(results: Results) -> None:
    """Write images (numbered by frame), categories (numbered by part value) and an annotation a frame and part."""
    stems = results.clip.stems()
    height, width = results.clip.size
    images = (
        {"id": i, "file_name": f"{stems[i]}.png", "height": height, "width": width, "frame": i} for i in results.frames
    )
    rows = zip(results.parts.values[1:], results.parts.names[1:], strict=True)
    with atomic_path(results.target) as part, part.open("w", encoding="utf-8") as file:
        file.write('{"images": [')
        file.writelines(_joined(images))
        file.write('\n], "categories": [')
        file.writelines(_joined({"id": value, "name": name} for value, name in rows))
        file.write('\n], "annotations": [')
        file.writelines(_joined(_annotations(results, stems)))
        file.write("\n]}\n")


def _joined(items: Iterator[dict[str, Any]]) -> Iterator[str]:
    for i, item in enumerate(items):
        yield f"{',' if i else ''}\n{json.dumps(item, ensure_ascii=False)}"


def _annotations(results: Results, stems: list[str]) -> Iterator[dict[str, Any]]:
    number = 0
    for done, index in enumerate(results.frames, 1):
        labels = read_mask(results.mask(stems[index])).labels
        for value in (int(v) for v in np.unique(labels) if v > 0):
            mask = labels == value
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            top, left = int(rows[0]), int(columns[0])
            number += 1
            yield {
                "id": number,
                "image_id": index,
                "category_id": value,
                "segmentation": encode_rle(mask),
                "area": int(mask.sum()),
                "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
                "iscrowd": 0,
            }
        results.told(done, len(results.frames))
