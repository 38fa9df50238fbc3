"""Recordings for fixtures: plain pictures and a tone, which compress well, and noise, which does not."""

from __future__ import annotations

import json
import math
import wave
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

FPS, RATE_HZ = 10, 16_000
Span = tuple[float, float]


def walk(
    path: Path,
    seconds: float,
    *,
    noise: Span = (0.0, 0.0),
    voice: tuple[float, Path] | None = None,
    seed: int = 1,
    size: tuple[int, int] = (160, 120),
) -> Path:
    """A video with sound. noise: between these seconds the pictures are noise; voice: from this second on a WAV file is
    heard instead of the tone."""
    sounds = tone(0.0, seconds, hz=250.0 * seed)
    if voice is not None:
        start = round(voice[0] * RATE_HZ)
        spoken = samples_of(voice[1])
        sounds[start : start + len(spoken)] = spoken
    random = np.random.default_rng(seed)
    with av.open(str(path), "w", format="matroska") as out:
        video = out.add_stream("libx264", rate=Fraction(FPS))
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        sound = out.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        for number in range(round(seconds * FPS)):
            t_s = number / FPS
            noisy = noise[0] <= t_s < noise[1]
            image = random.integers(0, 256, (size[1], size[0], 3), np.uint8) if noisy else street(size, t_s, seed)
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            first = number * RATE_HZ // FPS
            samples = np.ascontiguousarray(sounds[first : first + RATE_HZ // FPS][None])
            block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = RATE_HZ, first, Fraction(1, RATE_HZ)
            out.mux(sound.encode(block))
        for stream in (video, sound):
            out.mux(stream.encode(None))
    return path


def street(size: tuple[int, int], t_s: float, seed: int) -> NDArray[np.uint8]:
    """uint8 [h, w, 3] RGB: sky, ground, and a post that comes nearer."""
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2], image[height // 2 :] = (150, 180, 210 + seed), (110, 110, 105)
    tall = 10 + round(3 * t_s) % (height // 2)
    image[height // 2 - tall // 2 : height // 2 + tall, width // 2 : width // 2 + 6] = (200, 60, 30)
    return image


def tone(start_s: float, seconds: float, *, hz: float = 250.0) -> NDArray[np.int16]:
    """int16 [n], 16 kHz mono. hz: 250 or a multiple, so that its period is a whole number of samples."""
    t = np.arange(round(start_s * RATE_HZ), round((start_s + seconds) * RATE_HZ))
    return np.round(4000 * np.sin(2 * math.pi * hz * t / RATE_HZ)).astype(np.int16)


def samples_of(path: Path) -> NDArray[np.int16]:
    """int16 [n], 16 kHz, of a mono WAV file of any rate."""
    with wave.open(str(path)) as file:
        recorded = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        count = len(recorded) * RATE_HZ // file.getframerate()
    resampled = np.interp(np.linspace(0, len(recorded) - 1, count), np.arange(len(recorded)), recorded)
    return np.asarray(resampled, np.int16)


def presses(path: Path, *lines: dict[str, object]) -> Path:
    """Write a script for --buttons."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def labelled(folder: Path, walks: Mapping[str, Sequence[str]]) -> Path:
    """Write a folder as `waycue-server label` does. walks: name → instruction of each chunk."""
    for name in ("frames", "audio"):
        (folder / name).mkdir(parents=True)
    lines = []
    for index, (walk_id, instructions) in enumerate(walks.items()):
        for number, instruction in enumerate(instructions):
            stem = f"{walk_id}_chunk{number:04d}"
            frame, audio = f"frames/{stem}.jpg", f"audio/{stem}.wav"
            cv2.imwrite(str(folder / frame), street((64, 48), 3.0 * number, 7 * index + number))
            with wave.open(str(folder / audio), "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(RATE_HZ)
                out.writeframes(tone(0.0, 2.0, hz=250.0 * (1 + 4 * index + number)).tobytes())
            lines.append({"frame_path": frame, "audio_path": audio, "instruction": instruction})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
