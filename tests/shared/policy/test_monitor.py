"""The monitor between policy and voice: what it stops, and that nothing the policy says is ever stopped."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import monitor, policy, vocabulary
from shared.policy import PolicySettings, Worded
from tests.docs.test_announcements import announcements
from tests.shared.policy.test_safety import Story, events, played
from tests.shared.policy.walk import Walk

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
        assert monitor.stopped(speak.text, tier=speak.tier, why=speak.why, clear_allowed=wished.say_clear) is None


VARIANTS = (
    "Turn left, vehicle approaching ahead.", "Turn left, hole ahead.", "Step up, curb ahead.",
    "Step down, drop-off ahead.", "Turn left, walk signal green.", "Keep straight, hole ahead on the left.",
    "Keep straight, vehicle ahead, bin left.", "Continue straight, curb, bin on the right.",
    "Keep straight, person closing fast ahead.", "Continue straight, scooter closing fast ahead.",
    "Stop, keep walking.", "Caution, continue straight.", "Bear left, drop-off on the left.", "Head across.", "Run.",
    "Jump, hole ahead.", "Follow, train tracks on the left.", "Enter, drop-off on the right.",
    "Continue straight, pole ahead.", "Duck, drop-off ahead.", "Nobody ahead.", "All good.",
    "Keep straight, cars ahead.", "Continue straight, steps down ahead.",
)  # fmt: skip


@pytest.mark.parametrize("text", VARIANTS)
def test_it_stops_variants_that_no_table_has(text: str) -> None:
    assert monitor.stopped(text, tier=3, why="worded")


def test_a_stop_is_not_said_like_a_landmark() -> None:
    assert monitor.stopped("Stop, curb ahead.", tier=3, why="worded")
    assert monitor.stopped("Stop, curb ahead.", tier=2, why="repeat") is None


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
    assert monitor.stopped(vocabulary.CLEAR, tier=3, why="clear", clear_allowed=True) is None
    assert monitor.stopped(vocabulary.CLEAR, tier=3, why="clear")
    assert monitor.stopped(vocabulary.CLEAR, tier=1, why="clear", clear_allowed=True)


def test_news_about_the_device_passes_unless_it_orders_or_promises() -> None:
    for text in (*policy.STATE_TEXTS, "Guidance ready.", "No model. Recording only.", "Storage is working again."):
        assert monitor.stopped(text, tier=2, why="state") is None
    for text in announcements():
        assert monitor.stopped(text, tier=2, why="state") is None
        assert vocabulary.may_be_announced(text)
    for text in (
        "Keep going.",
        "The way is clear.",
        "Cross the street.",
        "You are safe.",
        "Crossing now.",
        "Turn left now.",
        "Vehicle ahead, continue straight.",
        "You may walk on now.",
        "Way is free.",
    ):
        assert monitor.stopped(text, tier=2, why="state")
        assert not vocabulary.may_be_announced(text)


def test_it_knows_everything_that_the_vocabulary_stops_for() -> None:
    """Written twice on purpose; this holds the two together."""
    stops = {name for name, term in vocabulary.load().objects.items() if term.tier == 1}
    for name in stops:
        for order in ("Continue straight", "Keep left", "Turn right", "Enter", "Step up", "Follow"):
            assert monitor.stopped(f"{order}, {name} ahead.", tier=3, why="worded"), name
    assert {
        rule.name for rule in vocabulary.load().opener_rules.values() if rule.go
    } <= monitor.GO | monitor.OTHER_ORDERS


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
