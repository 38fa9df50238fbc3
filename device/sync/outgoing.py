"""Messages on their way to the broker, made from what lies in the outbox."""

from __future__ import annotations

from dataclasses import dataclass

from device.outbox import containers
from device.outbox.folder import RECORD_KIND
from device.sync.uploads import SendMessage
from shared import messages, topics
from shared.messages import Begin, Part
from shared.transfer import Ranges, SendAsk, SendBegin, SendEnd, SendPart

MAX_COUNTED = 1024  # files; many more than are on their way at a time


@dataclass(frozen=True, slots=True)
class Outgoing:
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    file_bytes: int = 0
    """How much of a record or file it carries."""
    file: str = ""
    """The name of that record or file on the wire; "" = it carries none."""
    offset: int = 0
    """Where in the file that is."""


class HandedOver:
    """Which bytes of records and files were handed to a connection by this process: what was planned and dropped when
    a connection broke has not been sent."""

    def __init__(self) -> None:
        self._sent: dict[str, Ranges] = {}

    def note(self, message: Outgoing) -> int:
        """A message was handed over; how many of its bytes had been before."""
        if not message.file_bytes:
            return 0
        before = self._sent.pop(message.file, Ranges())
        after = before.add(message.offset, message.offset + message.file_bytes)
        self._sent[message.file] = after
        if len(self._sent) > MAX_COUNTED:
            del self._sent[next(iter(self._sent))]
        return message.file_bytes - (after.total - before.total)


def message_of(device: str, action: SendMessage) -> Outgoing:
    """The message that says it, read from the outbox. Raises: OSError, MediaError."""
    item, name = action.item, action.item.name
    match action.what:
        case SendBegin() if item.kind == RECORD_KIND:
            data = item.path.read_bytes()
            return Outgoing(topics.event(device), data, file_bytes=len(data), file=name)
        case SendBegin():
            begin = Begin(item.record_id, Part(item.kind, item.path.name, item.size_bytes, item.sha256), device)
            return Outgoing(topics.begin(device, name), messages.encode(begin))
        case SendPart(start=start, end=end):
            data = containers.read(item, start, end)
            return Outgoing(topics.part(device, name, start), data, file_bytes=len(data), file=name, offset=start)
        case SendEnd():
            return Outgoing(topics.end(device, name), b"")
        case SendAsk():
            return Outgoing(topics.ask(device, name), b"")
