"""A sender, a receiver and an unreliable world between them, all in memory: the I/O around shared.transfer, as small as
it can be. What the world may do is what broker, network, power and disk do to the real one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256

from shared.messages import Ack
from shared.receiving import (
    AskCame,
    BeginCame,
    EndCame,
    PartCame,
    Receiver,
    ReceiverEvent,
    Refuse,
    SendAck,
    SyncBegan,
    Synced,
    SyncFailed,
    Verify,
    Write,
    receive_step,
)
from shared.transfer import (
    AckCame,
    Offline,
    Online,
    Ranges,
    SendAsk,
    SendBegin,
    SendEnd,
    Sender,
    SenderAction,
    SenderEvent,
    SenderTick,
    SendPart,
    send_step,
)

Up = tuple[str, int, bytes]  # begin | part | end | ask, offset, bytes


@dataclass
class FileTransfer:
    """One file on its way. `resent` counts what the sender sent more than once, over its restarts too."""

    content: bytes
    part_bytes: int
    sender: Sender = field(init=False)
    receiver: Receiver | None = None
    disk: bytearray = field(default_factory=bytearray)
    merged: bytes | None = None
    merges: int = 0
    up: deque[Up] = field(default_factory=deque)
    down: deque[Ack] = field(default_factory=deque)
    now_s: float = 0.0
    resent: int = 0
    sent: Ranges = field(default_factory=Ranges)
    most_flying: int = 0
    most_flying_bytes: int = 0

    def __post_init__(self) -> None:
        self.sender = Sender(len(self.content))

    # the sender's side

    def tell(self, event: SenderEvent) -> None:
        self.sender, actions = send_step(self.sender, event, self.now_s)
        for action in actions:
            self.up.append(self._message(action))
        self.most_flying = max(self.most_flying, len(self.sender.flying))
        self.most_flying_bytes = max(self.most_flying_bytes, self.sender.flying_bytes)

    def _message(self, action: SenderAction) -> Up:
        match action:
            case SendBegin():
                return "begin", 0, b""
            case SendEnd():
                return "end", 0, b""
            case SendAsk():
                return "ask", 0, b""
            case SendPart(start=start, end=end):
                again = self.sent
                self.sent = again.add(start, end)
                self.resent += end - start - (self.sent.total - again.total)
                return "part", start, self.content[start:end]

    def connect(self) -> None:
        self.tell(Online(self.part_bytes))

    def cut(self, *, arrives: int = 0) -> None:
        """The connection breaks; the first `arrives` messages had reached the broker and still come through."""
        self.up = deque(list(self.up)[:arrives])
        self.down.clear()
        self.tell(Offline())

    def sender_crashes(self) -> None:
        self.cut()
        if not self.sender.over:
            self.sender = Sender(len(self.content), phase="asking")

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.tell(SenderTick())

    # the receiver's side

    def receiver_crashes(self) -> None:
        """Power: what was not synced is gone, and noise may stand where it stood."""
        if self.receiver is None:
            return
        kept = self.receiver.durable
        for start, end in kept.missing(len(self.disk)).spans:
            self.disk[start:end] = b"\xff" * (end - start)
        self.receiver = Receiver(len(self.content), written=kept, durable=kept) if kept.total else None

    def receiver_loses_all(self) -> None:
        self.receiver = None
        self.disk.clear()

    def deliver_up(self) -> None:
        if self.up:
            self._take(*self.up.popleft())

    def deliver_down(self) -> None:
        if self.down:
            self.tell(AckCame(self.down.popleft()))

    def begin_sync(self) -> None:
        """The next `settle` is for what came until now."""
        if self.receiver is not None and self.receiver.syncing is None:
            self._receive(SyncBegan())

    def fail_sync(self) -> None:
        if self.receiver is not None and self.receiver.syncing is not None:
            self._receive(SyncFailed())

    def settle(self) -> None:
        if self.receiver is not None and (self.receiver.dirty or self.receiver.syncing is not None):
            self._receive(Synced())

    def _take(self, kind: str, offset: int, data: bytes) -> None:
        if kind == "begin" and self.merged is not None:
            self.down.append(Ack("merged"))
            return
        if kind == "begin" and self.receiver is None:
            self.receiver = Receiver(len(self.content))
            self.disk = bytearray(b"\xff" * len(self.content))
        if self.receiver is None:
            self.down.append(Ack("unknown"))
            return
        event: ReceiverEvent
        match kind:
            case "begin":
                event = BeginCame()
            case "end":
                event = EndCame()
            case "ask":
                event = AskCame()
            case _:
                event = PartCame(offset, len(data))
        self._receive(event, data)

    def _receive(self, event: ReceiverEvent, data: bytes = b"") -> None:
        assert self.receiver is not None
        self.receiver, actions = receive_step(self.receiver, event)
        for action in actions:
            match action:
                case Write():
                    assert isinstance(event, PartCame)
                    self.disk[event.offset : event.offset + len(data)] = data
                case SendAck(ack=ack):
                    self.down.append(ack)
                case Verify():
                    self._verify()
                case Refuse(reason=reason):
                    self.down.append(Ack("refused", reason=reason))

    def _verify(self) -> None:
        if sha256(self.disk).digest() == sha256(self.content).digest():
            self.merged, self.merges = bytes(self.disk), self.merges + 1
            self.down.append(Ack("merged"))
        else:
            self.down.append(Ack("unknown"))
        self.receiver = None

    # the end

    def finish(self, rounds: int = 400) -> None:
        """Nothing goes wrong any more: with time, everything must arrive."""
        for _ in range(rounds):
            if not self.sender.online and not self.sender.over:
                self.connect()
            while self.up:
                self.deliver_up()
            self.settle()
            while self.down:
                self.deliver_down()
            self.wait(0.1 if self.up else 30.0)
            if self.sender.over and not self.up:
                return
        raise AssertionError(f"not finished: {self.sender}")
