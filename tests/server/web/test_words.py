"""How words would be taught, while they are typed."""

from __future__ import annotations

import pytest

from server.web.words import reading
from tests.server.web.serving import ask


@pytest.mark.parametrize(
    ("typed", "wording", "told"),
    [
        ("stop curb ahead", "Stop, curb ahead.", "Will be taught as “Stop, curb ahead.”."),
        (
            "person on left, car approaching from right",
            "Stop, vehicle approaching right.",
            "Left out: person on the left.",
        ),
        ("mind the thingy", "", "'thingy' is not in the vocabulary"),
        ("", "", "No words were given."),
        ("It is safe to cross.", "", "can not be taught"),
    ],
)
def test_words_are_read_as_they_would_be_saved(typed: str, wording: str, told: str) -> None:
    found = reading(typed)
    assert found["wording"] == wording
    assert told in found["told"]


def test_the_page_may_ask_and_nothing_is_written(site: str) -> None:
    before = ask(f"{site}/api/samples?state=all").json
    answer = ask(f"{site}/api/words?text=kerb%20in%20front")
    assert (answer.status, answer.json["wording"]) == (200, "Stop, curb ahead.")
    assert ask(f"{site}/api/words?text={'x' * 5000}").status == 422
    assert ask(f"{site}/api/samples?state=all").json == before
