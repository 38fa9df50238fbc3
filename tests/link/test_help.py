"""A call for help over a real broker, from a real outbox into a real home, and told; a server that does not know it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from device.outbox.outbox import Outbox
from server.broker.child import BrokerChild
from server.broker.link import BrokerSession, Ports, ServerLink
from server.consent import register
from server.consent.register import ConsentAnswer
from server.consent.settings import ConsentSettings
from server.consent.terms import NOTHING
from server.dataset import help_calls
from server.ingest import decode
from server.ingest.ingest import Ingest
from server.privacy import deletion, retention
from server.review import decisions
from server.review.decisions import ReviewDecision
from server.telling import look, people
from server.telling.loop import Telling, TellingWays
from server.telling.people import PersonTold
from shared import messages, topics
from shared.clock import ManualClock
from shared.messages import ChunkRecord, CorrectionRecord, Envelope, HelpRecord
from tests.link.parties import DEADLINE_S, MakeLink, until
from tests.server.dataset.moments import House, moment

NOW = 1_795_200_000.0
CALL = HelpRecord("pi-1-b00t-h001", "pi-1", NOW - 600, clock_synced=True)


@pytest.fixture
def house(memory_path: Path) -> Iterator[House]:
    house = House(memory_path / "home", clock=ManualClock(epoch_s=NOW))
    yield house
    house.close()


def serve(stack: ExitStack, broker: BrokerChild, house: House, folder: Path) -> None:
    ingest = Ingest(folder / "incoming", house.merge)
    link = ServerLink(BrokerSession(broker.host, broker.port), Ports(ingest.handle, settling=ingest))
    link.start()
    stack.callback(link.stop)
    assert link.ready.wait(DEADLINE_S)


def test_a_call_reaches_those_who_care_for_that_wearer_once_and_in_their_quiet_hours(
    broker: BrokerChild, make_link: MakeLink, house: House, memory_path: Path
) -> None:
    house.send(moment(0, wearer="Ada"))
    box, answers, told = Outbox(memory_path / "phone"), list[tuple[str, bool]](), dict[str, list[str]]()
    box.on_help = lambda record_id, taken: answers.append((record_id, taken))

    def post(urls: Any, lines: Any) -> tuple[str, ...]:
        told.setdefault(urls[0], []).extend(lines)
        return ()

    quiet: dict[str, Any] = {"kinds": ("help",), "quiet": "00:00-23:59"}
    people.put(house.home, "Ana", PersonTold(("json://ana",), **quiet, wearers=("Ada",)))
    people.put(house.home, "Bo", PersonTold(("json://bo",), **quiet, wearers=("Bob",)))
    people.put(house.home, "Cy", PersonTold(("json://cy",), **quiet, help_in_quiet=False))
    telling = Telling(
        house.home, lambda: items(house), house.clock, ways=TellingWays(post), called=lambda: newest(house)
    )
    telling.tick()
    box.seal_help(CALL)
    with ExitStack() as stack:
        serve(stack, broker, house, memory_path)
        link = make_link(outbox=box, device="pi-1")
        link.start()
        until(lambda: bool(answers))
        envelope = Envelope(messages.HELP, CALL.help_id, messages.to_dict(CALL))
        assert link.publish(topics.event("pi-1"), messages.encode(envelope)), "as at the press itself"
        box.seal_help(HelpRecord("pi-1-b00t-h002", "pi-1", NOW, clock_synced=False))
        until(lambda: len(answers) == 2)  # which came after it
    telling.tick()
    telling.tick()
    assert answers == [(CALL.help_id, True), ("pi-1-b00t-h002", True)]
    assert newest(house) == 2
    assert told == {"json://ana": [f"The wearer of pi-1 asked for help{age}." for age in (" 10 minutes ago", "")]}
    box.close()


def items(house: House) -> Any:
    return look.items(look.gathered(house.store, [], {}, now_utc=house.clock.utc_s()))


def newest(house: House) -> int:
    with house.store.reading() as connection:
        return help_calls.newest(connection)


def test_an_older_server_refuses_it_and_nothing_else_of_the_device(
    broker: BrokerChild, make_link: MakeLink, house: House, memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_KINDS", {"chunk": ChunkRecord, "correction": CorrectionRecord})
    box, answers = Outbox(memory_path / "phone"), list[bool]()
    box.on_help = lambda _, taken: answers.append(taken)
    box.seal_help(CALL)
    sent = moment(1)
    box.seal_chunk(sent.record, sent.payloads)
    with ExitStack() as stack:
        serve(stack, broker, house, memory_path)
        link = make_link(outbox=box, device="pi-1")
        link.start()
        until(lambda: box.counts().merged == 1 and box.counts().failed == 1)
    assert answers == [False]
    assert newest(house) == 0
    box.close()


def test_a_call_needs_no_consent_is_taken_once_and_forgotten_after_a_week(house: House) -> None:
    register.say(house.store, ConsentAnswer("pi-1", NOW, "Ana", "in a test", NOTHING))
    first, again = (house.merge.put_record("pi-1", "help", CALL) for _ in range(2))
    assert (first.state, first.new, again.state, again.new) == ("merged", True, "merged", False)
    assert house.merge.put_record("pi-2", "help", CALL).state == "refused", "it is another device's"
    assert not house.dataset.records.exists()
    with house.store.reading() as connection:
        (call,) = help_calls.since(connection, NOW - 1)
        assert (call.device, call.wearer) == ("pi-1", "pi-1"), "a device of which nothing is stored is its own wearer"
    house.clock.sleep(8 * 86_400)
    house.merge.put_record("pi-1", "help", HelpRecord("pi-1-b00t-h002", "pi-1", NOW, clock_synced=False))
    with house.store.reading() as connection:
        (late,) = help_calls.since(connection, 0.0)
        assert (late.call_id, late.asked_at) == ("pi-1-b00t-h002", None)


def call(number: int, device: str = "pi-1", walk: str = "pi-1-b00t") -> HelpRecord:
    return HelpRecord(f"{walk}-h{number:03d}", device, NOW, clock_synced=False)


def heard(house: House) -> list[tuple[str, str]]:
    """(device, whose call it is) of each call of the last hour"""
    with house.store.reading() as connection:
        return [(one.device, one.wearer) for one in help_calls.since(connection, house.clock.utc_s() - 3600)]


def test_whose_a_call_is_follows_from_its_walk_and_from_no_later_decision_about_another_s(house: House) -> None:
    """The device was Ada's and is Bob's now; then somebody reviews what Ada sent."""
    house.send(moment(0, wearer="Ada", walk_id="pi-1-a1"))
    house.clock.sleep(60)
    house.send(moment(1, wearer="Bob", walk_id="pi-1-b2"))
    house.clock.sleep(60)
    decision = ReviewDecision("accept", "Ben", "")
    decisions.review(house.store, house.dataset, moment(0).record.chunk_id, decision, now_s=house.clock.utc_s())
    house.merge.put_record("pi-1", "help", call(1, walk="pi-1-new"))
    house.merge.put_record("pi-1", "help", call(1, walk="pi-1-a1"))
    assert heard(house) == [("pi-1", "Bob"), ("pi-1", "Ada")]


def test_a_call_a_week_after_the_only_one_is_told_within_seconds_too(house: House, memory_path: Path) -> None:
    """Its number is another one, although nothing else is left in the table."""
    told: list[str] = []

    def post(_urls: Any, lines: Any) -> tuple[str, ...]:
        told.extend(lines)
        return ()

    people.put(house.home, "Ana", PersonTold(("json://ana",), kinds=("help",)))
    telling = Telling(
        house.home, lambda: items(house), house.clock, ways=TellingWays(post), called=lambda: newest(house)
    )
    house.merge.put_record("pi-1", "help", call(1))
    telling.tick()
    house.clock.sleep(8 * 86_400)
    telling.tick()
    house.merge.put_record("pi-1", "help", call(2))
    telling.tick()
    assert len(told) == 2


def test_calls_are_forgotten_after_a_week_also_where_no_other_comes(house: House) -> None:
    house.merge.put_record("pi-1", "help", call(1))
    house.clock.sleep(8 * 86_400)
    port = deletion.port_of(house.home, house.store, house.dataset, house.clock, house.merge)
    retention.run(port, ConsentSettings())
    assert newest(house) == 0


def test_a_device_that_floods_is_told_of_often_and_not_endlessly_and_hides_no_other_s_call(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    answers = {house.merge.put_record("pi-1", "help", call(number)).state for number in range(1, 200)}
    house.merge.put_record("pi-2", "help", call(1, "pi-2"))  # under the name of a call of pi-1
    assert answers == {"merged"}, "the device need not keep it"
    assert [device for device, _ in heard(house)] == ["pi-1"] * help_calls.MANY + ["pi-2"]
    assert caplog.text.count("called for help") == 1, "one line, however many calls"
    keys = {item.key for item in items(house)}
    assert len(keys) == help_calls.MANY + 1, "each is told by itself"
    house.clock.sleep(help_calls.MANY_S + 1)
    house.merge.put_record("pi-1", "help", call(200))
    assert len(heard(house)) == help_calls.MANY + 2, "a call later is one of them again"
