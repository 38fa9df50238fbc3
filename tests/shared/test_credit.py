"""What is granted never fills the broker's queue, everybody gets a turn, and what is lost costs time only."""

from __future__ import annotations

import random
from collections import Counter, deque
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from shared import credit
from shared.credit import (
    FRESH,
    GRANTED_UNITS,
    KEPT_S,
    LEASE_S,
    LEAST_GRANTED,
    MOST_GRANTED,
    OLD_FOR_S,
    QUEUE_UNITS,
    UNIT_BYTES,
    Ledger,
    Purse,
)  # fmt: skip
from shared.transfer import MAX_WINDOW_BYTES

QUEUE = 1000


class Herd:
    """Devices with something to send, a queue, and a receiver that grants. loss: of what each side says."""

    def __init__(self, sizes: list[int], queue: int, chance: random.Random, *, loss: float = 0.0) -> None:
        self.now_s = 0.0
        self.ledger = Ledger(queue)
        self.left = {f"pi-{at}": size for at, size in enumerate(sizes)}
        self.purses = {name: Purse(draw=chance.random()).opened(0.0) for name in self.left}
        self.up: deque[tuple[str, tuple[int, int, int] | None]] = deque()
        self.on_way: Counter[str] = Counter()
        self.most_credited = self.most_queued = 0
        self.granted: list[str] = []
        self._chance, self._loss = chance, loss

    def lost(self) -> bool:
        return self._chance.random() < self._loss

    def device(self, name: str) -> None:
        """Send what the purse allows; ask for the rest."""
        purse, left = self.purses[name], self.left[name]
        while left and purse.available(self.now_s) > 0:
            purse, left = purse.spent(1, self.now_s), left - 1
            self.up.append((name, None))
            self.on_way[name] += 1
        purse, wish = purse.asked(left, self.now_s)
        if wish is not None:
            self.up.append((name, (wish, purse.held(self.now_s), purse.number)))
        self.purses[name], self.left[name] = purse, left

    def receive(self, count: int) -> None:
        for _ in range(min(count, len(self.up))):
            name, wish = self.up.popleft()
            self.on_way[name] -= wish is None
            if self.lost():
                self.left[name] += wish is None  # to be sent again
                continue
            if wish is not None:
                self.ledger.wished(name, wish[0], held=wish[1], number=wish[2])
                continue
            self.ledger.came(name, 1, self.now_s)
            if not self.lost():
                self.purses[name] = self.purses[name].heard(True, self.now_s)
            if not self.on_way[name]:
                self.purses[name] = self.purses[name].rested()
        before = self.ledger.held
        for name, units, number in self.ledger.grants(self.now_s):
            self.granted.append(name)
            if not self.lost():
                standing = self.ledger.told(name)
                self.purses[name] = self.purses[name].granted(units, number, self.now_s, standing=standing)
        assert self.ledger.held <= max(before, self.ledger.capacity)
        spendable = sum(p.available(self.now_s) for p in self.purses.values() if p.mode == "credit")
        self.most_credited = max(self.most_credited, spendable)

    def run(self, *, per_turn: int = 40, turns: int = 6000) -> int:
        for turn in range(turns):
            for name in self.left:
                self.device(name)
            self.most_queued = max(self.most_queued, sum(self.on_way.values()))
            if not any(self.left.values()) and not self.up:
                return turn
            self.now_s += 0.1 if self.up else 2.0
            self.receive(per_turn)
        raise AssertionError(f"{sum(self.left.values())} messages were never sent")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=40), st.integers(40, 2000), st.randoms(use_true_random=False))
def test_everybody_sends_all_and_what_is_granted_never_exceeds_the_capacity(
    sizes: list[int], queue: int, chance: random.Random
) -> None:
    herd = Herd(sizes, queue, chance)
    herd.run()
    assert herd.most_credited <= QUEUE_UNITS + credit.STANDING_UNITS
    assert herd.most_queued <= queue
    assert herd.ledger.held == 0


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 1000))
def test_lost_messages_wishes_grants_and_answers_cost_time_only(sizes: list[int], seed: int) -> None:
    herd = Herd(sizes, 100, random.Random(seed), loss=0.2)
    herd.run()
    for _ in range(5):  # a wish that was given up may have been lost too, and is granted once more
        herd.now_s += LEASE_S
        herd.ledger.grants(herd.now_s)
    assert herd.ledger.held == 0
    assert not herd.ledger.waiting


def test_a_thousand_devices_are_served_in_turns() -> None:
    ledger, granted = Ledger(4000), list[str]()
    for at in range(1000):
        ledger.wished(f"pi-{at}", 40, held=0, number=FRESH)
    while len(granted) < 2000:
        for name, units, _ in ledger.grants(0.0):
            granted.append(name)
            for _ in range(units):
                ledger.came(name, 1, 0.0)
    assert granted[:1000] == granted[1000:2000] == [f"pi-{at}" for at in range(1000)]


def test_one_that_wants_much_does_not_keep_others_waiting() -> None:
    ledger = Ledger(100)
    ledger.wished("greedy", 4000, held=0, number=FRESH)
    assert ledger.grants(0.0) == [("greedy", 48, 1)]  # half of what the queue takes, also where nobody else asks
    ledger.wished("small", 4, held=0, number=FRESH)
    assert ledger.grants(0.1) == [("small", 4, 1)]
    for _ in range(40):
        ledger.came("greedy", 1, 0.2)
    assert [name for name, *_ in ledger.grants(0.2)] == ["greedy"]
    assert ledger.held <= ledger.capacity


def test_what_was_granted_and_never_came_is_granted_anew_after_its_lease() -> None:
    ledger = Ledger(QUEUE)
    for at in range(60):
        ledger.wished(f"lost-{at}", 64, held=0, number=FRESH)
    ledger.grants(0.0)
    full = ledger.held
    assert full > ledger.capacity - MOST_GRANTED
    ledger.wished("late", 64, held=0, number=FRESH)
    assert "late" not in [name for name, *_ in ledger.grants(LEASE_S - 1.0)]
    names = [name for name, *_ in ledger.grants(LEASE_S)]
    assert names  # those that waited longer come first, and then
    while "late" not in names:
        names += [name for name, *_ in ledger.grants(2 * LEASE_S)]
        for name in names:
            ledger.gone(name)
    assert ledger.held <= ledger.capacity


def test_what_a_device_was_granted_goes_to_others_when_its_connection_ends() -> None:
    ledger = Ledger(100)
    ledger.wished("away", 200, held=0, number=FRESH)
    assert ledger.grants(0.0) == [("away", 48, 1)]
    ledger.gone("away")
    ledger.gone("never seen")
    assert (ledger.held, ledger.waiting) == (0, False)
    ledger.wished("here", 40, held=0, number=FRESH)
    assert ledger.grants(0.1) == [("here", 40, 1)]


def test_one_device_alone_is_granted_a_whole_window_at_a_time() -> None:
    ledger = Ledger(QUEUE)
    ledger.wished("pi", 4000, held=0, number=FRESH)
    assert ledger.grants(0.0) == [("pi", MOST_GRANTED, 1)]
    assert MOST_GRANTED * UNIT_BYTES == MAX_WINDOW_BYTES


def test_a_wish_says_what_is_still_held_unless_a_grant_is_on_its_way() -> None:
    ledger = Ledger(QUEUE)
    ledger.wished("pi", 20, held=0, number=FRESH)
    assert ledger.grants(0.0) == [("pi", 20, 1)]
    ledger.wished("pi", 5, held=8, number=0 + 1)  # twelve were lost, and it heard of the grant
    assert ledger.held == 8
    ledger.grants(0.1)
    assert ledger.held == 13
    ledger.wished("pi", 5, held=8, number=1)  # said before it heard of the second grant
    assert ledger.held == 13


def test_credit_that_is_not_spent_is_void_before_the_ledger_grants_it_anew() -> None:
    assert KEPT_S < LEASE_S
    purse = Purse().opened(0.0).heard(True, 0.0).granted(9, 1, 1.0)
    assert purse.available(1.0 + KEPT_S - 0.1) == 9
    assert purse.available(1.0 + KEPT_S) == 0
    assert purse.granted(3, 2, 2.0 + KEPT_S).available(2.0 + KEPT_S) == 3


def test_a_device_sends_as_ever_to_a_server_that_does_not_grant() -> None:
    purse = Purse().opened(0.0)
    assert purse.available(0.0) == 1  # its answer will tell
    purse = purse.spent(1, 0.0)
    assert purse.available(1.0) == 0
    purse = purse.heard(False, 1.0)
    assert purse.available(1.0) == credit.UNBOUNDED == purse.spent(50, 1.0).available(1.0)
    assert purse.asked(100, 1000.0) == (purse, None)


def test_a_server_that_is_replaced_by_an_older_one_is_noticed() -> None:
    purse = Purse().opened(0.0).heard(True, 0.0)
    purse, wish = purse.asked(5, 0.0)
    assert (wish, purse.available(0.0)) == (5, 0)
    assert purse.asked(5, 9.9) == (purse, None)  # it asks once
    purse, wish = purse.asked(5, 10.0)
    assert (wish, purse.available(10.0)) == (5, 1)  # asked in vain: one message goes, and its answer tells
    assert purse.spent(1, 10.0).heard(False, 10.1).available(10.1) == credit.UNBOUNDED


def test_who_was_told_to_wait_does_not_ask_again_soon() -> None:
    purse, _ = Purse().opened(0.0).heard(True, 0.0).asked(5, 0.0)
    purse = purse.granted(0, 0, 1.0)
    assert purse.asked(5, credit.IN_LINE_S) == (purse, None)
    assert purse.available(2.0) == 0
    assert purse.asked(5, 1.0 + credit.IN_LINE_S)[1] == 5  # the grant may have been lost


def test_the_repeats_of_many_are_spread() -> None:
    asked = [Purse(draw=draw / 10).opened(0.0).heard(True, 0.0).asked(5, 0.0)[0].ask_at_s for draw in range(10)]
    assert len(set(asked)) == 10
    assert min(asked) >= credit.ASK_AGAIN_S
    assert max(asked) < 2 * credit.ASK_AGAIN_S


def test_devices_that_know_nothing_of_credit_are_left_room() -> None:
    ledger = Ledger(QUEUE)
    for device in range(30):
        for _ in range(credit.STRAYS + 1):
            ledger.came(f"old-{device}", 1, 0.0)
    assert ledger.capacity == QUEUE // credit.LEAST_SHARE
    ledger.grants(OLD_FOR_S)
    ledger.wished("new", 1, held=0, number=FRESH)
    ledger.grants(OLD_FOR_S)
    assert ledger.capacity == GRANTED_UNITS


def _told(ledger: Ledger, device: str) -> int:
    """The standing credit that comes with a grant."""
    ledger.wished(device, 1, held=0, number=FRESH)
    ((name, _, number),) = ledger.grants(0.0)
    assert name == device
    return ledger.told(device) if number else 0


def test_standing_credit_is_what_fits_the_queue_for_the_whole_fleet() -> None:
    fleets = (0, 28, 30, 112, 113, 1000)
    assert [_told(Ledger(4000, partial(int, fleet)), "pi") for fleet in fleets] == [16, 16, 14, 4, 0, 0]
    assert _told(Ledger(1000, lambda: 100), "pi") == 0  # 188 messages are left of the queue
    ledger = Ledger(4000)  # nobody says how many there are: as many as were heard of
    told = [_told(ledger, f"pi-{at}") for at in range(60)]
    assert told[0] == 16
    assert sum(told) <= credit.STANDING_UNITS


def test_a_fleet_that_grows_is_told_of_less_and_never_has_more_than_fits() -> None:
    fleet = 10
    ledger = Ledger(4000, lambda: fleet)
    told = {f"pi-{at}": _told(ledger, f"pi-{at}") for at in range(10)}
    assert set(told.values()) == {16}
    fleet = 100
    for at in range(10):
        ledger.came(f"pi-{at}", 1, 1.0)
    told |= {device: ledger.told(device) for device, _ in ledger.changed()}
    assert set(told.values()) == {4}
    assert ledger.changed() == []


def test_a_quiet_device_spends_its_standing_credit_and_has_it_again_once_all_was_answered() -> None:
    purse = Purse().opened(0.0).heard(True, 0.0).granted(0, 1, 0.0, standing=16)
    assert purse.available(1000.0) == 0  # something may be on its way still
    purse = purse.rested()
    assert purse.available(1000.0) == 16
    assert purse.asked(16, 1000.0) == (purse, None)
    purse = purse.spent(11, 1000.0)
    assert purse.available(1000.0) == 5
    asked, wish = purse.asked(12, 1000.0)
    assert wish == 7  # beyond what stands
    assert asked.granted(7, 2, 1000.0, standing=8).available(1000.0) == 12
    assert purse.opened(2000.0).rested().available(2000.0) == 1  # another server may be there now


def test_messages_within_the_standing_credit_do_not_count_as_those_of_an_old_device() -> None:
    ledger = Ledger(4000)
    _told(ledger, "pi")
    for _ in range(100):
        ledger.came("pi", 1, 0.0)
    assert ledger.capacity == GRANTED_UNITS
    ledger.gone("pi")
    for _ in range(credit.STRAYS + 1):  # an older version may have been put in its place
        ledger.came("pi", 1, 0.0)
    assert len(ledger._old) == 1


def test_parts_cost_by_their_size() -> None:
    assert [credit.units_of(size) for size in (0, 1, 65536, 65537, 262144)] == [1, 1, 1, 2, 4]
    assert LEAST_GRANTED >= 3 * 3 + 1  # the files of a chunk, each with its beginning and end
