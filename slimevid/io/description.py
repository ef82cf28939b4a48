"""Say what a clip is, and give one of its frames to draw on."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError
from slimevid.io import Clip
from slimevid.io.display import display_size, stretch
from slimevid.io.video import VideoClip

__all__ = ["clip_text", "describe_clip", "shown_frame"]

# Names of H.273's codes.
_MATRICES = {0: "RGB", 1: "BT.709", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020", 10: "BT.2020"}
_PRIMARIES = {1: "BT.709", 4: "BT.470M", 5: "BT.601 (625)", 6: "BT.601 (525)", 9: "BT.2020", 11: "P3", 12: "P3"}
_TRANSFERS = {1: "BT.709", 4: "gamma 2.2", 6: "BT.601", 8: "linear", 13: "sRGB", 14: "BT.2020", 16: "PQ", 18: "HLG"}
_RANGES = {1: "limited", 2: "full"}
_TURNS = {  # sides swapped, columns mirrored, rows mirrored
    (False, False, False): "none",
    (True, True, False): "90 degrees clockwise",
    (False, True, True): "180 degrees",
    (True, False, True): "90 degrees counter-clockwise",
    (False, True, False): "mirrored left to right",
    (False, False, True): "mirrored top to bottom",
    (True, False, False): "transposed",
    (True, True, True): "transposed, then turned by 180 degrees",
}


def describe_clip(clip: Clip) -> dict[str, Any]:
    """Return what a clip is, as plain values for JSON.

    Returns
    -------
    dict
        ``name``, ``frames``, ``width`` and ``height`` of the frames as labelled (upright), ``display_width`` and
        ``display_height`` in square pixels, ``pixel_shape``, ``rotation``, ``fps``, ``seconds``, ``notes``. Of a video
        file also ``container``, ``codec``, ``pixel_format``, ``colors`` and ``streams``.
    """
    height, width = display_size(clip.size, clip.pixel_shape)
    shape = Fraction(clip.pixel_shape)
    content: dict[str, Any] = {
        "name": clip.name,
        "frames": len(clip),
        "width": clip.size[1],
        "height": clip.size[0],
        "display_width": width,
        "display_height": height,
        "pixel_shape": f"{shape.numerator}:{shape.denominator}",
        "rotation": "none",
        "fps": float(clip.fps),
        "seconds": float(len(clip) / Fraction(clip.fps)),
        "notes": list(clip.notes),
    }
    if not isinstance(clip, VideoClip):
        return content
    file = dict(clip.index.description)
    codes = file["colors"]
    tables = {"matrix": _MATRICES, "primaries": _PRIMARIES, "transfer": _TRANSFERS, "range": _RANGES}
    file["colors"] = {key: table.get(codes[key], "not said") for key, table in tables.items()}
    rotation = _TURNS[clip.index.orientation]
    return content | {"rotation": rotation, "seconds": float(clip.index.seconds)} | file


def clip_text(content: dict[str, Any]) -> str:
    """Return the lines that ``slimevid info`` prints, from the values of :func:`describe_clip`."""
    size, shown = (f"{content[w]}x{content[h]}" for w, h in (("width", "height"), ("display_width", "display_height")))
    lines = [
        ("frames", f"{content['frames']}, {content['seconds']:.2f} s at {content['fps']:.6g} frames/s"),
        ("size", f"{size}, masks have this size"),
        ("display", size if shown == size else f"{shown} (pixels {content['pixel_shape']})"),
        ("rotation", content["rotation"]),
    ]
    if "codec" in content:
        colors = content["colors"]
        lines.append(("coding", f"{content['codec']} in {content['container']}, {content['pixel_format']}"))
        lines.append(("colors", ", ".join(f"{key} {value}" for key, value in colors.items())))
        lines += [("stream", _stream_text(entry)) for entry in content["streams"]]
    return "\n".join([content["name"], *(f"  {key:<9} {value}" for key, value in lines)])


def _stream_text(entry: dict[str, Any]) -> str:
    size = f" {entry['size']}" if "size" in entry else ""
    marks = [word for key, word in (("cover", "a cover or preview"), ("read", "read")) if entry.get(key)]
    mark = f" ({', '.join(marks)})" if marks else ""
    return f"{entry['index']}: {entry['kind']}, {entry['codec'] or 'no decoder'}{size}{mark}"


def shown_frame(clip: Clip, number: int) -> npt.NDArray[np.uint8]:
    """Return a frame as (h, w, 3) RGB, as it is shown: upright, with square pixels.

    Raises
    ------
    InputError
        The clip has no such frame, or it is damaged.
    """
    if not 0 <= number < len(clip):
        raise InputError(f"there is no frame {number}: {clip.name} has frames 0..{len(clip) - 1}")
    (frame,) = clip.read(number, number + 1)
    return stretch(frame.rgb, clip.pixel_shape)
