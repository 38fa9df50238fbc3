"""Moments with a mark of their own in every text field of a device, in their pictures and in their sounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.messages import HelpRecord
from tests.server.database.stored import readable
from tests.server.dataset.moments import House, Moment, Spoken, clip, moment, part, picture, sound, spoken


def marked(data: bytes, mark: bytes) -> bytes:
    """A JPEG with a comment in it, a WAV with bytes behind its samples, an MP4 with a free box at its end."""
    if data[:2] == b"\xff\xd8":
        return data[:2] + b"\xff\xfe" + (len(mark) + 2).to_bytes(2, "big") + mark + data[2:]
    if data[4:8] == b"ftyp":
        return data + (len(mark) + 8).to_bytes(4, "big") + b"free" + mark
    return data + b"LIST" + len(mark).to_bytes(4, "little") + mark


def planted(n: int, tag: str, **changes: Any) -> tuple[Moment, Spoken]:
    """Moment n and a correction about it. tag: is in every mark"""

    def mark(field: str) -> str:
        return f"MARK{tag}{field}"

    payloads = {"frame": picture(n), "audio": sound(n), "clip": clip(n)}
    payloads = {kind: marked(data, mark(kind).encode()) for kind, data in payloads.items()}
    texts = {name: mark(name) for name in ("raw_output", "spoken", "model_version", "context", "consent")}
    values: dict[str, Any] = {
        **texts,
        "extra": {"foreign": mark("extra"), "deep": [mark("deep")]},
        "wearer": mark("wearer"),
        "walk_id": mark("walk"),
        "flags": ("wearer", mark("flag")),
    }
    sent = moment(n, **{**values, "parts": tuple(part(kind, data) for kind, data in payloads.items()), **changes})
    sent = Moment(sent.record, payloads)
    voice = marked(sound(n + 50), mark("correction").encode())
    wearer = sent.record.wearer
    said = spoken(sent.record.chunk_id, voice, n=n, wearer=wearer, spoken=mark("said"), model_version=mark("model"))
    return sent, said


def places(home: Path, tag: str) -> Iterator[str]:
    """Files of the home, by every byte of them and of their names, in which some mark of that tag is."""
    wanted = f"MARK{tag}".encode()
    for path in sorted(home.rglob("*")):
        if wanted in str(path.relative_to(home)).encode():
            yield str(path)
        elif path.is_file() and wanted in (data := readable(path)):
            at = data.index(wanted)
            yield f"{path.relative_to(home)}: {data[at : at + 40]!r}"


def send(house: House, pair: tuple[Moment, Spoken]) -> str:
    """Merge both, with what was heard, and a call for help on that walk; the moment's id."""
    sent, said = pair
    house.send_all(pair)
    walk = sent.record.walk_id
    call = HelpRecord(f"{walk}-h{sent.record.sequence:03d}", "pi-1", house.clock.utc_s(), clock_synced=True)
    house.merge.put_record("pi-1", "help", call)
    heard = f"MARK{sent.record.raw_output[4:5]}heard"
    house.merge.put_transcript("pi-1", said.record.correction_id, transcript=heard, confidence=0.9, proposal="")
    return sent.record.chunk_id
