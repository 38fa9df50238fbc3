"""Which side a sentence is about, and which kind of sound comes before it."""

from __future__ import annotations

import pytest

from shared import policy, vocabulary
from shared.guidance.placing import side_of
from shared.sides import Side


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("Stop, curb ahead.", Side.AHEAD),
        ("Caution, pole on the left.", Side.LEFT),
        ("Caution, pole slightly right.", Side.RIGHT),
        ("Duck, head obstacle.", Side.AHEAD),
        ("Not sure, check left.", Side.LEFT),
        ("Not sure, check ahead.", Side.AHEAD),
        ("Camera blocked.", None),
        ("Voice is back.", None),
        ("", None),
        ("left left left", None),
    ],
)
def test_the_side_is_that_of_the_thing_that_is_named(text: str, side: Side | None) -> None:
    assert side_of(text) is side


def test_every_warning_has_a_side_and_no_state_has_one_but_doubt() -> None:
    for name in vocabulary.load().objects:
        for place in vocabulary.SIDES_SEEN:
            text = vocabulary.instruct(name, place)
            assert side_of(text) is not None, text
    of_state = [text for text in policy.STATE_TEXTS if side_of(text) is not None]
    assert of_state == list(policy.NOT_SURE.values())
