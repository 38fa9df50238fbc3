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
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from shared.backoff import exponential_s

UNIT_BYTES = 64 * 1024
KEPT_S = 10.0
LEASE_S = 40.0  # KEPT_S, and the time that a full queue takes on a slow disk
ASK_AGAIN_S, ASK_AGAIN_MAX_S = 10.0, 120.0
IN_LINE_S = 60.0  # who was told to wait asks again after this, in case its grant was lost
MOST_GRANTED = 64  # to one device at a time
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

    def available(self, now_s: float) -> int:
        """Units that may be spent now."""
        if self.mode == "unbounded":
            return UNBOUNDED
        return self.units if self.mode == "unknown" or now_s < self.void_at_s else 0

    def opened(self, now_s: float) -> Purse:
        """A connection is up: one message may go, whose answer says more."""
        ask_at_s = now_s + self._patience_s(0)
        return replace(self, mode="unknown", units=1, wished=0, tries=0, number=FRESH, ask_at_s=ask_at_s)

    def spent(self, units: int) -> Purse:
        return self if self.mode == "unbounded" else replace(self, units=max(0, self.units - units))

    def heard(self, grants: bool, now_s: float) -> Purse:
        """An answer came. grants: whether its sender grants credit."""
        if not grants:
            return replace(self, mode="unbounded", wished=0)
        if self.mode == "credit":
            return self
        return replace(self, mode="credit", units=0, wished=0, tries=0, void_at_s=now_s, ask_at_s=now_s)

    def granted(self, units: int, number: int, now_s: float) -> Purse:
        """Credit came; 0 = the wish was heard, and the device is in line."""
        if self.mode == "unbounded":
            return self
        units = max(0, min(units, MOST_WISHED))
        held, wished = self.available(now_s) + units, max(0, self.wished - units)
        void_at_s = now_s + KEPT_S if units else self.void_at_s
        ask_at_s = now_s + IN_LINE_S * (1.0 + self.draw) if wished else self.ask_at_s
        kept = replace(self, mode="credit", units=held, void_at_s=void_at_s, wished=wished, ask_at_s=ask_at_s)
        return replace(kept, tries=0, number=number)

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
        held = self.available(now_s)
        if not needed:
            return replace(self, units=0, wished=0, tries=0), 0 if held or self.wished else None
        return (self, None) if needed <= held else (self._asking(needed - held, held, now_s), needed - held)

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


class Ledger:
    """What one receiver has granted. One thread; time is passed in and never steps back.

    queue: how many messages the broker keeps for it
    """

    def __init__(self, queue: int) -> None:
        self.queue = queue
        self.held = 0
        """Units granted to all devices together that have not come."""
        self._accounts: dict[str, _Account] = {}
        self._line: OrderedDict[str, None] = OrderedDict()
        self._leases: OrderedDict[str, None] = OrderedDict()
        """Devices that hold credit, the one whose lease ends first in front."""
        self._old: OrderedDict[str, None] = OrderedDict()

    @property
    def capacity(self) -> int:
        """The most units that may be granted and not have come."""
        free = self.queue - GREETINGS * len(self._accounts) - OLD_UNITS * len(self._old)
        return min(max(self.queue // LEAST_SHARE, free), QUEUE_UNITS)

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for credit: `grants` is then to be called soon."""
        return bool(self._line)

    def place(self, device: str) -> int | None:
        """The number of its last grant, of a device that waits for its turn; None = it does not wait."""
        return self._accounts[device].number if device in self._line else None

    def came(self, device: str, units: int, now_s: float) -> None:
        """A message of a device came."""
        account = self._account(device)
        covered = min(account.held, units)
        self._take_back(device, account, covered)
        if covered < units:
            account.strays += 1
            if account.strays > STRAYS:
                account.old_until_s = now_s + OLD_FOR_S
                self._old[device] = None
                self._old.move_to_end(device)

    def wished(self, device: str, units: int, *, held: int, number: int) -> None:
        """A device asks. held: what it can still spend, after the grant of that number; what it sent has come."""
        account = self._account(device)
        account.strays = 0
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
            account.wish = account.strays = 0
            self._line.pop(device, None)

    def grants(self, now_s: float) -> list[tuple[str, int, int]]:
        """Whom to grant how much now, and the number of the grant; in the order in which they asked."""
        self._expire(now_s)
        if not self._line:
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
        active = len(self._line.keys() | self._leases.keys())
        return max(1, min(MOST_GRANTED, max(LEAST_GRANTED, self.capacity // max(1, active)), self.capacity))

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
        busy = self._leases.keys() | self._line.keys() | self._old.keys()
        self._accounts = {device: account for device, account in self._accounts.items() if device in busy}
