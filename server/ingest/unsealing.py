"""Opens what devices sealed to this server (shared.sealing): records as they come, files once they are whole.

A sealed file arrives and is verified as any other; what is merged is its content, in a file beside it. That file is
synced before it is handed over. After a crash it is written again: what arrived stays until its content was merged.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from server.dataset.came import FileCame
from server.ingest.arrivals import Arrival
from shared import atomic, messages, sealing, strict
from shared.errors import MessageError
from shared.messages import Envelope, SealedRecord
from shared.sealing import SealedPlace

MAX_SEALED_BYTES = 64 * 1024 * 1024  # read into memory; clips have some 0.3 MB
THREADS = 4


class Unsealer:
    """Without a key it refuses what is sealed."""

    def __init__(self) -> None:
        self.key: X25519PrivateKey | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="unsealing")

    def close(self) -> None:
        self._threads.shutdown()

    def envelope(self, device: str, envelope: Envelope) -> Envelope:
        """The envelope inside, or this one where it is not sealed. Raises: MessageError."""
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

    def files(self, arrivals: Sequence[Arrival]) -> list[FileCame | MessageError | OSError]:
        """What to merge of verified arrivals, many at once; for each that cannot be opened, why."""
        return list(self._threads.map(self._file, arrivals))

    def _file(self, arrival: Arrival) -> FileCame | MessageError | OSError:
        begin, path = arrival.begin, arrival.data
        came = FileCame(arrival.device, begin.record_id, begin.part, path)
        try:
            with open(path, "rb") as file:
                if not sealing.is_sealed(file.read(len(sealing.MAGIC))):
                    return came
                if begin.part.size_bytes > MAX_SEALED_BYTES:
                    raise MessageError(f"a sealed file of more than {MAX_SEALED_BYTES} bytes")
                file.seek(0)
                sealed = file.read()
            content = self._content(sealed, SealedPlace(arrival.device, begin.record_id, begin.part.kind))
            atomic.write_bytes(arrival.opened, content, mode=0o600)
        except FileNotFoundError:
            return came  # moved into the dataset before, which no sealed file is
        except (MessageError, OSError) as error:
            return error
        digest = hashlib.sha256(content).hexdigest()
        return replace(came, part=replace(begin.part, size_bytes=len(content), sha256=digest), path=arrival.opened)

    def _content(self, sealed: bytes, place: SealedPlace) -> bytes:
        if self.key is None:
            raise MessageError("This server has no key for what is sealed.")
        return sealing.unseal(sealed, self.key, place)
