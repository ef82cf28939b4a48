"""Export ``coco_rle.json``: all masks as a COCO data set (Lin et al., ECCV 2014), run-length encoded.

Masks are read and written frame by frame, so memory stays constant.
"""

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
    """Write images (ids are frame numbers), categories (ids are part values), and annotations per frame and part."""
    stems = results.clip.stems()
    height, width = results.clip.size
    images = (
        {"id": i, "file_name": f"{stems[i]}.png", "height": height, "width": width, "frame": i} for i in results.frames
    )
    rows = zip(results.parts.values[1:], results.parts.names[1:], strict=True)
    with atomic_path(results.target) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"images": [')
        file.writelines(_json_items(images))
        file.write('\n], "categories": [')
        file.writelines(_json_items({"id": value, "name": name} for value, name in rows))
        file.write('\n], "annotations": [')
        file.writelines(_json_items(_annotations(results, stems)))
        file.write("\n]}\n")


def _json_items(items: Iterator[dict[str, Any]]) -> Iterator[str]:
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
        results.on_frame(done, len(results.frames))
