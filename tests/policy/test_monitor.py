"""The monitor between policy and voice: what it stops, and that nothing the policy says is ever stopped."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import monitor, policy, vocabulary
from shared.policy import PolicySettings, Worded
from tests.policy.test_safety import Story, events, played
from tests.policy.walk import Walk

DEADLY = (
    "Cross, vehicle ahead.", "Continue straight, vehicle ahead.", "Enter, drop-off ahead.", "Cross now, path is clear.",
    "Keep straight, stairs down ahead.", "Continue straight, walk signal green ahead.", "You are safe.",
    "Continue straight, path is clear.", "Move left, bin on the left.", "Do not stop, curb ahead.", "Go now.",
)  # fmt: skip
worded = st.sampled_from([*DEADLY, *sorted(vocabulary.sayable())[::7], "Stop, car approaching from left.", "x" * 500])
wordings = st.builds(Worded, worded, st.sampled_from([0.1, 0.7, 0.99]), st.sampled_from([0.0, 0.5, 4.0]))
news = st.builds(
    policy.StateChange, st.sampled_from([*DEADLY, "It is safe to cross.", "Offline.", "Keep going."]), st.booleans()
)
stories = st.lists(
    st.tuples(st.sampled_from([0.05, 0.25, 0.25, 1.0, 4.0]), st.one_of(events, wordings, wordings, news)), max_size=120
)


@pytest.mark.parametrize("wished", [PolicySettings(), PolicySettings(say_clear=True, confirmations=True, lead="early")])
@given(story=stories)
@settings(max_examples=150, deadline=None)
def test_no_events_make_the_policy_speak_what_the_monitor_would_stop(wished: PolicySettings, story: Story) -> None:
    walk = Walk(wished)
    played(story, walk)
    for _, speak in walk.spoken:
        assert monitor.stopped(speak.text, tier=speak.tier, why=speak.why, clear_allowed=wished.say_clear) == ""


@pytest.mark.parametrize("text", DEADLY)
@pytest.mark.parametrize("tier", [1, 2, 3])
def test_it_stops_what_is_deadly_whatever_its_tier(text: str, tier: int) -> None:
    assert monitor.stopped(text, tier=tier, why="worded")


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        ("Stop, curb ahead", 1),
        ("stop, curb ahead.", 1),
        ("Stop, curb ahead. Continue straight.", 1),
        ("Turn left, curb ahead.", 1),
        ("Stop, vehicle approaching on the left.", 1),
        ("Caution, one two three four five six seven eight.", 3),
        ("", 3),
        ("Stop, curb ahead <speak>.", 1),
    ],
)
def test_it_stops_what_is_no_short_plain_sentence(text: str, tier: int) -> None:
    assert monitor.stopped(text, tier=tier, why="hazard")


def test_a_clear_way_passes_only_where_the_wearer_wants_it_and_never_as_a_warning() -> None:
    assert monitor.stopped(vocabulary.CLEAR, tier=3, why="clear", clear_allowed=True) == ""
    assert monitor.stopped(vocabulary.CLEAR, tier=3, why="clear")
    assert monitor.stopped(vocabulary.CLEAR, tier=1, why="clear", clear_allowed=True)


def test_news_about_the_device_passes_unless_it_orders_or_promises() -> None:
    for text in (*policy.STATE_TEXTS, "Guidance ready.", "No model. Recording only.", "Storage is working again."):
        assert monitor.stopped(text, tier=2, why="state") == ""
    for text in ("Keep going.", "The way is clear.", "Cross the street.", "You are safe."):
        assert monitor.stopped(text, tier=2, why="state")


def test_it_knows_everything_that_the_vocabulary_stops_for() -> None:
    """Written twice on purpose; this holds the two together."""
    stops = {name for name, term in vocabulary.load().objects.items() if term.tier == 1}
    assert stops <= set(monitor.ENDS_THE_WAY)
    assert {rule.name for rule in vocabulary.load().opener_rules.values() if rule.go} <= monitor.GO


def test_a_clear_way_is_not_repeated_when_the_wearer_asks_again() -> None:
    walk = Walk(PolicySettings(say_clear=True))
    for _ in range(20):
        walk.look()
        walk.wait(0.25)
    walk.give(Worded(vocabulary.CLEAR, 0.99, walk.now_s))
    assert [speak.why for _, speak in walk.spoken] == ["clear"]
    walk.wait(30.0)
    walk.give(policy.RepeatAsked())
    assert walk.spoken[-1][1].text == "Nothing said yet."
