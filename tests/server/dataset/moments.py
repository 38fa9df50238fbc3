"""Real media and records for tests: pictures from OpenCV, sound as WAV, clips from PyAV, the real Merge."""

from __future__ import annotations

import hashlib
import io
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from server.database import store as db
from server.dataset.blobs import Blobs
from server.dataset.came import Came, FileCame, Merged, RecordCame
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from shared.clock import Clock, ManualClock
from shared.messages import ChunkRecord, CorrectionRecord, Part

NAMES = {"frame": "frame.jpg", "audio": "audio.wav", "clip": "clip.mp4", "correction_audio": "correction.wav"}


@cache
def picture(seed: int = 0, *, width: int = 480, height: int = 270) -> bytes:
    """A street of sorts as JPEG: sky, ground, and an orange cone whose place depends on the seed."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2] = (215, 190, 160)
    image[height // 2 :] = (110, 112, 118)
    road = np.array([[width // 2 - 20, height // 2], [width // 2 + 20, height // 2], [width, height], [0, height]])
    cv2.fillPoly(image, [road.astype(np.int32)], (70, 72, 76))
    x = int(width * (0.25 + 0.25 * (seed % 3)))
    cone = np.array([[x, int(height * 0.45)], [x - 30, int(height * 0.85)], [x + 30, int(height * 0.85)]])
    cv2.fillPoly(image, [cone.astype(np.int32)], (20, 90 + seed % 60, 240))
    ok, data = cv2.imencode(".jpg", image)
    assert ok
    return bytes(data.tobytes())


@cache
def sound(seed: int = 0, *, seconds: float = 2.0) -> bytes:
    """A quiet tone as 16 kHz mono WAV."""
    t = np.arange(int(16000 * seconds)) / 16000
    samples = (np.sin(2 * np.pi * (220 + 40 * seed) * t) * 3000).astype("<i2")
    return wav(samples)


def wav(samples: Any, *, rate_hz: int = 16000) -> bytes:
    """int16 samples as a WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.asarray(samples, "<i2").tobytes())
    return out.getvalue()


@cache
def clip(seed: int = 0, *, frames: int = 20) -> bytes:
    """Two seconds of H.264 at 10 fps."""
    decoded = cv2.imdecode(np.frombuffer(picture(seed), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    image: NDArray[np.uint8] = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0] // 2 * 2, "yuv420p"
        for n in range(frames):
            shifted = np.ascontiguousarray(np.roll(image[: stream.height], n, axis=1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shifted, format="rgb24")))
        container.mux(stream.encode(None))
    return out.getvalue()


def part(kind: str, data: bytes) -> Part:
    return Part(kind=kind, name=NAMES[kind], size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, slots=True)
class Moment:
    """A chunk with its payloads, as a device would send it."""

    record: ChunkRecord
    payloads: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Spoken:
    """A correction with its sound."""

    record: CorrectionRecord
    payloads: Mapping[str, bytes]


def moment(n: int = 0, *, seed: int | None = None, with_clip: bool = False, **changes: Any) -> Moment:
    """Chunk n of device "pi-1". `changes` replace fields of the record."""
    seed = n if seed is None else seed
    payloads = {"frame": picture(seed), "audio": sound(seed)}
    if with_clip:
        payloads["clip"] = clip(seed)
    device = changes.get("device", "pi-1")
    values: dict[str, Any] = {
        "chunk_id": f"{device}-b00t-{n:06d}",
        "device": device,
        "boot_id": "b00t",
        "sequence": n,
        "walk_id": "walk-1",
        "started_at_s": 2.0 * n,
        "duration_s": 2.0,
        "captured_at_utc": 1_700_000_000.0 + 2 * n,
        "clock_synced": True,
        "flags": ("wearer",),
        "raw_output": "Continue straight, path is clear.",
        "spoken": "",
        "confidence": 0.42,
        "model_version": "starter-1",
        "parts": tuple(part(kind, data) for kind, data in payloads.items()),
        "wearer": "Ada",
        "context": "to the shop",
    }
    return Moment(ChunkRecord(**{**values, **changes}), payloads)


def spoken(chunk_id: str, data: bytes, *, n: int = 0, device: str = "pi-1", **changes: Any) -> Spoken:
    """A correction about a chunk, said `n` seconds into the walk."""
    values: dict[str, Any] = {
        "correction_id": f"{device}-b00t-c{n:04d}",
        "device": device,
        "chunk_id": chunk_id,
        "wearer": "Ada",
        "started_at_s": float(n),
        "duration_s": 2.0,
        "captured_at_utc": 1_700_000_100.0 + n,
        "spoken": "",
        "model_version": "starter-1",
        "parts": (part("correction_audio", data),),
    }
    return Spoken(CorrectionRecord(**{**values, **changes}), {"correction_audio": data})


class House:
    """A server folder with its store, dataset and merge."""

    def __init__(self, home: Path, *, clock: Clock | None = None, blobs: Blobs | None = None) -> None:
        self.home = home
        self.clock = clock or ManualClock()
        self.store = db.open_store(home)
        self.dataset = Dataset(home / "dataset", blobs)
        self.merge = Merge(self.store, self.dataset, self.clock)

    def close(self) -> None:
        self.store.close()

    def payload_file(self, data: bytes) -> Path:
        """A file as Ingest hands it over: complete, in the folder for incoming transfers."""
        folder = self.home / "incoming"
        folder.mkdir(exist_ok=True)
        path = folder / hashlib.sha256(data).hexdigest()
        path.write_bytes(data)
        return path

    def put_part(self, device: str, record_id: str, described: Part, data: bytes) -> Merged:
        return self.merge.put_part(device, record_id, described, self.payload_file(data))

    def send(self, sent: Moment | Spoken) -> list[Merged]:
        """Record first, then its parts, as the link does."""
        record = sent.record
        kind = "chunk" if isinstance(record, ChunkRecord) else "correction"
        record_id = record.chunk_id if isinstance(record, ChunkRecord) else record.correction_id
        first = self.merge.put_record(record.device, kind, record)
        return [first, *(self.put_part(record.device, record_id, p, sent.payloads[p.kind]) for p in record.parts)]

    def send_together(self, many: Sequence[Moment]) -> list[Merged]:
        """All of them in one transaction, as a busy server takes them in."""
        entries: list[Came] = []
        for number, sent in enumerate(many):
            device, record_id = sent.record.device, sent.record.chunk_id
            entries.append(RecordCame(device, "chunk", sent.record))
            for described in sent.record.parts:
                path = self.home / "incoming" / f"{number}.{described.kind}"  # pictures may be the same
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(sent.payloads[described.kind])
                entries.append(FileCame(device, record_id, described, path))
        return self.merge.put(entries)

    def send_all(self, many: Sequence[Moment | Spoken]) -> list[Merged]:
        return [result for sent in many for result in self.send(sent)]
