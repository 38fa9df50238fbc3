"""What messages on `up/` mean, and what is wrong with them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared import container, messages, strict, topics
from shared.errors import MessageError
from shared.messages import Begin, ChunkRecord, CorrectionRecord, Envelope, EraseRecord, HelpRecord, Record
from shared.receiving import AskCame, EndCame, PartCame, ReceiverEvent

_KINDS: Mapping[str, type[Record]] = {
    "chunk": ChunkRecord, "correction": CorrectionRecord, messages.ERASE: EraseRecord, messages.HELP: HelpRecord,
}  # fmt: skip
MAX_PART_MESSAGE_BYTES = 1024 * 1024


def record_in(envelope: Envelope) -> Record:
    """The record of an event. Raises: MessageError."""
    kind = _KINDS.get(envelope.kind)
    if kind is None:
        raise MessageError(f"This server takes no {envelope.kind[:40]!r} events.")
    record = strict.read(kind, envelope.body)
    own_id = messages.id_of(record)
    if own_id != envelope.record_id:
        raise MessageError(f"The envelope says {envelope.record_id}, the record {own_id}.")
    if any(part.kind == messages.CONTAINER for part in getattr(record, "parts", ())):
        raise MessageError("A container is no file of a record.")
    return record


def record_bytes(levels: Sequence[str], payload: bytes) -> int:
    """How many bytes of a message are, or announce, a record, which is kept in the database. Pure."""
    match levels:
        case ["up", "event"]:
            return len(payload)
        case ["up", name, "begin"] if container.is_name(name):
            return container.MAX_ENVELOPE_BYTES
        case ["up", name, "0"] if container.is_name(name):
            said = int.from_bytes(payload[container.FIXED_BYTES - 3 : container.FIXED_BYTES], "big")
            return min(said, len(payload))  # of one that comes in parts its beginning has cost that
    return 0


def transfer_event(verb: str, payload: bytes) -> ReceiverEvent | None:
    """What a message on up/<transfer>/<verb> means to the receiver; None = nothing that we know."""
    if verb == "end":
        return EndCame()
    if verb == "ask":
        return AskCame()
    offset = topics.parse_offset(verb)
    if offset is None or len(payload) > MAX_PART_MESSAGE_BYTES:
        return None
    return PartCame(offset, len(payload))


def contradiction(begin: Begin, device: str, name: str) -> str | None:
    """What an announcement says that its topic does not; None = nothing."""
    if begin.device != device:
        return f"the announcement names the device {begin.device}, the topic {device}"
    if name != f"{begin.record_id}.{begin.part.kind}":
        return f"the announcement is about {begin.record_id}.{begin.part.kind}"
    if begin.part.kind == messages.CONTAINER and begin.part.size_bytes > container.MAX_BYTES:
        return f"a container of {begin.part.size_bytes} bytes, at most {container.MAX_BYTES} are taken"
    return None
