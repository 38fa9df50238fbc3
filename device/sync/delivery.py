"""What the outbox holds, on its way to the server: claimed, sent in turns, and taken out on the server's own word.

All of it runs on the link's thread, but for `look_again`, `allow` and `wait_idle`. What to send is decided in
device.sync.uploads; this carries it out on the outbox. A full or failing disk is logged once and tried again.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from device.outbox.late import LateOutbox
from device.outbox.outbox import Outbox, OutboxItem
from device.sync import uploads
from device.sync.connection import Connection
from device.sync.deletion import Deletion
from device.sync.outgoing import Outgoing, message_of
from shared import messages, topics
from shared.clock import Clock
from shared.credit import Purse
from shared.errors import MediaError, MessageError
from shared.messages import Ack, CreditGrant
from shared.transfer import Offline, Online, Ranges, SenderTick

REQUESTS_EVERY_S = 1.0
CLOSE_S = 5.0  # for a deletion under way
logger = logging.getLogger(__name__)


class Delivery:
    """One outbox and what is being sent of it. counters: the link's; `merged`, `refused`, `paused`, `disk_errors` and
    `foreign` are counted here."""

    def __init__(
        self, device: str, outbox: Outbox | LateOutbox, clock: Clock, counters: Counter[str], allowed: uploads.Allowed
    ) -> None:
        self.server_waits: str | None = None
        """Why the server does not take something now; None = it takes everything."""
        self.answered = False
        """The server has answered since the connection began."""
        self.uploads = uploads.Uploads(allowed=allowed, purse=Purse(draw=random.random()))
        self.outgoing: deque[Outgoing] = deque()
        self.answers: deque[uploads.Answered | uploads.Granted] = deque()
        self._device = device
        self._outbox = outbox
        self._clock = clock
        self._counters = counters
        self._allowed = allowed
        self._connection: Connection | None = None
        self._merged: list[OutboxItem] = []
        self._refused: list[uploads.ItemRefused] = []
        self._writing = False
        self._look = True  # the outbox may hold something that is not claimed yet
        self._news = True  # it may hold something new, which may be more important than what is claimed
        self._requests_s = float("-inf")
        self._disk_trouble: str | None = None
        self._idle = threading.Condition()
        self._deletion = Deletion(outbox.forget_merged)

    # for other threads

    def look_again(self) -> None:
        """The outbox may hold more."""
        self._look = self._news = True

    def allow(self, allowed: uploads.Allowed) -> bool:
        """What may be sent from the next turn on. Returns whether that is a change."""
        changed, self._allowed = allowed != self._allowed, allowed
        return changed

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is left to send. False where the time is over first."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._writing and self._outbox.counts().queued == 0, timeout_s)

    # on the link's thread

    def open(self) -> None:
        """Delete what an earlier process had no time for, beside the rest."""
        self._deletion.start()

    def close(self) -> None:
        """Hand back what is claimed."""
        self._outbox.release([upload.item for upload in self.uploads.active])
        self._deletion.close(CLOSE_S)

    def online(self, connection: Connection, *, part_bytes: int) -> None:
        """A connection is up: begin, and ask about what was on its way."""
        self._connection = connection
        self._look = True
        self._apply_allowed()
        self._decide(Online(part_bytes))

    def offline(self) -> None:
        self._connection = None
        self.answered = False
        self.outgoing.clear()
        self.answers.clear()
        self._decide(Offline())
        self._write_down()

    def acknowledge(self, name: str, payload: bytes) -> None:
        """The server's answer about a record or a transfer."""
        try:
            ack = messages.decode(Ack, payload)
            Ranges.of(ack.ranges)
        except MessageError as error:
            self._counters["foreign"] += 1
            logger.warning("An answer about %s cannot be read: %s", name, error)
            return
        self.answered = True
        if ack.state in ("merged", "receiving"):
            self.server_waits = None
        self.answers.append(uploads.Answered(name, ack))

    def granted(self, payload: bytes) -> None:
        """The server lets this device send more."""
        try:
            grant = messages.decode(CreditGrant, payload)
        except MessageError as error:
            self._counters["foreign"] += 1
            logger.warning("A grant cannot be read: %s", error)
            return
        self.answered = True
        self.answers.append(uploads.Granted(grant))

    def turn(self) -> None:
        """Act on answers, permissions, requests, new records and timers; puts messages into `outgoing`."""
        answered = bool(self.answers)
        while self.answers:
            self._decide(self.answers.popleft())
        self._write_down()
        self._apply_allowed()
        self._retry_requested()
        if not self._claim() and not answered:  # any other event looks at the timers, too
            self._decide(SenderTick())

    def _apply_allowed(self) -> None:
        if self._allowed == self.uploads.allowed:
            return
        logger.info("Link %s: may send %s", self._device, self._allowed)
        self._decide(uploads.Allow(self._allowed))
        self._look = True

    def _retry_requested(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._requests_s >= REQUESTS_EVERY_S:
            self._requests_s = now_s
            self._on_disk(self._outbox.retry_requested)

    def _claim(self) -> bool:
        """Whether there was more to send."""
        small, bulk = self._room()
        if not self._look or small < 1 or not (self._news or self.uploads.runs_low):
            return False  # what is new waits for a place and takes the first one
        self._look = self._news = False
        items: list[OutboxItem] = []

        def claim() -> None:
            if self.uploads.containers is False:
                items.extend(self._outbox.claim(small))
            else:
                items.extend(self._outbox.claim_whole(small, clips=self.uploads.allowed == "all"))
            if len(items) < small:
                items.extend(self._outbox.claim(bulk, bulk=True))

        if not self._on_disk(claim) or items:
            self._look = True  # there may be more than fitted; never set to False here: a seal may have come meanwhile
        if items:
            self._decide(uploads.Claimed(tuple(items)))
        return bool(items)

    def _room(self) -> tuple[int, int]:
        """How many more small items and clips may be claimed now."""
        if self._news and self.uploads.spare is not None:
            self._decide(uploads.GiveWay())
        small, bulk = self.uploads.wanted
        if self.uploads.containers is None:  # one, as the question whether the server takes containers
            small = min(small, 1 - len(self.uploads.active))
        return small, bulk

    def _decide(self, event: uploads.UploadsEvent) -> None:
        state = replace(self.uploads, wire_bytes=self._wire_bytes())
        self.uploads, actions = uploads.step(state, event, self._clock.monotonic_s())
        for action in actions:
            match action:
                case uploads.SendMessage():
                    self._send(action)
                case uploads.ItemMerged(item):
                    self._merged.append(item)
                case uploads.ItemRefused():
                    self._refused.append(action)
                case uploads.ItemReleased(item):
                    self._outbox.release([item])
                    self._look = True
                case uploads.ItemApart(item, reason):
                    logger.warning("%s is sent file by file: %s", item.record_id, reason)
                    self._outbox.apart(item)
                    self._look = True
                case uploads.AskCredit(wish):
                    self.outgoing.append(Outgoing(topics.credit(self._device), messages.encode(wish)))
                case uploads.ItemPaused(item, reason):
                    self._counters["paused"] += 1
                    self.server_waits = f"the server wants some of it later: {reason or 'it does not say why'}"
                    logger.info("%s waits: %s", item.name, self.server_waits)
                case _:
                    assert_never(action)

    def _wire_bytes(self) -> int:
        """Of files, handed out and not acknowledged by the broker."""
        sent = 0 if self._connection is None else self._connection.unacked_bytes
        return sent + sum(message.file_bytes for message in self.outgoing)

    def _send(self, action: uploads.SendMessage) -> None:
        item = action.item
        try:
            message = message_of(self._device, action)
        except (FileNotFoundError, MediaError) as error:
            if not item.path.parent.exists():
                logger.info("%s was erased while it was being sent.", item.name)
            else:
                logger.error("%s is not what was sealed: %s", item.path, error)
            self._decide(uploads.ItemFailed(item.name, f"it cannot be read on the device ({error})"))
            return
        except OSError as error:
            logger.error("%s cannot be read now; the server will be asked what it lacks: %s", item.path, error)
            return
        connection = self._connection
        if connection is not None and not connection.fits(message.payload):
            reason = f"larger than the {connection.max_packet_bytes} bytes that the broker takes"
            self._decide(uploads.ItemFailed(item.name, reason))
            return
        self.outgoing.append(message)

    def _write_down(self) -> None:
        """Put what the server said into the outbox; where the disk fails, try again at the next turn."""
        if not self._merged and not self._refused:
            return
        self._writing = True
        if self._merged and self._on_disk(lambda: self._outbox.merged(self._merged)):
            self._counters["merged"] += len(self._merged)
            merged, self._merged = len(self._merged), []
            self._deletion.add(merged, last=not self.uploads.active)
        while self._refused and self._on_disk(self._refuse_first):
            self._counters["refused"] += 1
            self._refused.pop(0)
        self._look = True
        self._writing = False
        if not self.uploads.active:  # else there is more to send: nobody's wait is over
            with self._idle:
                self._idle.notify_all()

    def _refuse_first(self) -> None:
        self._outbox.refused(self._refused[0].item, self._refused[0].reason)

    def _on_disk(self, work: Callable[[], object]) -> bool:
        """Work on the outbox; False where the disk failed. Logged once, not at every try."""
        try:
            work()
        except OSError as error:
            self._counters["disk_errors"] += 1
            if str(error) != self._disk_trouble:
                self._disk_trouble = str(error)
                logger.error("The outbox cannot be written; the link tries again: %s", error)
            return False
        self._disk_trouble = None
        return True
