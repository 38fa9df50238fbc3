"""The pages of consent and deletion, over real HTTP, as each kind of person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from server.consent import register
from server.consent.register import ConsentAnswer
from server.consent.settings import ConsentSettings
from server.consent.terms import GRANTED, NOTHING, SeenBy
from server.privacy import deletion
from server.privacy.blurring import PeopleFinder
from server.privacy.desk import PrivacyDesk
from server.review import decisions
from server.web import ear_words
from server.web.app import create_app
from server.web.person import ALONE, Person, Role
from tests.server.dataset.moments import House, moment, sound, spoken
from tests.server.web.serving import Answer, ask, asked_as, post_json, served

EVE = Person("Eve", Role.CAREGIVER)
ADA = Person("ada", Role.WEARER, frozenset({"Ada"}))
NAME = moment(0).record.chunk_id
ASKS = [ALONE]
"""Who asks: the last."""


@pytest.fixture(scope="module")
def finder() -> PeopleFinder:
    return PeopleFinder(())


@pytest.fixture
def desk(house: House, finder: PeopleFinder) -> PrivacyDesk:
    port = deletion.port_of(house.home, house.store, house.dataset, house.clock, house.merge)
    return PrivacyDesk(port, ConsentSettings(), lambda: finder)


@pytest.fixture
def url(house: House, desk: PrivacyDesk) -> Iterator[str]:
    for n, wearer in enumerate(("Ada", "Ada", "Ben / Co")):
        house.send(moment(n, wearer=wearer, walk_id=f"walk-{n}"))
    app = create_app(house.store, house.dataset, clock=house.clock, privacy=desk)
    asked_as(app, lambda _: ASKS[-1])
    with served(app) as address:
        yield address


@contextmanager
def asking(who: Person) -> Iterator[None]:
    ASKS.append(who)
    try:
        yield
    finally:
        ASKS.pop()


def post(url: str, **values: str) -> Answer:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return ask(url, method="POST", data=urlencode(values).encode(), headers=headers)


def told_by(page: str) -> str:
    """What the page sends back of what it told."""
    return page.partition('name="told" value="')[2].partition('"')[0]


def test_an_admin_reads_and_writes_down_what_a_wearer_agrees_to(url: str, house: House) -> None:
    page = ask(f"{url}/wearers").text
    assert "Nobody has asked them" in page
    assert "All caregivers see them." in page
    one = ask(f"{url}/wearers/Ben%20%2F%20Co")
    assert (one.status, "Consent of Ben / Co" in one.text) == (200, True)
    done = post(f"{url}/wearers/Ben%20%2F%20Co", keep="true", seen="named", named="Eve, Max", days="30", how="on paper")
    assert done.status == 303
    consent = register.read(house.store).of("Ben / Co")
    assert (consent.keep, consent.seen, consent.named, consent.teach, consent.days) == (
        True,
        SeenBy.NAMED,
        ("Eve", "Max"),
        False,
        30,
    )
    (answer,) = register.history(house.store, "Ben / Co")
    assert (answer.said_by, answer.how) == ("caregiver", "on paper")
    assert post(f"{url}/wearers/Ada", days="-1").status == 422
    assert ask(f"{url}/wearers/nobody").status == 404


def test_a_caregiver_sees_consenting_wearers_and_changes_nothing(url: str, house: House) -> None:
    register.say(house.store, ConsentAnswer("Ada", 1.0, "root", "", replace(GRANTED, seen=SeenBy.NOBODY)))
    with asking(EVE):
        page = ask(f"{url}/wearers").text
        assert "Ben / Co" in page
        assert "Ada" not in page
        assert ask(f"{url}/wearers/Ada").status == 404
        assert post(f"{url}/wearers/Ben%20%2F%20Co", keep="true").status == 403
        assert ask(f"{url}/moments/{NAME}/delete").status == 403
        assert post(f"{url}/moments/{NAME}/delete").status == 403
        assert post(f"{url}/moments/{NAME}/blur").status == 404, "a moment that they may not see"
        assert post(f"{url}/walks/walk-2/delete").status == 403
        assert post(f"{url}/wearers/Ada/delete").status == 403
    assert len(house.dataset.rows()) == 3


def test_a_wearer_answers_for_themselves_and_deletes_what_is_theirs(url: str, house: House) -> None:
    with asking(ADA):
        assert post(f"{url}/wearers/Ben%20%2F%20Co", keep="true").status == 403
        assert post(f"{url}/wearers/Ada").status == 303
        assert register.read(house.store).of("Ada") == NOTHING
        asked = ask(f"{url}/moments/{NAME}/delete").text
        assert "1 moment will be deleted for good, with all that people decided there." in asked
        assert decisions.get(house.store, NAME) is not None
        done = post(f"{url}/moments/{NAME}/delete", told=told_by(asked))
        assert (done.status, done.headers["Location"]) == (303, "/deletions/1")
        assert "Deletion 1: 1 moment and 1 record were deleted" in ask(f"{url}/deletions/1").text
        assert decisions.get(house.store, NAME) is None
        assert post(f"{url}/moments/{moment(2).record.chunk_id}/delete").status == 403
        assert "Proof 1: moment, by ada" in ask(f"{url}/deletions").text, "found again without its number"
    with asking(EVE):
        assert "Nothing was deleted yet." in ask(f"{url}/deletions").text, "others' proofs are not theirs"


@pytest.mark.parametrize("what", [f"moments/{NAME}", "walks/walk-0", "wearers/Ada"])
def test_what_was_told_is_what_is_deleted_and_more_that_came_since_is_told_first(
    url: str, house: House, what: str
) -> None:
    address = f"{url}/{what}/delete"
    before = ask(address).text
    house.send(spoken(NAME, sound(7)))
    for told in (told_by(before), "", "0" * 64):
        again = post(address, told=told)
        assert again.status == 409
        assert "Nothing was deleted. Something else would go by now" in again.text
        assert "1 spoken correction" in again.text
        assert len(house.dataset.rows()) == 3
    assert post(address, told=told_by(again.text)).status == 303
    assert decisions.get(house.store, NAME) is None


def test_what_is_still_being_counted_is_confirmed_as_all_there_is_and_a_single_moment_never(
    url: str, house: House
) -> None:
    assert post(f"{url}/moments/{NAME}/delete", told="all").status == 409
    assert post(f"{url}/walks/walk-0/delete", told="all").status == 303
    assert decisions.get(house.store, NAME) is None


def test_an_admin_deletes_a_walk_and_a_wearer(url: str, house: House) -> None:
    assert ask(f"{url}/walks/none/delete").status == 404
    asked = ask(f"{url}/walks/walk-2/delete").text
    assert "Delete the walk walk-2?" in asked
    assert post(f"{url}/walks/walk-2/delete", told=told_by(asked)).status == 303
    asked = ask(f"{url}/wearers/Ada/delete").text
    assert "Nothing of this wearer is stored any more" in asked
    assert post(f"{url}/wearers/Ada/delete", told=told_by(asked)).status == 303
    assert house.dataset.rows() == []
    assert "Proof 2: wearer, by caregiver" in ask(f"{url}/deletions").text
    assert ask(f"{url}/deletions/9").status == 404


def test_where_nothing_is_found_the_page_offers_to_blur_all_of_it(url: str, house: House) -> None:
    page = ask(f"{url}/moments/{NAME}").text
    assert "Blur faces and plates" in page
    assert "Delete the whole walk" in page
    first = post(f"{url}/moments/{NAME}/blur")
    assert (first.status, "Nothing was found to blur" in first.text) == (200, True)
    assert post(f"{url}/moments/{NAME}/blur", whole="true").status == 303
    row = decisions.get(house.store, NAME)
    assert row is not None
    assert row.hidden == "whole"


def test_a_page_offers_to_each_person_what_they_may_do(url: str) -> None:
    links = (f"/moments/{NAME}/delete", "/walks/walk-0/delete")
    for who, offered in ((ALONE, [True, True]), (ADA, [True, False]), (EVE, [False, False])):
        with asking(who):
            page = ask(f"{url}/moments/{NAME}").text
            assert [f'href="{link}"' in page for link in links] == offered, who.name
            assert [ask(f"{url}{link}").status == 200 for link in links] == offered, who.name


def test_by_ear_a_moment_is_deleted_by_whoever_it_belongs_to_and_the_proof_is_told(url: str, house: House) -> None:
    path = f"{url}/api/ear/{NAME}/delete"
    with asking(EVE):
        told = ask(path).json
        assert (told["may"], [part["text"] for part in told["parts"]]) == (False, [ear_words.NOT_YOURS])
        assert post_json(path, {"told": []}).status == 403
    assert decisions.get(house.store, NAME) is not None
    with asking(ADA):
        told = ask(path).json
        assert told["may"]
        assert told["parts"][0]["text"].startswith("1 moment will be deleted for good")
        last = told["parts"][-1]
        assert (last["text"], last["kind"]) == ("It cannot be undone. Enter deletes it. Escape keeps it.", "question")
        assert decisions.get(house.store, NAME) is not None, "asking deletes nothing"
        house.send(spoken(NAME, sound(7)))  # more would go now than was told
        more = post_json(path, {"told": told["told"]})
        assert (more.status, more.json["go_on"]) == (409, False)
        assert more.json["parts"][0]["text"] == ear_words.MORE_WOULD_GO
        assert decisions.get(house.store, NAME) is not None
        told = ask(path).json
        proof = [part["text"] for part in post_json(path, {"told": told["told"]}).json["parts"]]
        assert proof[0] == "Deleted for good: 1 moment and 2 records."
        assert "nothing of it is left" in proof[1]
        assert proof[-1] == "This is proof 1. It stands under Wearers, What was deleted."
        assert ask(path).status == 404
    assert decisions.get(house.store, NAME) is None


def test_a_moment_is_blurred_by_ear_once_it_was_asked_for(url: str, house: House) -> None:
    address = f"{url}/api/ear/{NAME}/blur"
    question = ask(address).json
    assert (question["may"], question["parts"][-1]["kind"]) == (True, "question")
    assert question["parts"][-1]["text"].endswith("It cannot be taken back. Enter does it. Escape leaves it.")
    done = post_json(address, {"done": 0})
    assert (done.status, done.json["id"]) == (200, NAME)
    assert done.json["parts"][0]["text"].startswith("Nothing was found to blur, with ")
    assert done.json["parts"][1]["text"].startswith("Moment 1 of 3.")
    with asking(Person("Eve", Role.CAREGIVER, frozenset({"Ada"}))):
        hidden = moment(2).record.chunk_id
        for what in ("blur", "alike", "walk?way=next"):
            assert ask(f"{url}/api/ear/{hidden}/{what}").status == 404, what
        assert post_json(f"{url}/api/ear/{hidden}/blur", {"done": 0}).status == 404
        sent = {"row_id": f"{NAME}#1", "chosen": [f"{hidden}#1"]}
        went = post_json(f"{url}/api/ear/{NAME}/alike", sent)
        assert (went.status, went.json["parts"][0]["text"]) == (409, ear_words.ONE_WENT), "as one that there is not"
