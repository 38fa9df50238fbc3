"""The film with captions is the device's own walk, not a new telling of it."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import av
import numpy as np

from server.evaluation import captioned
from server.labelling import footage
from server.walks import plan_walk, write_video


def entry(text: str, *, heard_s: float | None, tier: int = 1, why: str = "hazard") -> dict[str, Any]:
    """An utterance as the walk's report has it."""
    return {"t_s": 0.9, "text": text, "tier": tier, "why": why, "heard_s": heard_s, "time_to_speech_ms": 38.2}


def test_words_stand_at_the_foot_of_the_film_for_as_long_as_they_are_news() -> None:
    picture = np.full((240, 320, 3), 128, np.uint8)
    said = [entry("Stop, curb ahead.", heard_s=1.0), entry("Stop, never heard.", heard_s=None)]
    assert (captioned.caption(picture.copy(), said, 0.9) == picture).all()
    assert (captioned.caption(picture.copy(), said, 3.6) == picture).all()
    shown = captioned.caption(picture.copy(), said, 1.0)
    assert (shown[:200] == picture[:200]).all()
    assert (shown[215:] != picture[215:]).mean() > 0.9


def test_words_are_shown_from_when_they_were_heard_and_the_newest_of_two() -> None:
    picture = np.full((240, 320, 3), 128, np.uint8)
    stop, pole = entry("Stop, curb ahead.", heard_s=1.5), entry("Caution, pole ahead.", heard_s=1.0, tier=2)
    assert (captioned.caption(picture.copy(), [stop], 1.4) == picture).all()
    both, alone = (captioned.caption(picture.copy(), said, 1.6) for said in ([stop, pole], [stop]))
    assert (both == alone).all()


def test_above_the_words_stand_their_tier_and_how_late_they_were() -> None:
    assert captioned.kind(entry("Stop, curb ahead.", heard_s=1.0)) == "tier 1, 38 ms after its picture"
    assert captioned.kind(entry("Guidance ready.", heard_s=1.0, why="state")) == "about the device"


def test_the_film_keeps_its_length_and_carries_the_speech(tmp_path: Path) -> None:
    write_video(plan_walk(5, duration_s=4.0), tmp_path / "walk.mp4", fps=15, width_px=160, height_px=120)
    with wave.open(str(tmp_path / "speech.wav"), "wb") as file:
        file.setparams((1, 2, 22_050, 0, "NONE", ""))
        file.writeframes(np.full(4 * 22_050, 900, np.int16).tobytes())
    said = [entry("Camera blocked.", heard_s=1.0, tier=2, why="state")]
    captioned.write(footage.find(tmp_path / "walk.mp4"), said, tmp_path / "speech.wav", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 60
        assert frames[0].shape == (120, 160, 3)
        assert float(container.streams.audio[0].duration * container.streams.audio[0].time_base) > 3.9  # type: ignore[operator]
