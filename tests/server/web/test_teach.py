"""The page that has a thing taught at once, with the real files, lock and child process behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from server.review import decisions, teaching
from server.review.decisions import ReviewDecision
from server.review.teaching import ENDED, FAILED, INTERRUPTED, RUNNING, Lessons, TeachState
from server.web.app import create_app
from server.web.teach import left
from shared import file_lock
from tests.server.dataset.moments import House, moment
from tests.server.web.serving import Answer, ask, served
from tests.server.web.test_page import Page


@pytest.fixture
def site(house: House) -> Iterator[str]:
    """A server with four confirmed moments of a cone and two of a bin, where three are enough."""
    house.send_all([moment(n, raw_output="Caution, bin ahead.") for n in range(6)])
    for row in house.dataset.rows():
        truth = "Caution, cone ahead." if int(row.sample_id[-6:]) < 4 else "Caution, bin ahead."
        decisions.review(house.store, house.dataset, row.sample_id, ReviewDecision("edit", "Eve", truth), now_s=1.0)
    lessons = Lessons(house.home, lambda _: teaching.teachable(house.dataset.rows(), (), least=3), house.clock, least=3)
    with served(create_app(house.store, house.dataset, clock=house.clock, lessons=lessons)) as url:
        yield url


def press(site: str, thing: str) -> Answer:
    return ask(
        f"{site}/teach",
        method="POST",
        data=urlencode({"thing": thing}).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"},
    )


def buttons(html: str) -> list[str]:
    return [button["value"] for button in Page(html).all("button") if button.get("name") == "thing"]


def test_what_has_enough_moments_has_a_button_and_the_rest_says_how_many_are_needed(site: str) -> None:
    html = ask(f"{site}/teach").text
    assert buttons(html) == ["cone"]
    assert "2 new confirmed moments, 3 are needed" in html
    assert len(Page(html).all("h1")) == 1
    assert 'href="/teach"' in ask(f"{site}/").text


def test_a_site_without_lessons_has_no_such_page(house: House) -> None:
    with served(create_app(house.store, house.dataset, clock=house.clock)) as url:
        assert ask(f"{url}/teach").status == 404
        assert "/teach" not in ask(f"{url}/").text


def test_a_press_starts_a_process_and_the_page_tells_why_it_failed(site: str, house: House) -> None:
    (house.home / "waycue.toml").write_text("[learn]\nsteps = 'many'\n")
    assert press(site, "cone").status in (200, 303)
    deadline = time.monotonic() + 120
    while teaching.state_of(house.home).phase == RUNNING and time.monotonic() < deadline:
        threading.Event().wait(0.1)
    state = teaching.state_of(house.home)
    assert (state.phase, state.thing) == (FAILED, "cone")
    html = ask(f"{site}/teach").text
    assert "Teaching cone failed" in html
    assert "steps" in html, "which setting is wrong"
    assert buttons(html) == ["cone"], "it may be asked for again"


@pytest.mark.parametrize(("thing", "status"), [("bin", 422), ("unicorn", 422), ("x" * 99, 422)])
def test_what_may_not_be_taught_is_refused_with_a_reason_and_nothing_starts(
    site: str, house: House, thing: str, status: int
) -> None:
    answer = press(site, thing)
    assert answer.status == status
    assert teaching.state_of(house.home) == TeachState()


def test_while_one_is_taught_the_page_shows_how_far_and_offers_no_other(site: str, house: House) -> None:
    with file_lock.locked(house.home / "teach.lock"):
        teaching.write(house.home, TeachState(RUNNING, "cone", "train", 0.4, 31.0))
        html = ask(f"{site}/teach").text
        assert "Teaching cone: learning." in html
        assert "40 % done, about 30 seconds left" in html
        assert 'http-equiv="refresh"' in html
        assert buttons(html) == []
        assert press(site, "cone").status == 409
    html = ask(f"{site}/teach").text
    assert "was interrupted" in html
    assert 'http-equiv="refresh"' not in html
    assert buttons(html) == ["cone", "cone"], "go on, or anew"
    assert teaching.state_of(house.home).phase == INTERRUPTED


@pytest.mark.parametrize(
    ("outcome", "words"),
    [("promoted", "is in use now"), ("trial", "sighted companion"), ("refused", "model in use stays")],
)
def test_what_came_of_it_is_said_in_plain_words_with_the_reasons(
    site: str, house: House, outcome: str, words: str
) -> None:
    reasons = ("It sees <cones> less often.",)
    teaching.write(house.home, TeachState(ENDED, "cone", "", 1.0, 0.0, 0.0, 55.4, outcome, reasons, "n2-abc"))
    html = ask(f"{site}/teach").text
    assert "Taught cone in 55 seconds." in html
    assert words in html
    assert "It sees &lt;cones&gt; less often." in html


def test_the_time_that_is_left_is_rounded_and_absent_where_it_is_not_known() -> None:
    assert left(TeachState(RUNNING, eta_s=None)) == ""
    assert left(TeachState(ENDED, eta_s=3.0)) == ""
    assert left(TeachState(RUNNING, eta_s=1.0)) == "about 5 seconds"
    assert left(TeachState(RUNNING, eta_s=300.0)) == "about 5 minutes"
