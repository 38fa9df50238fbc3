"""The rules of a good instruction, explained while one types."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dataset import rules
from shared import vocabulary


def broken(text: str) -> set[str]:
    return {check.rule for check in rules.checks(text) if not check.kept}


@pytest.mark.parametrize(
    ("text", "rules_broken"),
    [
        ("Stop, curb ahead.", set()),
        ("Turn right at the corner.", set()),
        ("Stop, car approaching from left.", set()),
        ("Caution, stairs going down.", set()),
        ("There is a curb in front of you.", {"verb", "vocabulary"}),
        (
            "Okay, now you should get ready to make a right turn at the upcoming corner.",
            {"verb", "words", "vocabulary"},
        ),
        ("Stop, ledge ahead.", {"vocabulary"}),
        ("Caution, blockage ahead.", {"vocabulary"}),
        ("sidewalk and car", {"verb", "safety", "vocabulary"}),
        ("Continue straight, curb ahead.", {"safety", "vocabulary"}),
        ("mind the unicorn", {"vocabulary"}),
    ],
)
def test_each_rule_is_held_against_the_seeds_examples(text: str, rules_broken: set[str]) -> None:
    assert broken(text) == rules_broken


def test_every_sentence_that_may_be_taught_keeps_every_rule() -> None:
    for text in list(vocabulary.sayable())[::7]:
        unkept = broken(text) - {"words"}  # "Stop." is an instruction, and short
        assert not unkept, (text, unkept)


@given(st.text(max_size=60))
def test_any_half_typed_text_gets_one_line(text: str) -> None:
    assert "\n" not in rules.line(text)
