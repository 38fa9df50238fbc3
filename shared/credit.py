"""How much may be on its way to one receiver at once, over all devices: decisions of both sides, without any I/O.

A broker keeps a bounded queue for a receiver and drops what comes beyond it, also at QoS 1. A thousand devices with a
window of eight parts each fill it eight times over. So the receiver grants credit, in units: a message costs one, and
one more for each further 64 KiB that it carries.

Rules that they keep, whatever is lost, repeated or cut:

1. What the ledger has granted and has not seen come, over all devices, is never more than its capacity.
2. Devices are served in turns, in the order in which they asked; nobody is passed over.
3. Credit is not kept: unspent, it is void at the device after KEPT_S, and the ledger grants it anew after LEASE_S. A
   wish names what the device still holds, so that both agree again at once. What is lost costs time, never credit.
4. A device that comes back sends one message, whose answer says whether the receiver grants (`Ack.grants`); if not, it
   sends as ever. If so, it asks once, and again only after a patience that differs from device to device.
5. Devices that do not know of credit are left room for what they may have on their way.
6. A device whose every message was answered may send its standing credit without asking: what a chunk costs, where the
   fleet is so small that all of it together fits the queue beside what is granted. So a chunk now and then costs no
   round trip. Only who was told of it has it, and what was told is set apart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from shared.backoff import exponential_s

UNIT_BYTES = 64 * 1024
KEPT_S = 10.0
LEASE_S = 40.0  # KEPT_S, and the time that a full queue takes on a slow disk
ASK_AGAIN_S, ASK_AGAIN_MAX_S = 10.0, 120.0
IN_LINE_S = 60.0  # who was told to wait asks again after this, in case its grant was lost
MOST_GRANTED = 128  # to one device at a time: the largest window (shared.transfer)
LEAST_GRANTED = 12  # the files of a chunk
MOST_WISHED = 4096
UNBOUNDED = 1_000_000
FRESH = 0  # no grant came on this connection, and the credit of an earlier one is void


def units_of(size_bytes: int) -> int:
    """What a message with so many bytes costs."""
    return max(1, -(-size_bytes // UNIT_BYTES))


# --- the device -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Purse:
    """What one device may send. draw: 0..1, of this device, which spreads the repeats of many."""

    mode: Literal["unknown", "unbounded", "credit"] = "unbounded"
    """Whether the receiver grants credit; unknown = it has not answered on this connection."""
    units: int = 0
    void_at_s: float = 0.0
    wished: int = 0
    """Asked for, and not granted yet."""
    ask_at_s: float = 0.0
    """When to ask again, or to send one more message to a receiver that has not answered."""
    tries: int = 0
    number: int = FRESH
    """Of the grant that came last on this connection."""
    draw: float = 0.0
    standing: int = 0
    """It may send so much without asking whenever nothing that it sent waits for an answer."""
    rest: int = 0
    """What is left of that."""

    def available(self, now_s: float) -> int:
        """Units that may be spent now."""
        return UNBOUNDED if self.mode == "unbounded" else self.held(now_s) + self.rest

    def held(self, now_s: float) -> int:
        """Units that were granted and may still be spent."""
        return self.units if self.mode == "unknown" or now_s < self.void_at_s else 0

    def opened(self, now_s: float) -> Purse:
        """A connection is up: one message may go, whose answer says more."""
        fresh = Purse("unknown", units=1, ask_at_s=now_s + self._patience_s(0), draw=self.draw)
        return replace(fresh, void_at_s=self.void_at_s)

    def spent(self, units: int, now_s: float) -> Purse:
        """So much was sent; what was granted goes first."""
        if self.mode == "unbounded":
            return self
        granted = min(units, self.held(now_s))
        return replace(self, units=self.units - granted, rest=max(0, self.rest - (units - granted)))

    def rested(self) -> Purse:
        """All that was sent has been answered."""
        return self if self.rest == self.standing else replace(self, rest=self.standing)

    def heard(self, grants: bool, now_s: float) -> Purse:
        """An answer came. grants: whether its sender grants credit."""
        if not grants:
            return replace(self, mode="unbounded", wished=0)
        if self.mode == "credit":
            return self
        return replace(self, mode="credit", units=0, wished=0, tries=0, void_at_s=now_s, ask_at_s=now_s)

    def granted(self, units: int, number: int, now_s: float, *, standing: int = 0) -> Purse:
        """Credit came; 0 = the wish was heard, and the device is in line. standing: from now on."""
        if self.mode == "unbounded":
            return self
        units, standing = max(0, min(units, MOST_WISHED)), max(0, min(standing, MOST_STANDING))
        held, wished = self.held(now_s) + units, max(0, self.wished - units)
        void_at_s = now_s + KEPT_S if units else self.void_at_s
        ask_at_s = now_s + IN_LINE_S * (1.0 + self.draw) if wished else self.ask_at_s
        kept = replace(self, mode="credit", units=held, void_at_s=void_at_s, wished=wished, ask_at_s=ask_at_s)
        return replace(kept, tries=0, number=number, standing=standing, rest=min(self.rest, standing))

    def anew(self, now_s: float) -> Purse:
        """Another receiver has the device now, and knows nothing of what was granted or asked for."""
        return Purse("credit", void_at_s=now_s, ask_at_s=now_s, draw=self.draw)

    def may_ask(self, now_s: float) -> bool:
        """Whether `asked` could say anything now."""
        return self.mode != "unbounded" and (now_s >= self.ask_at_s or (self.mode == "credit" and not self.wished))

    def asked(self, needed: int, now_s: float) -> tuple[Purse, int | None]:
        """How many units to ask for; 0 = give back what is held; None = say nothing. needed: units that wait to be
        sent."""
        if not self.may_ask(now_s):
            return self, None
        if self.mode == "unknown":  # what it sent may be lost: one more
            return self._waiting(now_s, units=1) if needed else self, None
        held, there = self.held(now_s), self.available(now_s)
        if not needed:
            return replace(self, units=0, wished=0, tries=0), 0 if held or self.wished else None
        # Half of it is left: who would ask for every unit that it has just spent says nothing else.
        enough = there >= needed or (there >= LEAST_GRANTED and 2 * there > needed)
        return (self, None) if enough else (self._asking(needed - there, held, now_s), needed - there)

    def _asking(self, wish: int, held: int, now_s: float) -> Purse:
        # Asked in vain: one message may go too, whose answer says whether the receiver still grants.
        purse = self._waiting(now_s, units=max(held, 1)) if self.wished else replace(self, units=held, tries=0)
        ask_at_s = now_s + self._patience_s(purse.tries)
        void_at_s = ask_at_s + KEPT_S if purse.units > held else self.void_at_s
        return replace(purse, wished=wish, ask_at_s=ask_at_s, void_at_s=void_at_s)

    def _waiting(self, now_s: float, *, units: int) -> Purse:
        tries = self.tries + 1
        return replace(self, units=units, tries=tries, ask_at_s=now_s + self._patience_s(tries))

    def _patience_s(self, tries: int) -> float:
        return exponential_s(tries, base_s=ASK_AGAIN_S, max_s=ASK_AGAIN_MAX_S) * (1.0 + self.draw)


# --- the receiver -----------------------------------------------------------------------------------------------------

OLD_UNITS = 24  # eight parts, and sixteen messages that the broker has not acknowledged
OLD_FOR_S = 10.0
STRAYS = 3  # messages without credit that a device which knows of it may send: one for each connection, and repeats
GREETINGS = 3  # small messages without credit, of each device that comes back: status, first message, wish
QUEUE_UNITS = 512  # half of the 64 MiB that Mosquitto keeps for a receiver, and a second's work for a fast server
LEAST_SHARE = 4  # of the queue: whatever others take, a quarter is granted
MAX_DEVICES = 20_000
GRANTED_UNITS = 256  # of it at once: with all of it Mosquitto dropped messages of a thousand devices over TLS
STANDING_UNITS = 448  # of all devices; beside QUEUE_UNITS, with room for what goes without credit
MOST_STANDING, LEAST_STANDING = 16, 4  # of one: a chunk and its files, and what is of any use


def queue_for(devices: int) -> int:
    """How many messages a broker is to keep for the receiver of so many devices: their greetings, beside all credit."""
    return max(
        GREETINGS * devices + QUEUE_UNITS + STANDING_UNITS, -(-devices * GREETINGS * LEAST_SHARE // (LEAST_SHARE - 1))
    )


def devices_for(queue: int) -> int:
    """How many devices such a queue is enough for: with more, their greetings fill what is never granted."""
    return (queue - queue // LEAST_SHARE) // GREETINGS


@dataclass(slots=True)
class _Account:
    held: int = 0
    """Granted, and has not come."""
    lease_s: float = 0.0
    number: int = 0
    """Of the last grant."""
    wish: int = 0
    strays: int = 0
    old_until_s: float = 0.0
    knows: bool = False
    """It has asked on this connection, so it knows of credit."""
    standing: int = 0
    """As it was told."""


class Ledger:
    """What one receiver has granted. One thread; time is passed in and never steps back.

    queue: how many messages the broker keeps for it. fleet: how many devices there are, heard of or not
    """

    def __init__(self, queue: int, fleet: Callable[[], int] = int) -> None:
        self.queue, self._fleet = queue, fleet
        self.held = 0
        """Units granted to all devices together that have not come."""
        self._accounts: dict[str, _Account] = {}
        self._line: OrderedDict[str, None] = OrderedDict()
        self._leases: OrderedDict[str, None] = OrderedDict()
        """Devices that hold credit, the one whose lease ends first in front."""
        self._old: OrderedDict[str, None] = OrderedDict()
        self._told = 0
        """Standing credit of all devices, as they were told."""
        self._to_tell: dict[str, None] = {}
        """Devices whose standing credit is another now."""

    @property
    def capacity(self) -> int:
        """The most units that may be granted and not have come."""
        free = self.queue - GREETINGS * len(self._accounts) - OLD_UNITS * len(self._old) - self._told
        return min(max(self.queue // LEAST_SHARE, free), GRANTED_UNITS)

    @property
    def standing(self) -> int:
        """What each device may have as standing credit: the same for all, and all of it fits."""
        devices = max(self._fleet(), len(self._accounts), 1)
        free = min(STANDING_UNITS, self.queue - QUEUE_UNITS - GREETINGS * devices)
        own = min(MOST_STANDING, free // devices)
        return own if own >= LEAST_STANDING else 0

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for credit: `grants` is then to be called soon."""
        return bool(self._line or self._to_tell)

    def place(self, device: str) -> int | None:
        """The number of its last grant, of a device that waits for its turn; None = it does not wait."""
        return self._accounts[device].number if device in self._line else None

    def came(self, device: str, units: int, now_s: float) -> None:
        """A message of a device came."""
        account = self._account(device)
        covered = min(account.held, units)
        self._take_back(device, account, covered)
        if account.knows and account.standing != self.standing:
            self._to_tell[device] = None
        if covered < units and not account.standing:
            account.strays += 1
            if account.strays > STRAYS:
                account.old_until_s = now_s + OLD_FOR_S
                self._old[device] = None
                self._old.move_to_end(device)

    def wished(self, device: str, units: int, *, held: int, number: int) -> None:
        """A device asks. held: what it can still spend, after the grant of that number; what it sent has come."""
        account = self._account(device)
        account.strays, account.knows = 0, True
        if number == FRESH:  # a new connection: it was told nothing yet
            self._tell(account, 0)
        if number in (FRESH, account.number):  # else a grant is on its way to it
            self._take_back(device, account, max(0, account.held - held))
        account.wish = min(units, MOST_WISHED)
        if account.wish > 0:
            self._line[device] = None
        else:
            self._line.pop(device, None)

    def gone(self, device: str) -> None:
        """A device's connection ended, and everything that it sent has come."""
        account = self._accounts.get(device)
        if account is not None:
            self._take_back(device, account, account.held)
            self._tell(account, 0)
            self._to_tell.pop(device, None)
            account.wish, account.strays, account.knows = 0, 0, False
            self._line.pop(device, None)

    def told(self, device: str) -> int:
        """The standing credit of a device that is told something now."""
        account = self._accounts[device]
        self._to_tell.pop(device, None)
        # Others may still have more than their share: until they are told, this one gets what they leave.
        free = STANDING_UNITS - (self._told - account.standing)
        self._tell(account, min(self.standing, free) if account.knows else 0)
        return account.standing

    def changed(self) -> list[tuple[str, int]]:
        """Who is to be told of another standing credit, with the number of its last grant. Each once."""
        found, self._to_tell = self._to_tell, {}
        return [(device, self._accounts[device].number) for device in found if device not in self._line]

    def leave(self, mine: Callable[[str], bool]) -> None:
        """These devices send to another receiver from now on."""
        for device in list(filter(mine, self._accounts)):
            self.gone(device)
            self._old.pop(device, None)
            del self._accounts[device]

    def grants(self, now_s: float) -> list[tuple[str, int, int]]:
        """Whom to grant how much now, and the number of the grant; in the order in which they asked."""
        self._expire(now_s)
        if not self._line or self.held >= self.capacity:
            return []
        granted: list[tuple[str, int, int]] = []
        share = self._share()
        for device in list(self._first_in_line()):
            account = self._accounts[device]
            wanted = min(account.wish, share - account.held)
            if wanted < min(account.wish, (share + 1) // 2):
                continue  # it has more than half of its share, and keeps its place
            if self.held + wanted > self.capacity:
                break
            account.wish -= wanted
            del self._line[device]
            if account.wish > 0:
                self._line[device] = None
            self._grant(device, account, wanted, now_s)
            granted.append((device, wanted, account.number))
        return granted

    def _first_in_line(self) -> Iterable[str]:
        room = self.capacity - self.held
        for number, device in enumerate(self._line):
            if number > room:
                return
            yield device

    def _share(self) -> int:
        active = max(len(self._line), len(self._leases))  # who is in both counts once, and a union of thousands is slow
        return max(1, min(MOST_GRANTED, max(LEAST_GRANTED, self.capacity // max(2, active)), self.capacity))

    def _grant(self, device: str, account: _Account, units: int, now_s: float) -> None:
        account.number += 1
        account.held += units
        self.held += units
        account.lease_s = now_s + LEASE_S
        self._leases[device] = None
        self._leases.move_to_end(device)

    def _take_back(self, device: str, account: _Account, units: int) -> None:
        account.held -= units
        self.held -= units
        if not account.held:
            self._leases.pop(device, None)

    def _tell(self, account: _Account, units: int) -> None:
        self._told += units - account.standing
        account.standing = units

    def _expire(self, now_s: float) -> None:
        while self._leases and self._accounts[first := next(iter(self._leases))].lease_s <= now_s:
            self._take_back(first, self._accounts[first], self._accounts[first].held)
        while self._old and self._accounts[first := next(iter(self._old))].old_until_s <= now_s:
            del self._old[first]
            self._accounts[first].strays = 0

    def _account(self, device: str) -> _Account:
        account = self._accounts.get(device)
        if account is None:
            if len(self._accounts) >= MAX_DEVICES:
                self._drop_idle()
            account = self._accounts[device] = _Account()
        return account

    def _drop_idle(self) -> None:
        busy = self._leases.keys() | self._line.keys() | self._old.keys() | self._to_tell.keys()
        self._accounts = {
            device: account for device, account in self._accounts.items() if device in busy or account.standing
        }
