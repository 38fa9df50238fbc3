"""Several moments decided at once, and where and when a moment was: as plain pages and forms."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from server.dataset.sample_row import SampleRow
from server.review import batches, decisions
from server.review.decisions import ReviewDecision
from server.web.app import create_app
from tests.server.dataset.moments import House, moment, sound, spoken
from tests.server.web.serving import Answer, ask, served
from tests.server.web.test_page import Page

BIN, POLE = "Caution, bin ahead.", "Caution, pole ahead."


@pytest.fixture
def site(house: House) -> Iterator[str]:
    """0 to 2: the device said bin, on two walks; 3: pole; 4: bin, corrected by the wearer; 5, 6: nothing."""
    for n, said in enumerate((BIN, BIN, "bin ahead", POLE, BIN, "", "")):
        house.send(moment(n, raw_output=said, walk_id="walk-2" if n == 2 else "walk-1"))
    house.send(spoken(name(4), sound(9)))
    with served(create_app(house.store, house.dataset, clock=house.clock)) as url:
        yield url


def name(n: int) -> str:
    return f"pi-1-b00t-{n:06d}"


def rows(house: House) -> dict[str, SampleRow]:
    return {row.sample_id: row for row in house.dataset.rows()}


def post(address: str, *fields: tuple[str, str]) -> Answer:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    return ask(address, method="POST", data=urlencode(fields).encode(), headers=headers)


def ticks(html: str) -> list[dict[str, str]]:
    return [tag for tag in Page(html).all("input") if tag.get("name") == "chosen"]


def test_moments_at_which_the_device_said_the_same_stand_together_without_those_of_a_wearers_words(
    site: str, house: House
) -> None:
    html = ask(f"{site}/batch").text
    assert [tag["value"] for tag in ticks(html)] == [rows(house)[name(n)].row_id for n in (2, 1, 0, 6, 5)], (
        "the largest group first, the newest of each first"
    )
    assert not any("checked" in tag for tag in ticks(html)), "nothing is confirmed that nobody ticked"
    assert "The device’s words: <q>Caution, bin ahead.</q>" in html
    assert "The device said nothing" in html
    assert len(Page(html).all("h1")) == 1
    assert 'href="/batch"' in ask(f"{site}/").text


def test_one_decision_is_about_those_that_are_ticked_and_no_others(site: str, house: House) -> None:
    chosen = [("chosen", rows(house)[name(n)].row_id) for n in (0, 2)]
    answer = post(f"{site}/batch", *chosen, ("action", "edit"), ("text", "Stop, curb ahead."))
    assert (answer.status, answer.headers["location"]) == (303, "/batch?done=2#status")
    after = rows(house)
    assert [(after[name(n)].ground_truth, after[name(n)].batch) for n in (0, 1, 2)] == [
        ("Stop, curb ahead.", ""),
        ("", ""),
        ("Stop, curb ahead.", name(0)),
    ]
    assert "2 moments decided." in ask(f"{site}/batch?done=2").text


@pytest.mark.parametrize(
    ("action", "state", "truth"), [("accept", "reviewed", BIN), ("nothing", "reviewed", ""), ("reject", "rejected", "")]
)
def test_each_decision_can_be_taken_for_several(site: str, house: House, action: str, state: str, truth: str) -> None:
    chosen = [("chosen", rows(house)[name(n)].row_id) for n in (0, 1)]
    assert post(f"{site}/batch", *chosen, ("action", action)).status == 303
    assert [(rows(house)[name(n)].state, rows(house)[name(n)].ground_truth) for n in (0, 1)] == [(state, truth)] * 2


def test_words_that_would_be_taught_as_others_are_shown_as_those_and_what_was_ticked_stays_ticked(
    site: str, house: House
) -> None:
    chosen = [("chosen", rows(house)[name(n)].row_id) for n in (0, 1)]
    answer = post(f"{site}/batch", *chosen, ("action", "edit"), ("text", "kerb in front"))
    assert answer.status == 422
    assert "It will be taught as <q>Stop, curb ahead.</q>" in answer.text
    assert {tag["value"] for tag in ticks(answer.text) if "checked" in tag} == {row_id for _, row_id in chosen}
    assert decisions.counts(house.store)["reviewed"] == 0
    [field] = [tag for tag in Page(answer.text).all("input") if tag.get("value") == "Stop, curb ahead."]
    assert post(f"{site}/batch", *chosen, ("action", "edit"), ("text", field["value"])).status == 303
    assert decisions.counts(house.store)["reviewed"] == 2


@pytest.mark.parametrize("typed", ["the moon is full", "x" * 5000, "<script>alert(1)</script>"])
def test_words_that_can_not_be_taught_save_nothing(site: str, house: House, typed: str) -> None:
    chosen = [("chosen", rows(house)[name(n)].row_id) for n in (0, 1)]
    answer = post(f"{site}/batch", *chosen, ("action", "edit"), ("text", typed))
    assert answer.status == 422
    assert "<script>alert" not in answer.text
    assert decisions.counts(house.store)["reviewed"] == 0


def test_one_that_changed_meanwhile_keeps_all_of_them_out(site: str, house: House) -> None:
    chosen = [("chosen", rows(house)[name(n)].row_id) for n in (0, 1)]
    decisions.review(house.store, house.dataset, name(1), ReviewDecision("reject", "Eve"), now_s=1.0)
    answer = post(f"{site}/batch", *chosen, ("action", "accept"))
    assert answer.status == 409
    assert "has changed since you opened the page. Nothing was saved." in answer.text
    assert rows(house)[name(0)].state == "pending"


@pytest.mark.parametrize("row_id", ["none#1", "", "../../etc/passwd#1", "pi-1-b00t-000000"])
def test_moments_that_are_not_there_are_refused(site: str, house: House, row_id: str) -> None:
    assert post(f"{site}/batch", ("chosen", row_id), ("action", "accept")).status == 404
    assert decisions.counts(house.store)["reviewed"] == 0


def test_a_decision_without_a_tick_and_one_from_another_site_are_refused(site: str, house: House) -> None:
    answer = post(f"{site}/batch", ("action", "reject"))
    assert (answer.status, "Tick the moments" in answer.text) == (422, True)
    body = urlencode([("chosen", rows(house)[name(0)].row_id), ("action", "reject")]).encode()
    foreign = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "cross-site"}
    assert ask(f"{site}/batch", method="POST", data=body, headers=foreign).status == 403
    assert decisions.counts(house.store)["rejected"] == 0


def test_groups_are_of_two_or_more(house: House) -> None:
    house.send_all([moment(0, raw_output=BIN), moment(1, raw_output=POLE)])
    assert batches.alike(decisions.listing(house.store)) == []


def test_where_and_when_is_said_on_the_page_and_a_guess_is_shown_as_one(site: str, house: House) -> None:
    said = [("environment", "sidewalk"), ("weather", "rain"), ("lighting", ""), ("scenario", "")]
    answer = post(f"{site}/moments/{name(0)}/where", *said)
    assert answer.headers["location"] == f"/moments/{name(0)}"
    row = rows(house)[name(0)]
    assert (row.environment, row.environment_from, row.weather, row.lighting_from) == ("sidewalk", "person", "rain", "")
    assert "Where and when: sidewalk, rain" in ask(f"{site}/moments/{name(0)}").text
    again = post(f"{site}/moments/{name(0)}/where", ("environment", ""), ("weather", "rain"))
    assert again.status == 303
    assert (rows(house)[name(0)].environment, rows(house)[name(0)].weather) == ("", "rain")


def test_a_guess_stays_one_until_a_person_says_it(site: str, house: House) -> None:
    from server.dataset import surroundings

    surroundings.guess_all(house.store, house.dataset, house.dataset.rows(), now_s=1.0)
    assert "not said yet; looks like day" in ask(f"{site}/moments/{name(0)}").text
    post(f"{site}/moments/{name(0)}/where", ("weather", "clear"))
    assert (rows(house)[name(0)].lighting, rows(house)[name(0)].lighting_from) == ("day", "picture")
    post(f"{site}/moments/{name(0)}/where", ("lighting", "day"), ("weather", "clear"))
    assert rows(house)[name(0)].lighting_from == "person"


@pytest.mark.parametrize("field", [("weather", "hail"), ("mood", "good"), ("page", "-1")])
def test_what_is_no_choice_is_refused(site: str, house: House, field: tuple[str, str]) -> None:
    before = rows(house)[name(0)]
    assert post(f"{site}/moments/{name(0)}/where", field).status == 422
    assert rows(house)[name(0)] == before
    assert post(f"{site}/moments/none/where", ("weather", "rain")).status == 404
