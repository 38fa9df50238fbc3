"""What a wearer agreed to holds at the merge, for whoever looks, and from the next query on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import pytest
from sqlalchemy import select

from server.consent import register, terms, visible
from server.consent.register import ConsentAnswer
from server.consent.terms import GRANTED, NOTHING, Consent, Consents, SeenBy
from server.database import store as db
from server.dataset.came import Came, FileCame, RecordCame
from server.dataset.sample_row import from_dict
from server.maintenance.check import check
from server.web.person import Person, Role
from shared.clock import ManualClock
from shared.errors import DatasetError, Refused
from tests.server.database.stored import readable
from tests.server.dataset.moments import House, moment, sound, spoken


def say(house: House, wearer: str, consent: Consent) -> None:
    register.say(house.store, ConsentAnswer(wearer, house.clock.utc_s(), "Eve", "on paper", consent))


def files(house: House) -> list[str]:
    return [path.name for path in house.dataset.folder.glob("*/*")]


def test_nobody_was_asked_and_everything_is_as_it_was_before(house: House) -> None:
    house.send(moment(0))
    assert len(house.dataset.rows()) == 1
    assert register.read(house.store).of("Ada") == GRANTED


@pytest.mark.parametrize("parts_first", [False, True])
def test_a_moment_without_consent_is_merged_for_its_device_and_stored_nowhere(house: House, parts_first: bool) -> None:
    say(house, "Ada", replace(GRANTED, keep=False))
    sent = moment(0, context="the red door")
    record = RecordCame("pi-1", "chunk", sent.record)
    parts = []
    for part in sent.record.parts:
        path = house.payload_file(sent.payloads[part.kind])
        parts.append(FileCame("pi-1", sent.record.chunk_id, part, path))
    entries: list[Came] = [*parts, record] if parts_first else [record, *parts]
    outcomes = house.merge.put(entries)
    assert {outcome.state for outcome in outcomes} == {"merged"}
    assert files(house) == []
    assert b"the red door" not in b"".join(readable(path) for path in house.home.rglob("*") if path.is_file())
    assert house.merge.put_record("pi-1", "chunk", sent.record).declined, "sent again it is the same"
    keys = [("pi-1", sent.record.chunk_id, part) for part in sent.record.parts]
    assert house.merge.find_parts(keys) == [True, True], "its files need not come"
    assert register.declined_count(house.store) == 1
    assert check(house.home, ManualClock()).findings == ()


def test_consent_given_later_takes_what_comes_from_then_on(house: House) -> None:
    register.use_default(house.store, "ask", now_s=1.0)
    assert house.send(moment(0))[0].declined
    say(house, "Ada", GRANTED)
    assert not house.send(moment(1))[0].declined
    house.send(moment(0))
    assert len(house.dataset.rows()) == 2, "one that its device still had comes in whole"


def test_a_correction_of_a_wearer_who_does_not_agree_is_not_kept(house: House) -> None:
    house.send(moment(0))
    say(house, "Ada", NOTHING)
    said = spoken(moment(0).record.chunk_id, sound(7))
    assert [outcome.declined for outcome in house.send(said)] == [True, True]
    assert house.merge.unheard() == []


def test_the_log_grows_and_the_newest_answer_counts(house: House) -> None:
    say(house, "Ada", NOTHING)
    say(house, "Ada", GRANTED)
    say(house, "Ben", NOTHING)
    consents = register.read(house.store)
    assert (consents.of("Ada"), consents.of("Ben"), consents.of("Cid")) == (GRANTED, NOTHING, GRANTED)
    assert [(one.said_by, one.how, one.consent) for one in register.history(house.store, "Ada")] == [
        ("Eve", "on paper", NOTHING),
        ("Eve", "on paper", GRANTED),
    ]
    assert register.wearers(house.store) == ["Ada", "Ben"]


@pytest.mark.parametrize(("wearer", "said_by"), [("", "Eve"), (" ", "Eve"), ("A" * 257, "Eve"), ("Ada", "")])
def test_an_answer_of_nobody_is_refused(house: House, wearer: str, said_by: str) -> None:
    with pytest.raises(Refused):
        register.say(house.store, ConsentAnswer(wearer, 1.0, said_by, "", GRANTED))


def test_a_consent_that_cannot_be_read_is_no_consent() -> None:
    with pytest.raises(DatasetError, match="Ask the wearer anew"):
        terms.from_dict({"keep": "perhaps"})


def test_a_wearer_of_whom_everything_was_deleted_is_a_hash_and_nothing_comes_any_more(house: House) -> None:
    say(house, "Ada", GRANTED)
    for _ in range(2):
        with house.store.writing() as connection:
            register.forget_wearer(connection, "Ada", said_by="Eve", now_s=2.0)
    assert register.read(house.store).of("Ada") == NOTHING
    assert len(register.history(house.store, "Ada")) == 2
    assert house.send(moment(0))[0].declined
    say(house, "Ada", GRANTED)
    assert not house.send(moment(1))[0].declined, "asked anew"


PEOPLE = (
    Person("root", Role.ADMIN),
    Person("Eve", Role.CAREGIVER),
    Person("Max", Role.CAREGIVER),
    Person("Max", Role.CAREGIVER, frozenset({"Ada", "pi-9"})),
    Person("ada", Role.WEARER, frozenset({"Ada"})),
    Person("nobody", Role.WEARER, frozenset()),
)
CONSENTS = (
    Consents(),
    Consents({"": NOTHING}),
    Consents({"Ada": NOTHING, "Ben": Consent(seen=SeenBy.NAMED, named=("Max",))}),
    Consents({"": NOTHING, "Ada": GRANTED, "Ben": Consent(seen=SeenBy.NAMED, named=("Eve",))}),
    Consents({"": NOTHING, "pi-9": Consent(seen=SeenBy.CAREGIVERS), terms.hashed("Ben"): NOTHING}),
)


def test_the_clause_says_the_same_as_the_test_of_one_moment(house: House) -> None:
    for n, (wearer, device) in enumerate((("Ada", "pi-1"), ("Ben", "pi-1"), ("Cid", "pi-1"), ("", "pi-9"))):
        house.send(moment(n, wearer=wearer, device=device))
    with house.store.reading() as connection:
        rows = [from_dict(body) for body in connection.execute(select(db.samples.c.body)).scalars()]
        for person, consents in product(PEOPLE, CONSENTS):
            query = select(db.samples.c.sample_id).where(visible.clause(person, consents))
            listed = set(connection.execute(query).scalars())
            assert listed == {row.sample_id for row in rows if visible.allows(person, row, consents)}, (
                person,
                consents,
            )


@dataclass(frozen=True)
class Whose:
    speaker_id: str
    device: str = "pi-1"


def test_who_sees_whom() -> None:
    own_max, named = PEOPLE[3], CONSENTS[2]
    ada = [visible.allows(person, Whose("Ada"), named) for person in PEOPLE]
    ben = [visible.allows(person, Whose("Ben"), named) for person in PEOPLE]
    assert ada == [True, False, False, False, True, False]
    assert ben == [True, False, True, False, False, False]
    assert visible.allows(own_max, Whose("", "pi-9"), Consents()), "a device that says nobody is its own wearer"
