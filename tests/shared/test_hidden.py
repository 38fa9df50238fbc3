"""What a picture of which something was hidden is still good for."""

from __future__ import annotations

import pytest

from shared import hidden, vocabulary


@pytest.mark.parametrize(
    ("said", "sentence", "shows"),
    [
        ("", "Stop, person ahead.", True),
        ("0 regions", "", True),
        ("1 regions", "Caution, pole on the left.", True),
        ("1 regions", "Turn right.", True),
        ("1 regions", "Stop, person ahead.", False),
        ("2 regions", "Stop, vehicle on the left.", False),
        ("2 regions", "Caution, bicycle on the right.", False),
        ("1 regions", "", False),
        ("1 regions", vocabulary.CLEAR, False),
        ("whole", "Caution, pole on the left.", False),
        ("what a later device may say", "Stop, person ahead.", False),
        ("1 regions", "no sentence at all", False),
    ],
)
def test_a_picture_shows_what_was_not_hidden(said: str, sentence: str, shows: bool) -> None:
    assert hidden.shows(said, sentence) is shows


def test_the_kinds_are_things_of_the_vocabulary() -> None:
    assert set(hidden.KINDS) <= set(vocabulary.load().objects)
