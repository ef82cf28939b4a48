"""Run ``slimevid run`` in this process, on image folders and encoded clips."""

from __future__ import annotations

from fractions import Fraction

import av

from slimevid.cli import main

COUNT = 12  # frames of the sliding disc
SMALL = ["--size", "64", "--set", "mask_size=64", "--set", "learn.steps=10", "--set", "learn.views.count=1", "--quiet"]


def run(*arguments):
    """Return the status of ``slimevid run``."""
    return main(["run", *map(str, arguments)])


def one_line(capsys):
    """Return standard error, which must be a single line."""
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


def encode_disc(path, disc, codec="mjpeg"):
    """Encode the sliding disc and return the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {"qscale": "2"} if codec == "mjpeg" else {"bf": "0", "crf": "10"}
        for i in range(COUNT):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(disc(i)[0], format="rgb24")))
        container.mux(stream.encode())
    return path


def run_video(tmp_path, video, *arguments, out="out"):
    """Return the status of a run on a video by flow alone."""
    small = ["--propagator", "flow_warp", "--set", "mask_size=48", "--quiet"]
    base = ["run", video, "--ref", tmp_path / "ref_0.png", "--out", tmp_path / out]
    return main([str(a) for a in (*base, *small, *arguments)])
