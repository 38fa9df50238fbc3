"""What has reached its age is announced first, and nothing goes silently."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import event

from server.consent import register
from server.consent.register import ConsentAnswer
from server.consent.settings import ConsentSettings
from server.consent.terms import GRANTED, Consents
from server.database import store as db
from server.privacy import deletion, retention
from server.privacy.retention import DAY_S, AgedMoment
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared.messages import EraseRecord
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment

SETTINGS = ConsentSettings(days=100, announce_days=14, unreviewed_days=30)
TAKEN = 1_700_000_000.0


def aged(name: str, wearer: str = "Ada", *, reviewed: bool = True, days: float = 0.0) -> AgedMoment:
    return AgedMoment(name, wearer, -days * DAY_S, reviewed)


def test_when_a_moment_has_reached_its_age() -> None:
    consents = Consents({"Ben": replace(GRANTED, days=10), "Cid": replace(GRANTED, days=500)})

    def ends(moment: AgedMoment, settings: ConsentSettings = SETTINGS) -> tuple[float, bool] | None:
        end = retention.ends_at(moment, consents, settings)
        return None if end is None else (end[0] / DAY_S, end[1])

    assert ends(aged("a")) == (100, False)
    assert ends(aged("a", reviewed=False)) == (130, False)
    assert ends(aged("a", "Ben", reviewed=False)) == (10, True), "never longer than the wearer said"
    assert ends(aged("a", "Cid")) == (100, False)
    assert ends(aged("a", "Cid"), ConsentSettings()) == (500, True)
    assert ends(aged("a"), ConsentSettings()) is None


def test_what_was_too_old_already_is_announced_first_and_then_goes() -> None:
    old, consents = aged("a", days=1000), Consents()
    first = retention.decide([old], {}, consents, SETTINGS, 0.0)
    assert (first.due, [one.delete_at / DAY_S for one in first.announced]) == ((), [14])
    later = retention.decide([old], {"a": 0.0}, consents, SETTINGS, 13.9 * DAY_S)
    assert later.due == ()
    (due,) = retention.decide([old], {"a": 0.0}, consents, SETTINGS, 14 * DAY_S).due
    assert due.sample_id == "a"


def test_a_wearers_own_days_wait_for_no_announcement() -> None:
    consents = Consents({"Ada": replace(GRANTED, days=10)})
    assert retention.decide([aged("a", days=11)], {}, consents, SETTINGS, 0.0).due
    (soon,) = retention.decide([aged("a", days=1)], {}, consents, SETTINGS, 0.0).announced
    assert soon.delete_at == 9 * DAY_S


def test_rounds_announce_then_delete_and_forget_what_has_no_end_any_more(house: House) -> None:
    for n, wearer in enumerate(("Ada", "Ada", "Ben")):
        house.send(moment(n, wearer=wearer))
    reviewed = "pi-1-b00t-000000"
    decisions.review(house.store, house.dataset, reviewed, ReviewDecision("nothing", "Eve"), now_s=TAKEN)
    port = deletion.port_of(house.home, house.store, house.dataset, house.clock, house.merge)
    port.clock.sleep(90 * DAY_S)
    assert retention.run(port, SETTINGS) == []
    found = retention.look(house.store, SETTINGS, house.clock.utc_s())
    assert [one.sample_id for one in found.announced] == [reviewed]
    assert retention.in_words(found) == ["1 moment will be deleted on 2024-02-26 (1 of Ada), 0 not reviewed."]
    port.clock.sleep(15 * DAY_S)
    (proof,) = retention.run(port, SETTINGS)
    assert (proof.what, proof.moments, proof.by, proof.checked) == ("age", 1, "consent.days", True)
    assert decisions.get(house.store, reviewed) is None
    port.clock.sleep(20 * DAY_S)
    assert retention.run(port, SETTINGS) == []
    told = retention.look(house.store, SETTINGS, house.clock.utc_s())
    assert [one.reviewed for one in told.announced] == [False, False]
    register.say(house.store, ConsentAnswer("Ben", 1.0, "Eve", "", replace(GRANTED, days=1)))
    (proof,) = retention.run(port, SETTINGS)
    assert [row.speaker_id for row in house.dataset.rows()] == ["Ada"]
    assert retention.run(port, ConsentSettings()) == []
    assert retention.look(house.store, ConsentSettings(), house.clock.utc_s()).announced == ()


def test_the_command_says_and_does_it(house: House) -> None:
    house.send(moment(0))
    assert "Nothing has reached its age" in server(house.home, "consent", "retention", "--dry-run").stdout
    assert server(house.home, "consent", "set", "Ada", "--days", "5", "--as", "Eve").returncode == 0
    assert "Due now: 1 moment" in server(house.home, "consent", "retention", "--dry-run").stdout
    assert len(house.dataset.rows()) == 1
    assert "Deletion 1: 1 moment" in server(house.home, "consent", "retention").stdout
    assert house.dataset.rows() == []
    assert "Deletion 1: 1 moment" in server(house.home, "consent", "proofs").stdout


def test_what_is_written_down_of_a_wearer_is_told(house: House) -> None:
    house.send(moment(0))
    assert "Ada: 1 moment (nobody has asked)" in server(house.home, "consent", "list").stdout
    named = ("--seen", "named", "--account", "Max", "--teach", "no", "--how", "on paper", "--as", "Eve")
    done = server(house.home, "consent", "set", "Ada", *named)
    assert "Only the wearer, the admins and Max see them." in done.stdout
    shown = server(house.home, "consent", "show", "Ada").stdout
    assert "They teach nothing." in shown
    assert "Eve: on paper" in shown
    done = server(house.home, "consent", "set", "Ada", "--withdraw", "--as", "Eve")
    assert 'samples delete --wearer "Ada"' in done.stdout
    assert house.send(moment(1))[0].declined
    assert server(house.home, "consent", "set", "Ada", "--days", "-1").returncode == 1
    assert "1 records were not stored" in server(house.home, "consent", "list").stdout


@pytest.mark.both_databases
def test_an_erasure_waits_for_no_vacuum_and_the_round_after_it_gives_the_room_back(house: House) -> None:
    """PostgreSQL goes through all tables for it; SQLite empties its WAL at once."""
    house.send_all([moment(0), moment(1)])
    said: list[str] = []
    event.listen(house.store.engine, "before_cursor_execute", lambda *call: said.append(call[2]))
    wish = EraseRecord("pi-1-e1", "pi-1", asked_at_utc=1.0, record_ids=("pi-1-b00t-000000",))
    house.merge.put_record("pi-1", "erase", wish)
    wal = house.home / f"{db.DATABASE_NAME}-wal"
    assert [text for text in said if "VACUUM" in text] == []
    if house.store.wipes_at_once:
        assert wal.stat().st_size == 0
    retention.run(deletion.port_of(house.home, house.store, house.dataset, house.clock, house.merge), SETTINGS)
    assert len([text for text in said if "VACUUM" in text]) == (0 if house.store.wipes_at_once else 1)
