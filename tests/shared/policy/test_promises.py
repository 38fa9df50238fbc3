"""The speech policy's promises, on any sequence of events."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shared import policy, vocabulary
from shared.policy import Cut, Flag, Looked, PolicySettings, Speak, Worded, WordIt
from tests.shared.policy.walk import SETTINGS, Hazard, Walk

THINGS = ["curb", "stairs down", "head obstacle", "vehicle", "pole", "bin", "step", "door", "crosswalk", "slope"]
SENTENCES = [
    "Stop, curb ahead.",
    "Caution, pole on the left.",
    "Caution, bin on the right.",
    "Continue straight, crosswalk ahead.",
    "Keep straight, door on the right.",
    "Stop, vehicle approaching left.",
    "Continue straight, path is clear.",
    "Cross now, you are safe.",
    "Cross, safe to cross ahead.",
    "purple monkey",
    "",
]


hazards = st.builds(
    Hazard, st.sampled_from(THINGS), st.sampled_from(vocabulary.SIDES_SEEN), st.sampled_from([0.2, 0.6, 0.7, 0.9, 0.99])
)
looks = st.builds(Looked, st.lists(hazards, max_size=3).map(tuple), st.sampled_from([0.5, 0.5, 0.5, 0.0]), st.just(0.2))
words = st.tuples(st.sampled_from(SENTENCES), st.sampled_from([0.1, 0.55, 0.7, 0.95]), st.sampled_from([0.0, 1.0, 3.0]))
others = st.sampled_from(
    [
        policy.LookFailed(),
        policy.SoundHeard("siren"),
        policy.StateChange("Offline."),
        policy.StateChange("Storage full."),
        policy.StateChange("Guidance updated.", urgent=True),
        policy.StateChange("It is safe to cross."),
        policy.CorrectionListening(on=True),
        policy.CorrectionListening(on=False),
        policy.RepeatAsked(),
        policy.MuteToggled(),
        policy.TimePassed(),
    ]
)
stories = st.lists(st.tuples(st.sampled_from([0.05, 0.25, 0.25, 1.0, 4.0]), st.one_of(looks, looks, words, others)))


def play(story: list[tuple[float, object]], walk: Walk) -> list[tuple[float, object]]:
    """Give every event at its time. Returns what was given, with times."""
    given_events: list[tuple[float, object]] = []
    for gap_s, event in story:
        walk.wait(gap_s)
        if isinstance(event, tuple):
            event = Worded(event[0], event[1], walk.now_s - event[2])
        given_events.append((walk.now_s, event))
        walk.give(event)  # type: ignore[arg-type]  # the strategies above make events only
    return given_events


def guidance(walk: Walk) -> list[tuple[float, Speak]]:
    return [(at_s, speak) for at_s, speak in walk.spoken if speak.why in ("hazard", "worded", "clear")]


def thing(text: str) -> tuple[str, str, int]:
    slots = vocabulary.parse(text)
    assert slots is not None
    side = "ahead" if slots.side in ("", "overhead") else slots.side
    return slots.object or slots.action, side, vocabulary.tier(slots)


@given(stories)
@settings(max_examples=300, deadline=None)
def test_no_guidance_breaks_the_grammar(story: list[tuple[float, object]]) -> None:
    walk = Walk()
    play(story, walk)
    for _, speak in guidance(walk):
        assert vocabulary.problems(speak.text) == []


@given(stories)
@settings(max_examples=300, deadline=None)
def test_the_same_object_side_and_tier_is_never_said_twice_within_ten_seconds_but_for_another_thing_to_stop_for(
    story: list[tuple[float, object]],
) -> None:
    walk = Walk()
    given_events = play(story, walk)
    looked = [
        (at_s, {(h.object, h.side) for h in event.hazards if h.score >= SETTINGS.hazard_above and event.brightness > 0})
        for at_s, event in given_events
        if isinstance(event, Looked)
    ]
    last: dict[tuple[str, str, int], float] = {}
    for at_s, speak in guidance(walk):
        name, side, tier = key = thing(speak.text)
        before_s = last.get(key, -100.0)
        if tier == 1 and at_s - before_s < SETTINGS.repeat_after_s:
            assert at_s - before_s > SETTINGS.warning_gone_after_s
            between = [seen for t_s, seen in looked if before_s < t_s < at_s]
            assert sum((name, side) not in seen for seen in between) >= SETTINGS.looks_window, "it never left"
        else:
            assert at_s - before_s >= SETTINGS.repeat_after_s
        last[key] = at_s


@given(stories)
@settings(max_examples=300, deadline=None)
def test_only_a_higher_tier_cuts(story: list[tuple[float, object]]) -> None:
    walk = Walk()
    play(story, walk)
    by_utterance = {speak.utterance: speak for _, speak in walk.spoken}
    for position, (at_s, action) in enumerate(walk.actions):
        if not isinstance(action, Cut):
            continue
        follower = walk.actions[position + 1]
        assert follower[0] == at_s
        assert isinstance(follower[1], Speak)
        cut, by = by_utterance[action.utterance], follower[1]
        assert cut.tier > 1, "nothing cuts a warning"
        assert by.tier < cut.tier or by.why == "state"


@given(stories)
@settings(max_examples=300, deadline=None)
def test_what_is_not_a_certain_warning_was_seen_in_two_of_the_last_three_looks(
    story: list[tuple[float, object]],
) -> None:
    walk = Walk()
    evidence: list[set[tuple[str, str]]] = []
    for gap_s, event in story:
        walk.wait(gap_s)
        if isinstance(event, tuple):
            event = Worded(event[0], event[1], walk.now_s - event[2])
        if isinstance(event, Looked):
            dark = event.brightness < SETTINGS.dark_below
            seen = [] if dark else [h for h in event.hazards if h.score >= SETTINGS.hazard_above]
            evidence.append({(h.object, h.side) for h in seen})
        if isinstance(event, Worded) and not vocabulary.problems(event.text) and event.confidence >= 0.6:
            name, side, _ = thing(event.text)
            if not evidence:
                evidence.append(set())
            evidence[-1].add((name, side))
        for action in walk.give(event):  # type: ignore[arg-type]
            if isinstance(action, Speak) and action.why in ("hazard", "worded"):
                name, side, tier = thing(action.text)
                at_once = tier == 1 and action.confidence >= SETTINGS.at_once_above
                assert at_once or sum((name, side) in look for look in evidence[-3:]) >= 2


@given(stories)
@settings(max_examples=300, deadline=None)
def test_every_state_change_is_spoken_to_its_end_or_spoken_again(story: list[tuple[float, object]]) -> None:
    walk = Walk()
    events = play(story, walk)
    walk.give(policy.WalkEnded())
    walk.give(policy.CorrectionListening(on=False))
    for _ in range(60):
        walk.wait(2.0)
        walk.give(policy.TimePassed())
    cut = {utterance for _, utterance in walk.cuts}
    for at_s, event in events:
        if isinstance(event, policy.StateChange) and "safe" not in event.text:
            ended = [
                s for spoken_s, s in walk.spoken if s.text == event.text and s.utterance not in cut and spoken_s >= at_s
            ]
            assert ended, f"{event.text} at {at_s} was never said whole"


@given(stories)
@settings(max_examples=300, deadline=None)
def test_words_of_tiers_two_and_three_stay_within_their_budget(story: list[tuple[float, object]]) -> None:
    walk = Walk(PolicySettings(words_per_minute_max=20))
    play(story, walk)
    spent = [
        (at_s, len(vocabulary.words(speak.text)))
        for at_s, speak in guidance(walk)
        if vocabulary.tier(vocabulary.parse(speak.text) or vocabulary.Slots("")) > 1
    ]
    for at_s, _ in spent:
        assert sum(count for then_s, count in spent if at_s - 60.0 < then_s <= at_s) <= 20


@given(stories)
@settings(max_examples=200, deadline=None)
def test_clear_is_never_said_unless_the_wearer_turned_it_on(story: list[tuple[float, object]]) -> None:
    walk = Walk()
    play(story, walk)
    assert not [speak for _, speak in walk.spoken if "clear" in speak.text.lower()]


@given(stories)
@settings(max_examples=200, deadline=None)
def test_muted_means_warnings_and_state_changes_only(story: list[tuple[float, object]]) -> None:
    walk = Walk()
    walk.give(policy.MuteToggled())
    play([(gap, event) for gap, event in story if not isinstance(event, policy.MuteToggled)], walk)
    assert all(speak.tier == 1 for _, speak in guidance(walk))


@given(stories, st.sampled_from([("warnings", 1), ("obstacles", 2), ("all", 3)]))
@settings(max_examples=200, deadline=None)
def test_verbosity_bounds_the_tiers_that_are_spoken(story: list[tuple[float, object]], choice: tuple[str, int]) -> None:
    walk = Walk(PolicySettings(verbosity=choice[0]))  # type: ignore[arg-type]  # drawn from the literals
    play(story, walk)
    assert all(speak.tier <= choice[1] for _, speak in guidance(walk))


@given(stories)
@settings(max_examples=200, deadline=None)
def test_the_decoder_runs_only_on_a_look_and_unsure_words_are_flagged(story: list[tuple[float, object]]) -> None:
    walk = Walk()
    for gap_s, event in story:
        walk.wait(gap_s)
        if isinstance(event, tuple):
            event = Worded(event[0], event[1], walk.now_s - event[2])
        actions = walk.give(event)  # type: ignore[arg-type]
        assert isinstance(event, Looked) or WordIt() not in actions
        if isinstance(event, Worded) and event.confidence < SETTINGS.flag_below:
            assert Flag("low_confidence") in actions
