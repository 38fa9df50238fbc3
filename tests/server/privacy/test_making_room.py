"""Space is made by a real home: announced, told, deleted with a proof; nothing else goes."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from sqlalchemy import func, select, update

from server.admin import storage
from server.admin.storage import StorageDay
from server.consent import register
from server.consent.register import ConsentAnswer
from server.consent.settings import ConsentSettings
from server.consent.tables import space_expiries
from server.consent.terms import GRANTED
from server.database import review_tables as tables
from server.database import store as db
from server.dataset import rollups, splits
from server.dataset.worth import Worth
from server.privacy import deletion, making_room, retention
from server.privacy.deletion import DeletionPort
from server.privacy.making_room import SpaceDay, SpaceStanding
from server.privacy.proof import Proof
from server.privacy.space import DAY_S, GB
from server.privacy.space_settings import SpaceSettings
from server.review import decisions
from server.review.decisions import ReviewDecision
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment

TIGHT = SpaceSettings(dataset_most_gb=1e-9, announce_days=7)
"""One byte: all that may go, must."""
CONSENT = ConsentSettings()


def name(n: int) -> str:
    return f"pi-1-b00t-{n:06d}"


@pytest.fixture
def port(house: House) -> DeletionPort:
    """0 rejected, 1 right and drawn by chance, 2 right, 3 and 4 not reviewed, 5 wrong, 6 golden by hand and right."""
    for n in range(7):
        house.send(moment(n, flags=("audit",) if n == 1 else ("wearer",), model_version="m1"))
    for n, action, text in (
        (0, "reject", ""),
        (1, "accept", ""),
        (2, "accept", ""),
        (5, "edit", "Stop."),
        (6, "accept", ""),
    ):
        decisions.review(house.store, house.dataset, name(n), ReviewDecision(action, "Eve", text), now_s=1.7e9 + n)
    splits.mark_moment(house.store, house.dataset, name(6), golden=True, now_s=1.7e9)
    return deletion.port_of(house.home, house.store, house.dataset, house.clock, house.merge)


def left(house: House) -> list[int]:
    return sorted(int(row.sample_id[-6:]) for row in house.dataset.rows())


def room(port: DeletionPort, settings: SpaceSettings = TIGHT, a_day: float = 0.0) -> list[Proof]:
    return making_room.run(port, settings, CONSENT, a_day)


def announced(house: House) -> list[int]:
    with house.store.reading() as connection:
        return sorted(int(one[-6:]) for one in connection.execute(select(space_expiries.c.sample_id)).scalars())


def test_each_moment_has_its_worth_and_keeps_it_up_to_date(house: House, port: DeletionPort) -> None:
    with house.store.reading() as connection:
        found = connection.execute(select(db.samples.c.worth).order_by(db.samples.c.sample_id)).scalars().all()
    expected = [Worth.REJECTED, Worth.ORDINARY, Worth.AGREED, Worth.UNREVIEWED, Worth.UNREVIEWED, Worth.CONFIRMED]
    assert found == [*expected, Worth.GOLDEN]
    with house.store.writing() as connection:  # as an update leaves them
        connection.execute(update(db.samples).values(worth=9))
        connection.execute(tables.rollup_state.delete())
    room(port)
    assert announced(house) == [], "what is not known yet stays"
    rollups.fill(house.store)
    with house.store.reading() as connection:
        again = connection.execute(select(db.samples.c.worth).order_by(db.samples.c.sample_id)).scalars().all()
    assert again == found


def test_nothing_goes_before_its_day_and_what_nobody_reviewed_stays(
    house: House, port: DeletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert room(port) == []
    assert announced(house) == [0, 1, 2, 5, 6]
    assert "5 moments" in caplog.text
    found = making_room.standing(house.store)
    assert (found.moments, found.unreviewed) == (5, 0)
    assert found.short_bytes > 0, "what nobody reviewed is in the way"
    assert "devices keep what they have, and wait" in " ".join(making_room.trouble(found, TIGHT))
    port.clock.sleep(6.9 * DAY_S)
    assert room(port) == []
    port.clock.sleep(0.2 * DAY_S)
    (proof,) = room(port)
    assert (proof.what, proof.by, proof.moments, proof.checked) == ("space", "space", 5, True)
    assert left(house) == [3, 4]
    port.clock.sleep(30 * DAY_S)
    assert room(port) == []
    assert left(house) == [3, 4]


def test_where_an_admin_allows_it_unreviewed_ones_are_announced_too(house: House, port: DeletionPort) -> None:
    allowed = replace(TIGHT, unreviewed=True)
    assert room(port, allowed) == []
    assert announced(house) == list(range(7))
    assert "2 not reviewed" in making_room.in_words(making_room.standing(house.store), allowed)[0]
    room(port, TIGHT)
    assert announced(house) == [0, 1, 2, 5, 6], "taken back"
    room(port, allowed)
    port.clock.sleep(8 * DAY_S)
    house.send(moment(7, flags=("audit",)))
    decisions.review(house.store, house.dataset, name(7), ReviewDecision("reject", "Eve"), now_s=1.7e9)
    room(port, allowed)
    assert left(house) == [6, 7], "golden stays while something else waits for its day"
    port.clock.sleep(8 * DAY_S)
    room(port, allowed)
    assert left(house) == []


def test_no_more_goes_than_is_needed_and_what_is_not_needed_any_more_is_taken_back(
    house: House, port: DeletionPort
) -> None:
    with house.store.reading() as connection:
        stored = connection.execute(select(db.stored_bytes.c.size_bytes)).scalar_one()
        assert stored == connection.execute(select(func.sum(db.parts.c.size_bytes))).scalar_one()
    bound = replace(TIGHT, dataset_most_gb=(stored - 1000) / GB)
    room(port, bound)
    assert announced(house) == [0], "the one that is worth least is enough"
    room(port, replace(bound, dataset_most_gb=2 * stored / GB))
    assert announced(house) == []
    room(port, bound)
    room(port, bound, a_day=stored)
    assert announced(house) == [0, 1, 2, 5, 6], "as it will be in a week"
    port.clock.sleep(8 * DAY_S)
    room(port, bound, a_day=stored)
    assert left(house) == [1, 2, 3, 4, 5, 6]
    with house.store.reading() as connection:
        now = connection.execute(select(db.stored_bytes.c.size_bytes)).scalar_one()
        assert now == connection.execute(select(func.sum(db.parts.c.size_bytes))).scalar_one() < stored
    room(port, SpaceSettings())
    assert announced(house) == []


def test_what_goes_for_its_age_is_left_to_that(house: House, port: DeletionPort) -> None:
    room(port)
    register.say(house.store, ConsentAnswer("Ada", 1.0, "Eve", "", replace(GRANTED, days=3)))
    retention.run(port, CONSENT)
    room(port)
    assert announced(house) == []
    port.clock.sleep(8 * DAY_S)
    room(port)
    assert left(house) == list(range(7)), "consent says when, not space"
    (proof,) = retention.run(port, CONSENT)
    assert proof.what == "age"
    assert left(house) == []


def test_the_commands_say_what_will_be_and_do_it(house: House, port: DeletionPort) -> None:
    with (house.home / "waycue.toml").open("a") as settings:
        settings.write("[space]\ndataset_most_gb = 0.000000001\nannounce_days = 7\n")
    said = server(house.home, "storage").stdout
    assert "How long the disk is enough cannot be told yet" in said
    assert "5 moments" in said
    assert announced(house) == [], "it changes nothing"
    now_s = house.clock.utc_s()
    for n in range(3):
        day = StorageDay(f"2023-11-0{n + 1}", n * 10**9, 5 * 10**9)
        with house.store.writing() as connection:
            connection.execute(db.storage_days.insert().values(day=day.day, used=day.used, free=day.free))
    assert storage.coming_a_day(house.store, now_s=now_s) == pytest.approx(10**9)
    told = json.loads(server(house.home, "storage", "--json").stdout)
    assert told["forecast"]["a_day"] == pytest.approx(10**9)
    assert told["forecast"]["days_left"] == pytest.approx((told["free"] - 1024 * 10**6) / 10**9)
    assert "At 1.00 GB a day it is full in" in server(house.home, "storage").stdout
    assert "5 moments" in server(house.home, "consent", "retention").stdout
    assert announced(house) == [0, 1, 2, 5, 6]
    assert json.loads(server(house.home, "storage", "--json").stdout)["announced"]["announced"][0]["moments"] == 5


def test_reading_in_the_order_of_worth_sorts_nothing(house: House) -> None:
    from sqlalchemy.dialects import sqlite

    query = making_room.query_of(Worth.ORDINARY, (1.0, "a")).compile(
        dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}
    )
    with house.store.reading() as connection:
        steps = " ".join(str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}"))
    assert "ix_samples_worth" in steps
    assert "SCAN" not in steps
    assert "TEMP B-TREE" not in steps


def test_of_many_wearers_a_sentence_names_those_with_the_most() -> None:
    days = tuple(SpaceDay("2026-12-01", f"W{n:02d}", n, 0, 10) for n in range(1, 31))
    (line,) = making_room.announced_in_words(SpaceStanding(announced=days))
    assert line.startswith("465 moments (0.00 GB) may be deleted from 2026-12-01 on")
    assert "(30 of W30, 29 of W29," in line
    assert "21 of W21 and of 20 others)" in line
    assert "1 moment (" in making_room.announced_in_words(SpaceStanding(announced=days), ["W01"])[0]
