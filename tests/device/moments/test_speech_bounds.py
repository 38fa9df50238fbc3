"""Silence around a spoken correction is left out, speech never is, and a silent one is refused and said."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.capture.source import SoundBlock, VideoFrame
from device.moments.speech_bounds import SpeechBounds, speech_bounds
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.wav import decode_sound
from tests.device.moments.test_moments import Stage

Samples = NDArray[np.int16]


def noise(seconds: float, dbfs: float, *, seed: int = 0) -> Samples:
    values = np.random.default_rng(seed).normal(0, 10 ** (dbfs / 20) * 32768, round(seconds * SAMPLE_RATE_HZ))
    return np.clip(np.rint(values), -32768, 32767).astype(np.int16)


def words(folder: Path, text: str) -> Samples:
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    subprocess.run(["espeak-ng", "-s", "150", "-w", str(folder / "said.wav"), text], check=True)
    heard = decode_sound((folder / "said.wav").read_bytes())
    return np.clip(heard * 32767, -32768, 32767).astype(np.int16)


def mixed(speech: Samples, before_s: float, after_s: float, dbfs: float) -> tuple[Samples, int, int]:
    """(speech in noise, its first sample, its last one)."""
    out = noise(before_s + len(speech) / SAMPLE_RATE_HZ + after_s, dbfs).astype(np.int32)
    first = round(before_s * SAMPLE_RATE_HZ)
    out[first : first + len(speech)] += speech
    return np.clip(out, -32768, 32767).astype(np.int16), first, first + len(speech)


@pytest.mark.parametrize("dbfs", [-90.0, -60.0, -45.0, -32.0, -20.0, -8.0])
@pytest.mark.parametrize("text", ["Stop, curb ahead.", "Caution, person on the left."])
def test_no_speech_is_cut_whatever_the_noise(tmp_path: Path, dbfs: float, text: str) -> None:
    speech = words(tmp_path, text)
    # What espeak-ng itself leaves silent at both ends is no speech.
    loud = np.flatnonzero(np.abs(speech.astype(np.int32)) > 600)
    samples, first, _ = mixed(speech, 2.0, 3.0, dbfs)
    bounds = speech_bounds(samples)
    assert bounds is not None
    assert bounds.first <= first + loud[0]
    assert bounds.last >= first + loud[-1]
    if dbfs <= -45.0:
        assert bounds.last - bounds.first < len(speech) + 1.0 * SAMPLE_RATE_HZ, "three seconds of silence are left out"


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(16000, np.int16),
        np.full(16000, 900, np.int16),
        noise(2.0, -65.0),
        np.zeros(0, np.int16),
        np.zeros(100, np.int16),
    ],
    ids=["nothing", "an offset", "an empty room", "no samples", "less than a frame"],
)
def test_silence_holds_no_speech(samples: Samples) -> None:
    assert speech_bounds(samples) is None


def test_a_click_is_no_speech_and_a_steady_sound_is_kept_whole() -> None:
    clicked = noise(2.0, -70.0)
    clicked[16000:16200] = 20000
    assert speech_bounds(clicked) is None
    tone = (np.sin(2 * np.pi * 440 * np.arange(32000) / SAMPLE_RATE_HZ) * 9000).astype(np.int16)
    assert speech_bounds(tone) == SpeechBounds(0, 32000)


@given(st.lists(st.integers(-32768, 32767), max_size=2000), st.integers(1, 16))
def test_any_samples_have_bounds_inside_them(values: list[int], times: int) -> None:
    samples = np.tile(np.array(values, np.int16), times)
    bounds = speech_bounds(samples)
    assert bounds is None or 0 <= bounds.first < bounds.last <= len(samples)


def spoken(stage: Stage, from_s: float, to_s: float, samples: Samples) -> None:
    """The wearer speaks while pictures and sound go on."""
    for number in range(round(from_s * 10), round(to_s * 10)):
        t_s = number / 10
        stage.moments.feed(VideoFrame(np.full((48, 64, 3), 90, np.uint8), t_s), t_s)
        at = round((t_s - from_s) * SAMPLE_RATE_HZ)
        block = np.zeros(1600, np.int16)
        piece = samples[at : at + 1600]
        block[: len(piece)] = piece
        stage.moments.feed(SoundBlock(block, t_s), t_s + 0.1)


def test_a_correction_is_sealed_without_the_silence_around_it_and_says_where_its_sound_lay() -> None:
    stage = Stage()
    stage.walk(0, 2)
    stage.moments.begin_correction(2.0, "m")
    voice = np.concatenate([np.zeros(24000, np.int16), noise(1.0, -15.0), np.zeros(24000, np.int16)])
    spoken(stage, 2.0, 6.0, voice)
    stage.moments.end_correction(6.0)
    stage.walk(6, 10)
    stage.moments.finish(10.0)
    (correction,) = stage.corrections()
    assert correction.started_at_s == pytest.approx(1000 + 2.0 + 1.5 - 0.3, abs=0.03)
    assert correction.duration_s == pytest.approx(1.7, abs=0.05)
    (wav,) = [parcel.payloads["correction_audio"] for parcel in stage.kept if "correction_audio" in parcel.payloads]
    assert len(decode_sound(wav)) / SAMPLE_RATE_HZ == pytest.approx(correction.duration_s, abs=0.001)


def test_a_silent_correction_is_refused_and_said_and_there_is_nothing_to_discard() -> None:
    stage = Stage()
    stage.walk(0, 2, silent=True)
    stage.moments.begin_correction(2.0, "m")
    stage.walk(2, 4, silent=True)
    stage.moments.end_correction(4.0)
    stage.walk(4, 8)
    stage.moments.discard_correction(8.0)
    stage.moments.finish(8.0)
    assert stage.corrections() == []
    assert stage.reported == ["Correction not kept, nothing heard.", "No correction to discard."]


def test_a_correction_spoken_again_after_it_was_discarded_is_about_the_same_moment() -> None:
    stage = Stage()
    stage.walk(0, 4)
    for begin_s in (4.5, 9.0):
        stage.moments.begin_correction(begin_s, "m")
        spoken(stage, begin_s - 0.5, begin_s + 1.5, noise(2.0, -15.0))
        stage.moments.end_correction(begin_s + 1.5)
        stage.walk(begin_s + 1.5, begin_s + 4.0)
        if begin_s == 4.5:
            stage.moments.discard_correction(begin_s + 4.0)
            stage.walk(begin_s + 4.0, 9.0)
    stage.moments.finish(13.0)
    first, second = stage.corrections()
    assert first.chunk_id == second.chunk_id
    assert second.chunk_id.endswith("-00002")
