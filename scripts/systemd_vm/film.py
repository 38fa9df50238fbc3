"""What the machine's camera sees: a drawn walk, again and again for a quarter of an hour."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from server.walks.route import walk_from_name
from server.walks.walk import render_frame

FPS, WIDTH_PX, HEIGHT_PX = 8, 320, 240
WALK_S, ROUNDS = 20, 45


def write(path: Path) -> None:
    """H.264, WALK_S · ROUNDS seconds; the file appears whole."""
    walk = walk_from_name("town", duration_s=float(WALK_S))
    images = [render_frame(walk, number / FPS, WIDTH_PX, HEIGHT_PX).image for number in range(WALK_S * FPS)]
    part = path.with_suffix(".part")
    with av.open(str(part), "w", format="mp4") as out:
        video = out.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        for _ in range(ROUNDS):
            for image in images:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                out.mux(video.encode(frame))
        out.mux(video.encode(None))
    part.rename(path)
