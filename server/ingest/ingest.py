"""Takes in what devices send and answers it: the only code that reads their messages on `up/`.

    up/event            a record                → merged | refused | paused
    up/<t>/begin        a file is announced     → receiving (with ranges) | merged | refused | paused
    up/<t>/<offset>     its bytes               → receiving, once they are durable
    up/<t>/ask          what do you have?       → receiving | unknown
    up/<t>/end          that was all            → merged | refused | receiving (with what is there) | unknown
                        <t> is a file of a record, or a record with its files (shared.container). A container that comes
                        as one part needs no beginning and no end.
    up/credit           may I send more?        → a grant, when it is this device's turn (shared.credit)

Promises:

1. `receiving` names only ranges that survive a power cut; `merged` is sent only after Merge confirmed it.
2. Every message may come any number of times, in any order, before and after any restart, also in another process.
3. Anything that is not ours is counted and, where it names a record or transfer, refused. It raises nothing.
4. When this machine fails (disk full, database away) nothing is answered; the device asks again later. What fails in
   a way that nobody foresaw costs no other anything, and is refused in the end (server.ingest.failures).
5. No device gets more than its share (server.ingest.limits): `paused` says so, and what it keeps it may send later.

`handle` only writes bytes and collects records; a settlement makes a whole batch durable at once, merges it in one
transaction, and answers. One thread, but for `run`: it is where a settlement waits for the disk, and `handle` may be
called meanwhile.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from server.dataset.came import Came, Merged, RecordCame
from server.ingest import decode, limits
from server.ingest.arrivals import Arrivals
from server.ingest.counters import DailyCounts
from server.ingest.failures import Failures
from server.ingest.limits import LimitsSettings
from server.ingest.replies import Replies
from server.ingest.settlement import Settlement, SettlementParts
from server.ingest.transfers import Transfers
from server.ingest.unsealing import FindKey, Unsealer
from shared import messages, topics
from shared.atomic import Step, no_step
from shared.clock import SystemClock
from shared.credit import Ledger, units_of
from shared.errors import MessageError
from shared.messages import CONTAINER, ERASE, HELP, PART_KINDS, CreditGrant, CreditWish, Envelope, Part
from shared.topics import Reply

EARLY_UNITS = 256  # 16 MiB of parts
PAUSED_EVERY_S = 1.0  # a device that floods is answered once a second
CRASH_POINTS = ("ingest:verified", "ingest:unpacked", "ingest:opened", "ingest:merged", "ingest:answered")
logger = logging.getLogger(__name__)


class MergePort(Protocol):
    """Where whole records and files go: server.dataset.merge.Merge."""

    def put(self, entries: Sequence[Came]) -> list[Merged]:
        """Merge these, in order; files are moved. Durable when it returns."""
        ...

    def find_parts(self, parts: Sequence[tuple[str, str, Part]]) -> list[bool]:
        """Which of (device, record id, part) were merged before with these very bytes."""
        ...


class Ingest:
    """One process's intake. folder: for unfinished files. Raises: OSError where that cannot be used.

    settings: what one device may ask. counts: None = in memory only, with the machine's clock.
    restores: go on at once with what an earlier process left; else `adopt` does it, for some devices.
    crash_point: called with the name of each durable step (CRASH_POINTS here and in server.ingest.arrivals) after it.
    """

    def __init__(
        self,
        folder: Path,
        merge: MergePort,
        *,
        settings: LimitsSettings | None = None,
        counts: DailyCounts | None = None,
        restores: bool = True,
        crash_point: Step = no_step,
    ) -> None:
        self._merge = merge
        self._limits = settings or LimitsSettings()
        self._counts = counts or DailyCounts(SystemClock())
        self._clock = self._counts.clock
        self._crash_point = crash_point
        self._replies = Replies(self._counts)
        self._unsealer, self._failures = Unsealer(), Failures()
        self._arrivals = Arrivals(folder, clock=self._clock, restores=restores, crash_point=crash_point)
        self._transfers = Transfers(self._arrivals, self._replies, self._limits, merge.find_parts)
        self._parts = SettlementParts(self._arrivals, self._unsealer, merge.put, self._failures, crash_point)
        self._messages = limits.message_limiter(self._limits)
        self._kinds: tuple[str, ...] = (*PART_KINDS, CONTAINER)
        self._paused_at_s: dict[str, float] = {}
        """When a device that floods was last answered."""
        self._records: list[RecordCame] = []
        self._gathered = 0
        """Units that came since the last settlement began."""
        self.credit: Ledger | None = None
        """What devices may send; None = whatever they like."""
        self.counters = self._counts.totals
        """Since this process began, of all devices: server.ingest.counters.NAMES."""

    def opening_with(self, key: X25519PrivateKey | None, *, others: FindKey = lambda key_id: None) -> Self:
        """This intake, which from now on opens what devices sealed to this key, or to one that `others` finds."""
        self._unsealer.key, self._unsealer.find = key, others
        return self

    def granting(self, queue: int, fleet: Callable[[], int] = int) -> Self:
        """This intake, which from now on grants credit and says that it takes containers. queue: how many messages the
        broker keeps for it. fleet: how many devices may come."""
        self.credit = Ledger(queue, fleet)
        self._replies.grants = self._replies.containers = True
        return self

    def left(self, device: str) -> None:
        """A device's connection ended, and all that it sent was handled: what it was granted goes to others."""
        if self.credit is not None:
            self.credit.gone(device)

    def adopt(self, mine: Callable[[str], bool]) -> None:
        """These devices are this intake's from now on. Raises: OSError."""
        self._arrivals.restore(mine)

    def release(self, mine: Callable[[str], bool]) -> None:
        """Leave these devices to another process, and what has arrived of their files; what came and is not settled is
        forgotten. Where no settlement runs."""
        self._transfers.leave(mine)
        self._records = [record for record in self._records if not mine(record.device)]
        if self.credit is not None:
            self.credit.leave(mine)

    @property
    def open_transfers(self) -> int:
        """How many files are on their way in."""
        return len(self._arrivals)

    @property
    def waits(self) -> bool:
        """Whether something waits for another process, or for its turn: `settle` is then to be called soon, also where
        nothing comes."""
        return self._transfers.waits or (self.credit is not None and self.credit.waiting)

    def close(self) -> None:
        """Write the counts and unlock all files. Idempotent."""
        self._counts.flush(now=True)
        self._unsealer.close()
        self._arrivals.close()

    def handle(self, device: str, levels: list[str], payload: bytes) -> list[Reply]:
        """Take one message in; what is not answered here is answered by the next `settle`. levels: of the topic after
        the device's name."""
        try:
            return [*self._route(device, levels, payload), *self._early_grants()]
        except OSError as error:
            self._replies.failed(device, "A message", error)
            return []

    def settle(self) -> list[Reply]:
        """Make everything handled so far durable, and answer it: a settlement from its beginning to its end."""
        replies = self.begin()
        try:
            self.run()
        except BaseException:
            self._transfers.settlement = None  # the devices ask again, and the next one begins afresh
            raise
        return [*replies, *self.finish()]

    def begin(self) -> list[Reply]:
        """Begin a settlement of everything handled so far, to be run by `run` on whatever thread; then comes `finish`.
        What is handled meanwhile is for the next one. Returns answers that need none."""
        assert self._transfers.settlement is None, "one at a time"
        replies = self._transfers.begin()
        records, self._records = self._records, []
        self._gathered = 0
        took = self._transfers.partial(), self._transfers.whole(), self._transfers.containers()
        settlement = Settlement(self._parts, *took, records)
        self._transfers.settlement = settlement
        return replies

    def run(self) -> None:
        """What waits for disk and database, of the settlement that has begun."""
        settlement = self._transfers.settlement
        assert settlement is not None
        settlement.run()

    def finish(self) -> list[Reply]:
        """Its answers, once it has run."""
        settlement, self._transfers.settlement = self._transfers.settlement, None
        assert settlement is not None
        replies = [*self._transfers.finish(settlement), *self._answers(settlement), *self._grants()]
        self._transfers.end_batch()
        self._counts.flush()
        self._crash_point("ingest:answered")
        return replies

    def _answers(self, settlement: Settlement) -> list[Reply]:
        """About records and about the files that were to be merged."""
        replies: list[Reply] = []
        for device in settlement.unmerged:
            self._counts.add(device, "errors")
        for record, outcome in zip(settlement.records, settlement.record_outcomes, strict=True):
            if outcome is not None and outcome.erased:
                self._transfers.drop_erased(record.device, outcome.erased)
            replies += self._record_merged(record, outcome)
        for one in settlement.complete:
            match settlement.opened.get(one.id):
                case None:
                    pass
                case tuple() as came:
                    replies += self._transfers.merged(one, came, settlement.outcomes[one.id])
                case MessageError() as error:
                    replies += self._transfers.refused(one, str(error))
                case error:
                    self._replies.failed(one.device, one.name, error)
                    replies += self._transfers.not_merged(one)
        return replies

    def _early_grants(self) -> list[Reply]:
        """While a settlement waits for the disk, devices go on as soon as there is room in the broker's queue. What is
        gathered for the next one stays bounded: it lies in memory, or is to be synced."""
        if self.credit is None or not self.credit.waiting or self._gathered > EARLY_UNITS:
            return []
        return self._grants()

    def _grants(self, asked: str = "") -> list[Reply]:
        """What is granted now. asked: who has just asked is told so where it must wait, and does not ask again."""
        if self.credit is None:
            return []
        ledger = self.credit
        granted = ledger.grants(self._clock.monotonic_s())
        if asked and (number := ledger.place(asked)) is not None and asked not in {device for device, *_ in granted}:
            granted.append((asked, 0, number))
        granted += [(device, 0, number) for device, number in ledger.changed()]
        return [
            (topics.grant(device), messages.encode(CreditGrant(units, number, ledger.told(device))))
            for device, units, number in granted
        ]

    def _wished(self, device: str, payload: bytes) -> list[Reply]:
        try:
            wish = messages.decode(CreditWish, payload)
        except MessageError:
            return self._replies.ignored(device)
        if self.credit is None:
            return []
        self.credit.wished(device, wish.units, held=wish.held, number=wish.number)
        return self._grants(device)

    def _route(self, device: str, levels: list[str], payload: bytes) -> list[Reply]:
        if not topics.DEVICE_NAME.match(device):
            return self._replies.foreign(device, levels)
        self._counts.add(device, "messages")
        self._counts.add(device, "received_bytes", len(payload))
        is_wish = levels == ["up", "credit"]
        if self.credit is not None and not is_wish:
            units = units_of(len(payload))
            self._gathered += units
            self.credit.came(device, units, self._clock.monotonic_s())
        now_s = self._clock.monotonic_s()
        cost = limits.message_cost(decode.record_bytes(levels, payload), self._limits)
        if not self._messages.allows(device, now_s, cost):
            return self._too_many(device, levels, now_s)
        if is_wish:
            return self._wished(device, payload)
        match levels:
            case ["up", "event"]:
                return self._event(device, payload)
            case ["up", name, verb] if topics.NAME.match(name) and name.rpartition(".")[2] in self._kinds:
                return self._transfers.handle(device, name, verb, payload)
        return self._replies.foreign(device, levels)

    def _too_many(self, device: str, levels: list[str], now_s: float) -> list[Reply]:
        self._counts.add(device, "limited")
        names_transfer = len(levels) == 3 and topics.NAME.match(levels[1])
        if not names_transfer or now_s - self._paused_at_s.get(device, -PAUSED_EVERY_S) < PAUSED_EVERY_S:
            return []
        self._paused_at_s[device] = now_s
        return self._replies.paused(device, levels[1], f"more than {self._limits.messages_per_s} messages a second")

    def _event(self, device: str, payload: bytes) -> list[Reply]:
        try:
            envelope = messages.decode(Envelope, payload)
        except MessageError as error:
            logger.warning("Not ours: an event of %s: %s", device, error)
            return self._replies.ignored(device)
        load = replace(self._transfers.load(device), open_bytes=0)
        if envelope.kind in (ERASE, HELP):  # the one makes room, the other needs next to none
            load = replace(load, free_bytes=sys.maxsize)
        if reason := limits.pause(len(payload), load, self._limits):
            return self._replies.paused(device, envelope.record_id, reason)
        try:
            inside = self._unsealer.envelope(device, envelope)
            self._records.append(RecordCame(device, inside.kind, decode.record_in(inside)))
            self._transfers.give_up(device, f"{envelope.record_id}.{CONTAINER}")
        except Exception as error:  # noqa: BLE001  the top of one record's work; logged by `judge`
            match self._failures.judge((device, envelope.record_id), error):
                case MessageError() as wrong:
                    return self._replies.refused(device, envelope.record_id, str(wrong))
                case ours:
                    raise ours from None
        return []

    def _record_merged(self, record: RecordCame, outcome: Merged | None) -> list[Reply]:
        if outcome is None:
            return []
        if outcome.state == "refused":
            return self._replies.refused(*record.key, outcome.reason)
        counted_as = "declined" if outcome.declined else "records" if outcome.new else "repeated"
        return self._replies.merged(*record.key, counted_as=counted_as)
