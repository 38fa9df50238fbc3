"""`export --anonymous`: whose moments they are stands nowhere in what leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from server.commands.export import WRITERS
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared.jpeg import decode_picture
from shared.wav import decode_sound
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, Moment, moment, part, picture

CURB = "Stop, curb ahead."
SECRETS = ("Lovelace", "Benz", "pi-1", "b00t", "walk-of-ada", "to the shop", "1700000", "own-device", "GPS 50.1")


def noted(data: bytes) -> bytes:
    """A JPEG with a comment, as a camera writes its place."""
    note = b"GPS 50.1 8.6"
    return data[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + data[2:]


@pytest.fixture
def filled(house: House) -> House:
    """Two walks of two wearers; the first picture has a note in it."""
    for n in range(4):
        sent = moment(n, with_clip=n == 0, walk_id=f"walk-of-ada-{n // 2}", wearer="Benz" if n > 1 else "Lovelace")
        if n == 0:
            frame = noted(picture(0))
            parts = tuple(part("frame", frame) if item.kind == "frame" else item for item in sent.record.parts)
            sent = Moment(replace(sent.record, parts=parts), {**sent.payloads, "frame": frame})
        house.send(sent)
    for row in house.dataset.rows():
        decisions.review(house.store, house.dataset, row.sample_id, ReviewDecision("edit", "Eve", CURB), now_s=1.0)
    return house


def exported(house: House, out: Path, form: str) -> Path:
    done = server(house.home, "export", "--format", form, "--out", out, "--anonymous")
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("form", sorted(set(WRITERS) - {"audiofolder", "lerobot"}))
def test_no_name_place_or_time_is_in_any_file_or_its_name(filled: House, tmp_path: Path, form: str) -> None:
    if form == "correction":
        for n in range(4, 6):
            filled.send(moment(n, raw_output="pole", walk_id="walk-of-ada-9", wearer="Lovelace"))
            name = f"pi-1-b00t-{n:06d}"
            decisions.review(filled.store, filled.dataset, name, ReviewDecision("edit", "Eve", CURB), now_s=1.0)
    out = exported(filled, tmp_path / "out", form)
    files = [path for path in out.rglob("*") if path.is_file()]
    told = "\n".join(str(path.relative_to(out)) for path in files).encode()
    told += b"".join(path.read_bytes() for path in files if path.name != ".waycue-export.json")
    assert [secret for secret in SECRETS if secret.encode() in told] == []


def test_sounds_are_silent_pictures_are_the_same_and_walks_stay_apart(filled: House, tmp_path: Path) -> None:
    out = exported(filled, tmp_path / "out", "jsonl")
    names = sorted(path.stem for path in (out / "frames").iterdir())
    assert names == [f"walk000{1 + n // 2}_chunk000{n}" for n in range(4)]
    sound = decode_sound((out / "audio" / f"{names[0]}.wav").read_bytes())
    assert (len(sound), float(np.abs(sound).max())) == (32_000, 0.0)
    before, after = (decode_picture(data) for data in (picture(0), (out / "frames" / f"{names[0]}.jpg").read_bytes()))
    assert before is not None
    assert after is not None
    assert float(cv2.absdiff(before, after).mean()) < 3.0
    assert (out / "frames" / f"{names[1]}.jpg").read_bytes() == picture(1), "without notes it stays to the byte"
    assert "Names, places, times and voices were taken out." in (out / "README.md").read_text(encoding="utf-8")


def test_times_and_speakers_of_samples_are_numbers_from_the_beginning_of_a_walk(filled: House, tmp_path: Path) -> None:
    out = exported(filled, tmp_path / "out", "samples")
    text = (out / "training_data" / "samples.jsonl").read_text(encoding="utf-8")
    samples = [json.loads(line) for line in text.splitlines()]
    assert sorted((one["id"], one["timestamp"], one["metadata"]["speaker"]) for one in samples) == [
        ("walk0001_chunk0000", 0.0, "speaker_1"),
        ("walk0001_chunk0001", 2.0, "speaker_1"),
        ("walk0002_chunk0002", 0.0, "speaker_2"),
        ("walk0002_chunk0003", 2.0, "speaker_2"),
    ]


@pytest.mark.parametrize("flags", [("--link",), ("--format", "audiofolder")])
def test_what_can_not_be_anonymous_is_refused(filled: House, tmp_path: Path, flags: tuple[str, ...]) -> None:
    done = server(filled.home, "export", "--format", "jsonl", "--out", tmp_path / "out", "--anonymous", *flags)
    assert done.returncode == 2
    assert not (tmp_path / "out").exists()
