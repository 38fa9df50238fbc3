"""A home with moments of drawn walks, as a device would have sent them: picture, sound, clip, and for some of them a
correction spoken by espeak-ng. For what needs pages that look like pages."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from server.walks import plan_walk, render_frame
from server.walks.walk import Walk
from shared import vocabulary
from shared.jpeg import encode_jpeg
from tests.server.dataset.moments import House, Moment, moment, part, sound, spoken
from tests.shared.speech.voices import say

SIZE = (480, 360)
FPS, CLIP_S = 5, 2.0
OFTEN_CORRECTED = 3
"""Every third moment was corrected by the wearer: the device had said another thing."""
WRONG = "Caution, bin ahead."


def fill(house: House, count: int, *, seed: int = 11) -> list[str]:
    """Send so many moments through the real merge, with their corrections understood; returns their ids."""
    walk = plan_walk(seed, duration_s=60.0)
    ids = []
    for number in range(count):
        at_s = 1.0 + number * 58.0 / count
        truth = render_frame(walk, at_s, *SIZE).instruction
        corrected = number % OFTEN_CORRECTED == 0 and truth not in (vocabulary.CLEAR, WRONG)
        said = WRONG if corrected else truth
        sent = drawn(number, walk, at_s, spoken=said, raw_output=said, confidence=0.55 if corrected else 0.83)
        house.send(sent)
        if corrected:
            correct(house, sent.record.chunk_id, number, truth)
        ids.append(sent.record.chunk_id)
    return ids


def drawn(number: int, walk: Walk, at_s: float, **changes: Any) -> Moment:
    """Moment `number`: what a walk looks like from `at_s` on. `changes` replace fields of the record."""
    frames = [render_frame(walk, at_s + n / FPS, *SIZE).image for n in range(int(CLIP_S * FPS))]
    payloads = {"frame": encode_jpeg(frames[0]), "audio": sound(number), "clip": _clip(frames)}
    made = moment(number, **changes)
    parts = tuple(part(kind, data) for kind, data in payloads.items())
    return Moment(replace(made.record, parts=parts), payloads)


def correct(house: House, chunk_id: str, number: int, truth: str, *, confidence: float = 0.91) -> None:
    """The wearer says what is there, and the server has listened."""
    words = truth.lower().replace(",", "").rstrip(".")
    said = spoken(chunk_id, say(words), n=number)
    house.send(said)
    house.merge.put_transcript(
        "pi-1", said.record.correction_id, transcript=words, confidence=confidence, proposal=truth
    )


def _clip(frames: list[NDArray[np.uint8]]) -> bytes:
    """Pictures as H.264 in MP4, FPS of them a second."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    return out.getvalue()
