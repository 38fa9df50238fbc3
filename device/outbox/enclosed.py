"""Encrypts a record and its payloads for the server, on their way into the outbox (shared.sealing).

What stays readable is what the outbox itself needs: which files, how large, how important. Who wears the device, where,
what was said and what the model saw is not.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from device.outbox import folder as outbox_folder
from shared import messages, sealing
from shared.messages import ChunkRecord, CorrectionRecord, Envelope, Part, SealedRecord
from shared.sealing import SealedPlace


def enclose(
    record: ChunkRecord | CorrectionRecord, envelope: Envelope, payloads: Mapping[str, bytes], key: X25519PublicKey
) -> tuple[Envelope, dict[str, bytes]]:
    """The envelope and payloads that lie on the disk and travel. envelope: of the record as the server will read it"""

    def sealed(kind: str, content: bytes) -> bytes:
        return sealing.seal(content, key, SealedPlace(record.device, envelope.record_id, kind))

    closed = {kind: sealed(kind, content) for kind, content in payloads.items()}
    return enclosed_record(record, envelope, outbox_folder.parts(closed), key), closed


def enclosed_record(
    record: ChunkRecord | CorrectionRecord, envelope: Envelope, parts: tuple[Part, ...], key: X25519PublicKey
) -> Envelope:
    """The envelope alone. parts: of the sealed payloads, which lie on the disk or will"""
    plain = messages.encode(envelope)
    sealed = sealing.seal(plain, key, SealedPlace(record.device, envelope.record_id, outbox_folder.RECORD_KIND))
    body = SealedRecord(
        device=record.device,
        of=envelope.kind,
        importance=outbox_folder.importance(record),
        parts=parts,
        digest=hashlib.sha256(plain).hexdigest(),
        started_at_s=record.started_at_s,
        duration_s=record.duration_s,
        sealed=base64.b64encode(sealed).decode(),
    )
    return Envelope(messages.SEALED, envelope.record_id, messages.to_dict(body))
