"""Opens what devices sealed to this server (shared.sealing): records as they come, files once they are whole, and
containers once these are.

A sealed file arrives and is verified as any other; what is merged is its content, in a file beside it. That file is
synced before it is handed over. After a crash it is written again: what arrived stays until its content was merged.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from server.dataset.came import Came, FileCame
from server.ingest.arrival import Arrival
from server.ingest.unpacking import Opened, WholeContainer, unpack
from shared import atomic, messages, sealing, strict
from shared.errors import ConfigError, MessageError
from shared.messages import CONTAINER, Envelope, Part, SealedRecord
from shared.sealing import SealedPlace

MAX_SEALED_BYTES = 64 * 1024 * 1024  # read into memory; clips have some 0.3 MB
THREADS = 4


FindKey = Callable[[bytes], X25519PrivateKey | None]
"""Key id → the key, None = it is not here. Raises: WaycueError, OSError."""
Whole = TypeVar("Whole")


class Unsealer:
    """Without a key it refuses what is sealed."""

    def __init__(self) -> None:
        self.key: X25519PrivateKey | None = None
        """The newest one."""
        self.find: FindKey = lambda key_id: None
        """Looks for others: older ones, and a newer one that another process has made since."""
        self._found: dict[bytes, X25519PrivateKey] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="unsealing")

    def close(self) -> None:
        self._threads.shutdown()

    def envelope(self, device: str, envelope: Envelope) -> Envelope:
        """The envelope inside, or this one where it is not sealed. Raises: MessageError, OSError."""
        if envelope.kind != messages.SEALED:
            return envelope
        record = strict.read(SealedRecord, envelope.body)
        try:
            sealed = base64.b64decode(record.sealed, validate=True)
        except ValueError as error:
            raise MessageError(f"{envelope.record_id} is not sealed as it says: {error}.") from None
        inside = messages.decode(Envelope, self._content(sealed, SealedPlace(device, envelope.record_id, "record")))
        if (inside.kind, inside.record_id) != (record.of, envelope.record_id):
            raise MessageError(f"{envelope.record_id} holds the {inside.kind} {inside.record_id}.")
        return inside

    def files(self, arrivals: Sequence[Arrival]) -> list[Opened]:
        """What to merge of verified arrivals, many at once; for each that cannot be opened, why."""
        return list(self._threads.map(_each_by_itself(self._file), arrivals))

    def containers(self, containers: Sequence[WholeContainer]) -> list[Opened]:
        """The same of containers in memory. What is written of these is yet to be synced."""
        return list(self._threads.map(_each_by_itself(self._taken_apart), containers))

    def _taken_apart(self, whole: WholeContainer) -> tuple[Came, ...]:
        return unpack(whole, self.envelope, self._inside)

    def _inside(self, device: str, record_id: str, part: Part, content: bytes) -> bytes:
        if not sealing.is_sealed(content):
            return content
        return self._content(content, SealedPlace(device, record_id, part.kind))

    def _file(self, arrival: Arrival) -> tuple[Came, ...]:
        if arrival.begin.part.kind == CONTAINER:
            return self._container(arrival)
        begin, path = arrival.begin, arrival.data
        came = FileCame(arrival.device, begin.record_id, begin.part, path)
        try:
            with open(path, "rb") as file:
                if not sealing.is_sealed(file.read(len(sealing.MAGIC))):
                    return (came,)
                if begin.part.size_bytes > MAX_SEALED_BYTES:
                    raise MessageError(f"a sealed file of more than {MAX_SEALED_BYTES} bytes")
                file.seek(0)
                sealed = file.read()
            content = self._content(sealed, SealedPlace(arrival.device, begin.record_id, begin.part.kind))
            atomic.write_bytes(arrival.opened, content, mode=0o600)
        except FileNotFoundError:
            return (came,)  # moved into the dataset before, which no sealed file is
        digest = hashlib.sha256(content).hexdigest()
        return (replace(came, part=replace(begin.part, size_bytes=len(content), sha256=digest), path=arrival.opened),)

    def _container(self, arrival: Arrival) -> tuple[Came, ...]:
        try:
            data = arrival.data.read_bytes()
        except FileNotFoundError:
            raise MessageError("its bytes are gone") from None
        return self._taken_apart(WholeContainer(arrival.device, arrival.name, data, arrival.folder / arrival.name))

    def _content(self, sealed: bytes, place: SealedPlace) -> bytes:
        if self.key is None:
            raise MessageError("This server has no key for what is sealed.")
        return sealing.unseal(sealed, self._key_for(sealed) or self.key, place)

    def _key_for(self, sealed: bytes) -> X25519PrivateKey | None:
        """A key other than the newest that a file is sealed to. Raises: OSError for one that cannot be read now."""
        wanted = sealing.sealed_to(sealed)
        if self.key is None or wanted == sealing.key_id(self.key.public_key()):
            return None
        if wanted not in self._found:
            try:
                found = self.find(wanted)
            except ConfigError as error:  # for a person to mend; the device sends again
                raise OSError(str(error)) from error
            if found is None:
                return None
            self._found[wanted] = found
        return self._found[wanted]


def _each_by_itself(open_one: Callable[[Whole], tuple[Came, ...]]) -> Callable[[Whole], Opened]:
    """One of many that cannot be opened, for whatever reason, costs the others nothing."""

    def opened(one: Whole) -> Opened:
        try:
            return open_one(one)
        except Exception as error:  # noqa: BLE001  the top of its work on a thread; logged by `judge`
            return error

    return opened
