"""Encode numbered images, and compare what is read."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from slimecore.errors import InputError
from slimevid.io import open_clip

COUNT, SIZE = 40, (48, 64)


def picture(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return an image that even a lossy codec keeps apart: a bar in its own place, on its own grey."""
    rgb = np.full((*size, 3), 40 + 3 * index, np.uint8)
    rgb[:, (index * 5) % size[1] : (index * 5) % size[1] + 6] = (250, 20, 250 - 5 * index)
    return rgb


def encode(
    path: Path, codec: str, *, size=SIZE, pix="yuv420p", gop=6, b_frames=2, fps=Fraction(25), mux=None, **options
) -> Path:
    """Encode the images of a clip and return the path."""
    with av.open(str(path), "w", options=mux or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt, stream.gop_size = *size, pix, gop
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        stream.options = {k.replace("_", "-"): v for k, v in options.items()}
        for i in range(COUNT):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i, size), format="rgb24")))
        container.mux(stream.encode())
    return path


def encode_mjpeg(path, pictures):
    """Encode images as MJPEG and return the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for rgb in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return path


KINDS = {
    "h264.mp4": {"codec": "libx264"},
    "open-gop.mp4": {"codec": "libx264", "b_frames": 3, "x264_params": "open-gop=1"},
    "h264.mkv": {"codec": "libx264"},
    "h264.avi": {"codec": "libx264"},
    "h264.ts": {"codec": "libx264"},
    "fragments.mp4": {"codec": "libx264", "mux": {"movflags": "frag_keyframe+empty_moov"}},
    "mpeg4.mp4": {"codec": "mpeg4"},
    "mpeg4.ts": {"codec": "mpeg4", "gop": 12},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "vp9.webm": {"codec": "libvpx-vp9", "b_frames": None, "gop": 12, "cpu_used": "8", "deadline": "realtime"},
    "lossless.mkv": {"codec": "ffv1", "b_frames": None, "pix": "bgr0", "size": (45, 67)},
}


def same(one, other) -> bool:
    """Tell if two frames are equal."""
    return one.index == other.index and one.name == other.name and np.array_equal(one.rgb, other.rgb)


def refusal(path: Path) -> str:
    """Return the error that opening and reading a clip raises."""

    def read_all() -> None:
        clip = open_clip(path)
        for _ in clip.read(0, len(clip)):
            pass

    with pytest.raises(InputError) as caught:
        read_all()
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)
