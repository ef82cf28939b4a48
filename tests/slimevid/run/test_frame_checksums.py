"""Frames that changed since they were labelled."""

from __future__ import annotations

import av
import numpy as np

from tests.slimevid.run.commands import encode_disc, run_video


def test_replaced_video_refused_remux_accepted(slide, tmp_path, disc, one_line):
    """On resume another video under the same name is refused. A remuxed copy is accepted."""
    video = encode_disc(tmp_path / "clip.mkv", disc)
    assert run_video(tmp_path, video) == 0
    with av.open(str(video)) as source, av.open(str(tmp_path / "again.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
        target.metadata["title"] = "another file, the same pictures"
    content = video.read_bytes()
    video.write_bytes((tmp_path / "again.mkv").read_bytes())
    assert video.read_bytes() != content
    assert run_video(tmp_path, video, "--resume") == 0
    encode_disc(video, lambda i: (np.roll(disc(i)[0], i // 9, 0), None))
    assert run_video(tmp_path, video, "--resume") == 2
    assert "frame 9 (00009) has changed since it was segmented" in one_line()
