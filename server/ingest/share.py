"""The part of the devices that one of several processes takes in: leased, listened to, handed over.

    a partition is taken    its devices' unfinished files are gone on with, their topics are subscribed to, and those
                            that are online are told (`CreditGrant.anew`): they ask what is there, as after a cut
    it is to be given back  their topics are no longer subscribed to; what came is settled and its files are closed; the
                            lease ends with the next round
    its lease has ended     the same, but for the settling: another process has it

Promises:

1. A message is handled only while this process has the lease, by a clock that nobody sets. Others are left unanswered:
   the device asks again, and then the one hears it that has the lease.
2. Between two processes a device's messages are lost, as at a cut: what was acknowledged stays, and the device sends
   the rest again.
3. A device is known by its status, which it publishes with each connection and the broker keeps.

Rounds are on a thread of their own, everything else on the link's worker thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from server.ingest.ingest import Ingest
from server.ingest.leases import Held, Leases
from server.ingest.partitions import PARTITIONS, Division, partition_of
from shared import messages, topics
from shared.atomic import Step, no_step
from shared.background import Background
from shared.credit import FRESH
from shared.messages import CreditGrant
from shared.topics import Reply

ROUNDS = 5.0
"""Of them in the time of a lease."""
MAX_DEVICES = 20_000
CRASH_POINTS = (
    "share:renewed", "share:taken", "share:adopted", "share:settled", "share:released", "share:given_back",
    "share:ended",
)  # fmt: skip
"""Every step after which another process finds something else: leases written, files gone on with or left."""
logger = logging.getLogger(__name__)


class Hearing(Protocol):
    """Where messages come from: server.broker.link.ServerLink."""

    def hear(self, filters: Sequence[str]) -> None: ...

    def unhear(self, filters: Sequence[str]) -> None: ...

    def do(self, work: Callable[[], list[Reply]]) -> None:
        """On the thread that hands out messages."""
        ...


class Share:
    """What this process takes in. link: set before `start`. known: devices that may come, as far as anybody knows.
    crash_point: called with the name of each step (CRASH_POINTS) after it."""

    def __init__(
        self, ingest: Ingest, leases: Leases, known: Callable[[], Iterable[str]] = tuple, *, crash_point: Step = no_step
    ) -> None:
        self.link: Hearing | None = None
        self.ignored = 0
        """Messages of devices that are another's."""
        self.heard: frozenset[int] = frozenset()
        """Partitions whose devices' messages are handled."""
        self._ingest, self._leases, self._known = ingest, leases, known
        self._clock, self._crash_point = leases.clock, crash_point
        self._held = Held()
        self._lost = [0] * PARTITIONS
        """How often each was no longer this process's when a round looked: what it has of it is then of before."""
        self._acted = tuple(self._lost)
        """The same, as far as the link's thread has acted on it."""
        self._closed: frozenset[int] = frozenset()
        """Partitions of which nothing is open here any more; their leases end with the next round."""
        self._devices: list[dict[str, bool]] = [{} for _ in range(PARTITIONS)]
        """By partition: the devices, and whether they are online."""
        self._background = Background.every(leases.lease_s / ROUNDS, self.round, name="partitions", at_once=True)

    def start(self) -> None:
        self._background.start()

    def stop(self) -> None:
        """End the rounds and give the leases back; after the link has stopped. Idempotent."""
        self._background.close()
        try:
            self._leases.end()
            self._crash_point("share:ended")
        except SQLAlchemyError as error:
            logger.warning("The leases could not be given back; they end by themselves: %s", error)

    def round(self) -> None:
        """Renew the leases; the link's thread acts on what changed. A database that is away ends them in time."""
        known = list[str]()
        try:
            self._renew()
            known = list(self._known())
        except SQLAlchemyError as error:
            logger.warning("The leases could not be renewed: %s", error)
        division, lost = self._held.division, tuple(self._lost)
        self._hearing.do(lambda: self._act(division, lost, known))

    def _renew(self) -> None:
        released = self._closed
        held = self._leases.round(released)
        self._crash_point("share:renewed")
        if held.division.taken:
            self._crash_point("share:taken")
        if released:
            self._crash_point("share:given_back")
        for number in self._held.division.held - (held.division.held - held.division.taken):
            self._lost[number] += 1
        self._held = held  # last: until then its time has not begun

    # the link's thread

    def handle(self, device: str, levels: list[str], payload: bytes) -> list[Reply]:
        """A message of a device, if that is this process's."""
        number = partition_of(device)
        is_own = number in self.heard and self._lost[number] == self._acted[number]
        if not is_own or self._clock.monotonic_s() >= self._held.until_s:
            self.ignored += 1
            return []
        return self._ingest.handle(device, levels, payload)

    def met(self, device: str, *, online: bool) -> list[Reply]:
        """There is such a device. Where it was not known, what it has said already went to nobody, and it is told."""
        number = partition_of(device)
        known = self._devices[number]
        if device in known or sum(map(len, self._devices)) < MAX_DEVICES:
            new, known[device] = device not in known, online
            if new and number in self.heard:
                self._hearing.hear(topics.intake(device))
                return _told([device] if online else [])
        return []

    def _act(self, division: Division, lost: tuple[int, ...], known: Iterable[str]) -> list[Reply]:
        """lost: as it stood after the round that brought the division."""
        for device in known:
            if device not in self._devices[partition_of(device)]:
                self.met(device, online=False)
        # By the newest round: these wait while a settlement runs, and meanwhile the leases were renewed.
        ended = self._clock.monotonic_s() >= self._held.until_s
        mine = frozenset[int]() if ended else division.held
        before = {number for number in self.heard if lost[number] != self._acted[number]}
        self._closed &= division.held - division.taken  # the leases of the others ended with this round
        self._closed |= (division.leave & mine) - self.heard  # of an earlier life: nothing of them is open in this one
        replies = self._give_up((self.heard & division.leave & mine) - before, settled=True)
        self._give_up((self.heard - mine) | before, settled=False)
        self._acted = lost
        return [*replies, *self._take(mine - division.leave - self.heard - self._closed)]

    def _take(self, numbers: frozenset[int]) -> list[Reply]:
        if not numbers:
            return []
        self._ingest.adopt(lambda device: partition_of(device) in numbers)
        self._crash_point("share:adopted")
        self.heard |= numbers
        self._hearing.hear(self._filters(numbers))
        logger.info("%s takes in the devices of the partitions %s.", self._leases.name, sorted(numbers))
        known = [self._devices[number].items() for number in sorted(numbers)]
        return _told(device for some in known for device, online in some if online)

    def _give_up(self, numbers: frozenset[int], *, settled: bool) -> list[Reply]:
        """settled: what came is this process's to settle still, and the leases end after that."""
        if not numbers:
            return []
        self._hearing.unhear(self._filters(numbers))
        replies = self._settled() if settled else []
        self._ingest.release(lambda device: partition_of(device) in numbers)
        self._crash_point("share:released")
        self.heard -= numbers
        if settled:
            self._closed |= numbers
        logger.info("%s leaves the devices of the partitions %s to others.", self._leases.name, sorted(numbers))
        return replies

    def _settled(self) -> list[Reply]:
        replies = self._ingest.settle()
        self._crash_point("share:settled")
        return replies

    def _filters(self, numbers: frozenset[int]) -> list[str]:
        return [one for number in sorted(numbers) for device in self._devices[number] for one in topics.intake(device)]

    @property
    def _hearing(self) -> Hearing:
        assert self.link is not None
        return self.link


def _told(devices: Iterable[str]) -> list[Reply]:
    """The message to each that says that another process takes in now."""
    said = messages.encode(CreditGrant(0, FRESH, anew=True))
    return [(topics.grant(device), said) for device in devices]
