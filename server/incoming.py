"""Files that are still arriving, on disk: what was acknowledged survives a restart at any point.

    <folder>/<device>/<transfer>.data     bytes at their offsets, sparse
    <folder>/<device>/<transfer>.json     what the file is to become, and which of its ranges are durable

Order: bytes → fsync → ranges (shared.atomic) → acknowledgement. So the ranges on disk never claim what is not there.
A small file that comes whole in one batch never gets its .json: it is verified and merged at once.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shared import atomic, messages, topics
from shared.atomic import Step, no_step
from shared.clock import Clock
from shared.errors import MessageError
from shared.messages import Begin
from shared.transfer import Ranges, Receiver

STEPS = ("incoming:data_synced", "incoming:ranges_written", "incoming:dropped")
_MAX_SIDECAR_BYTES = 256 * 1024
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Arrival:
    """One file on its way in. `state` is decided by shared.transfer; this holds where its bytes are."""

    device: str
    name: str
    begin: Begin
    state: Receiver
    folder: Path
    touched: int = 0
    """Rises with every message: the smallest was quiet for longest."""
    heard_at_s: float = 0.0
    """Monotonic time of the last message; of the start, for what an earlier process left."""
    recorded: Ranges = field(default_factory=Ranges)
    """What the .json on disk says."""
    _fd: int | None = None

    @property
    def data(self) -> Path:
        """The file's bytes so far."""
        return self.folder / f"{self.name}.data"

    @property
    def sidecar(self) -> Path:
        return self.folder / f"{self.name}.json"

    def write(self, offset: int, payload: bytes) -> None:
        """Put bytes at their offset; not durable yet. Raises: OSError, and then nothing counts as written."""
        fd = self._open()
        view = memoryview(payload)
        while view:
            written = os.pwrite(fd, view, offset)
            offset, view = offset + written, view[written:]

    def sync(self, *, step: Step = no_step) -> None:
        """Make all bytes durable. Raises: OSError."""
        os.fdatasync(self._open())
        step("incoming:data_synced")

    def record(self, *, step: Step = no_step) -> None:
        """Write down what is durable, after `sync`. Raises: OSError."""
        if self.state.written == self.recorded:
            return
        value = {"begin": messages.to_dict(self.begin), "ranges": self.state.written.spans}
        atomic.write_json(self.sidecar, value, mode=0o600)
        self.recorded = self.state.written
        step("incoming:ranges_written")

    def close(self) -> None:
        """Give the descriptor back; the next write opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> int:
        if self._fd is None:
            atomic.make_dirs(self.folder)
            self._fd = os.open(self.data, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._fd


class Incoming:
    """All arrivals of all devices. One thread. Opens what an earlier process left. Raises: OSError."""

    def __init__(self, folder: Path, *, clock: Clock, step: Step = no_step) -> None:
        self.folder = folder
        self.step = step
        self._clock = clock
        self._open: dict[tuple[str, str], Arrival] = {}
        self._touches = 0
        atomic.make_dirs(folder)
        for device in sorted(folder.iterdir()):
            if device.is_dir() and topics.DEVICE_NAME.match(device.name):
                self._restore(device)

    def __len__(self) -> int:
        return len(self._open)

    def get(self, device: str, name: str) -> Arrival | None:
        """The arrival of that name, which then counts as just heard of."""
        arrival = self._open.get((device, name))
        if arrival is not None:
            self._touch(arrival)
        return arrival

    def of(self, device: str) -> Iterator[Arrival]:
        """A device's arrivals, the one that was quiet for longest first."""
        yield from sorted((a for (d, _), a in self._open.items() if d == device), key=lambda a: a.touched)

    def silent_since(self, time_s: float) -> list[Arrival]:
        """Arrivals of which nothing was heard after that monotonic time."""
        return [arrival for arrival in self._open.values() if arrival.heard_at_s < time_s]

    def add(self, device: str, name: str, begin: Begin) -> Arrival:
        """A new, empty arrival; nothing of it is on disk yet."""
        arrival = Arrival(device, name, begin, Receiver(begin.part.size_bytes), self.folder / device)
        self._open[device, name] = arrival
        self._touch(arrival)
        return arrival

    def drop(self, arrival: Arrival) -> None:
        """Forget it and delete what is left of it on disk. Raises: OSError."""
        arrival.close()
        self._open.pop((arrival.device, arrival.name), None)
        # The ranges go first: bytes without ranges are nothing, ranges without bytes would be a lie.
        arrival.sidecar.unlink(missing_ok=True)
        arrival.data.unlink(missing_ok=True)
        self.step("incoming:dropped")

    def _touch(self, arrival: Arrival) -> None:
        self._touches += 1
        arrival.touched = self._touches
        arrival.heard_at_s = self._clock.monotonic_s()

    def _restore(self, folder: Path) -> None:
        atomic.remove_leftovers(folder)
        for sidecar in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
            arrival = _read(folder, sidecar)
            if arrival is None:
                sidecar.unlink()
                continue
            self._open[folder.name, arrival.name] = arrival
            self._touch(arrival)
        known = {arrival.data for arrival in self.of(folder.name)}
        for data in folder.glob("*.data"):
            if data not in known:
                data.unlink()


def _read(folder: Path, sidecar: Path) -> Arrival | None:
    """An arrival as an earlier process left it, or None where it cannot be used."""
    try:
        if sidecar.stat().st_size > _MAX_SIDECAR_BYTES:
            raise MessageError("it is too large")
        value = json.loads(sidecar.read_bytes())
        begin = messages.from_dict(Begin, value["begin"])
        ranges = Ranges.of((int(start), int(end)) for start, end in value["ranges"])
        if not ranges.within(begin.part.size_bytes):
            raise MessageError("its ranges lie outside the file")
    except (MessageError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s cannot be read (%s); the device will send the file again.", sidecar, error)
        return None
    state = Receiver(begin.part.size_bytes, written=ranges, durable=ranges)
    arrival = Arrival(folder.name, sidecar.stem, begin, state, folder, recorded=ranges)
    whole = ranges.covers(0, begin.part.size_bytes)
    size = arrival.data.stat().st_size if arrival.data.exists() else None
    if size is None and whole:
        return arrival  # moved into the dataset, but the acknowledgement was cut off: put_part finds it there
    if size is None or (ranges.spans and size < ranges.spans[-1][1]):
        _log.warning("%s has lost its bytes; the device will send the file again.", sidecar)
        return None
    return arrival
