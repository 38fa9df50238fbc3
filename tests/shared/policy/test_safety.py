"""What a blind walker relies on most, on long random walks: warnings at once, nothing stale, nothing untrue."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import policy, vocabulary
from shared.lens import LensTrouble
from shared.policy import Cut, Duck, Event, Flag, Looked, PolicySettings, PolicyState, Speak, Viewed, Worded
from tests.shared.policy.walk import SETTINGS, Hazard, Walk

THINGS = ["curb", "stairs down", "head obstacle", "vehicle", "pole", "bin", "step", "door", "crosswalk", "sidewalk"]
SENTENCES = [
    "Stop, curb ahead.", "Stop, vehicle approaching left.", "Caution, pole on the left.", "Caution, bin ahead.",
    "Keep straight, door on the right.", "Keep straight, sidewalk ahead.", "Continue straight, path is clear.",
    "Cross, safe to cross ahead.", "purple monkey", "",
]  # fmt: skip
LENSES = st.sampled_from([None, None, None, None, *policy.LENS_TEXTS])
AGES = st.sampled_from([0.0, 0.1, 0.1, 0.5, 1.5, 2.5, 4.0, 8.0])
hazards = st.builds(
    Hazard, st.sampled_from(THINGS), st.sampled_from(vocabulary.SIDES_SEEN), st.sampled_from([0.2, 0.6, 0.7, 0.9, 0.99])
)
looks = st.builds(Looked, st.lists(hazards, max_size=3).map(tuple), st.just(0.5), st.just(0.2), LENSES, AGES)
words = st.builds(Worded, st.sampled_from(SENTENCES), st.sampled_from([0.1, 0.55, 0.7, 0.95]), AGES)
LINK, CAMERA = ("Offline.", "Back online."), (*policy.LENS_TEXTS.values(), "Camera back.")
VOICE = ("Muted. Warnings only.", "Voice on.")
others = st.sampled_from(
    [
        policy.LookFailed(), policy.SoundHeard("siren"), policy.SoundHeard("horn"), policy.SoundHeard("dog bark"),
        policy.StateChange("Offline.", about="link"), policy.StateChange("Back online.", about="link"),
        policy.StateChange("A moment was refused."), policy.CorrectionListening(on=True),
        policy.CorrectionListening(on=False),
        policy.RepeatAsked(), policy.MuteToggled(), policy.TimePassed(), policy.VoiceLost(), policy.VoiceFound(),
    ]
)  # fmt: skip
events = st.one_of(looks, looks, looks, words, words, st.builds(Viewed, LENSES), others)
stories = st.lists(st.tuples(st.sampled_from([0.05, 0.25, 0.25, 0.25, 1.0, 4.0]), events), min_size=1, max_size=120)
Story = list[tuple[float, Event]]


def at_now(event: Event, now_s: float) -> Event:
    """The drawn ages become times."""
    if isinstance(event, Looked | Worded) and event.seen_at_s is not None:
        return replace(event, seen_at_s=now_s - event.seen_at_s)
    return event


def age_s(event: Event, now_s: float) -> float:
    return now_s - event.seen_at_s if isinstance(event, Looked | Worded) and event.seen_at_s is not None else 0.0


def played(story: Story, walk: Walk) -> list[tuple[float, Event, PolicyState, tuple[policy.Action, ...]]]:
    """(when, event, state before it, actions) of a whole walk."""
    out = []
    for gap_s, drawn in story:
        walk.wait(gap_s)
        event = at_now(drawn, walk.now_s)
        before = walk.state
        out.append((walk.now_s, event, before, walk.give(event)))
    return out


@given(stories)
@settings(max_examples=150, deadline=None)
def test_a_certain_new_warning_always_goes_out_in_its_own_step_and_cuts_whatever_is_lower(story: Story) -> None:
    walk, warned = Walk(), set[tuple[str, str]]()
    for now_s, event, before, actions in played(story, walk):
        spoken = [action for action in actions if isinstance(action, Speak) and action.tier == 1]
        blind = isinstance(event, Looked) and event.lens in policy.BLINDING
        if isinstance(event, Looked) and not blind and age_s(event, now_s) <= SETTINGS.warning_stale_after_s:
            due = [h for h in event.hazards if h.score >= SETTINGS.at_once_above and vocabulary.tier(slots_of(h)) == 1]
            due = [h for h in due if (h.object, h.side) not in warned]
            speaking = before.speaking
            over = speaking is None or now_s - speaking.since_s > SETTINGS.warning_timeout_s
            if due and (over or (speaking is not None and speaking.rank > 1)):
                assert len(spoken) == 1, f"{due} kept silent at {now_s}"
                if speaking is not None and not over:
                    assert Cut(speaking.utterance) in actions
        warned |= {thing(speak.text) for speak in spoken}


def slots_of(hazard: Hazard) -> vocabulary.Slots:
    return vocabulary.Slots("", hazard.object, hazard.side)


def thing(text: str) -> tuple[str, str]:
    slots = vocabulary.parse(text)
    assert slots is not None
    return slots.object, "ahead" if slots.side in ("", "overhead") else slots.side


@given(stories)
@settings(max_examples=150, deadline=None)
def test_nothing_is_said_about_an_old_or_a_blind_picture(story: Story) -> None:
    walk = Walk()
    for now_s, event, _, actions in played(story, walk):
        for action in actions:
            if isinstance(action, Speak) and action.why in ("hazard", "worded", "unsure", "clear"):
                most_s = SETTINGS.stale_after_s if action.tier == 3 else SETTINGS.warning_stale_after_s
                assert age_s(event, now_s) <= most_s
                assert not (isinstance(event, Looked) and event.lens in policy.BLINDING)
                assert not isinstance(event, Looked) or not event.lens or action.tier == 1


def newest(story: Story, of: tuple[str, ...], upto: int) -> str:
    texts = [event.text for _, event in story[: upto + 1] if isinstance(event, policy.StateChange) and event.text in of]
    return texts[-1] if texts else ""


@given(stories)
@settings(max_examples=150, deadline=None)
def test_news_that_is_begun_is_true_and_the_last_word_about_a_thing_is_true(story: Story) -> None:
    walk = Walk()
    for number, (gap_s, drawn) in enumerate(story):
        begun = len(walk.spoken)
        walk.wait(gap_s)  # what waits may be begun here: it must be true of the events so far
        for at, upto in ((begun, number - 1), (None, number)):
            if at is None:
                at = len(walk.spoken)
                walk.give(at_now(drawn, walk.now_s))
            for _, speak in walk.spoken[at:]:
                if speak.why == "state" and speak.text in LINK:
                    assert speak.text == newest(story, LINK, upto)
    settle(walk)
    said = [speak.text for _, speak in walk.spoken if speak.why == "state"]
    assert ([text for text in said if text in LINK] or [""])[-1] == newest(story, LINK, len(story))
    camera = [text for text in said if text in CAMERA]
    assert (camera[-1] if camera else "Camera back.") == (
        walk.state.blocked_text if walk.state.blocked else "Camera back."
    )
    voice = [text for text in said if text in VOICE]
    assert (voice[-1] if voice else "Voice on.") == VOICE[not walk.state.muted]


def settle(walk: Walk) -> None:
    """The walk ends, and everything that waits has its turn."""
    walk.give(policy.WalkEnded())
    walk.give(policy.CorrectionListening(on=False))
    for _ in range(80):
        walk.wait(2.0)
        walk.give(policy.TimePassed())


@given(
    stories,
    st.sampled_from(sorted(policy.LENS_TEXTS)),
    st.lists(st.sampled_from([0.07, 0.25, 0.5]), min_size=60, max_size=60),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_a_lens_that_shows_nothing_is_told_within_three_seconds_whatever_went_before(
    story: Story, lens: LensTrouble, gaps: list[float], looked: bool
) -> None:
    walk = Walk()
    played(story, walk)
    walk.wait(40.0)  # longer ago than any announcement of it counts
    walk.give(Looked((), 0.5, 0.2))
    for _ in range(4):
        walk.wait(0.3)
        walk.give(Looked((Hazard("curb", "ahead", 0.99),), 0.5, 0.2))
    covered_s = walk.now_s
    for gap_s in gaps:
        walk.give(Looked((Hazard("stairs down", "ahead", 0.99),), 0.5, 0.2, lens) if looked else Viewed(lens))
        walk.wait(gap_s)
    reported = [at_s for at_s, speak in walk.spoken if speak.text == policy.LENS_TEXTS[lens] and at_s >= covered_s]
    assert reported
    assert reported[0] - covered_s <= 3.0


@given(stories)
@settings(max_examples=100, deadline=None)
def test_while_the_street_is_loud_no_word_of_tier_three_sounds_and_the_voice_is_told_each_change_once(
    story: Story,
) -> None:
    walk, heard_s = Walk(), float("-inf")
    for now_s, event, before, actions in played(story, walk):
        if isinstance(event, policy.SoundHeard) and event.kind in SETTINGS.masking_sounds:
            heard_s = now_s
            assert before.speaking is None or before.speaking.rank < 4 or Cut(before.speaking.utterance) in actions
        loud = now_s < heard_s + SETTINGS.sound_hold_s
        assert not (loud and any(isinstance(action, Speak) and action.tier == 3 for action in actions))
    walk.give(policy.TimePassed())
    ducks = [action.on for _, action in walk.actions if isinstance(action, Duck)]
    assert ducks == [number % 2 == 0 for number in range(len(ducks))]
    assert (ducks or [False])[-1] == (walk.now_s < heard_s + SETTINGS.sound_hold_s)


@given(stories)
@settings(max_examples=100, deadline=None)
def test_below_its_thresholds_it_names_nothing_and_every_unsure_word_is_flagged(story: Story) -> None:
    walk = Walk()
    last: dict[str, float] = {}
    for now_s, event, _, actions in played(story, walk):
        for action in actions:
            if isinstance(action, Speak) and action.why == "worded":
                assert isinstance(event, Worded)
                assert event.confidence >= SETTINGS.speak_above
            if isinstance(action, Speak) and action.why == "unsure":
                assert Flag("low_confidence") in actions
                assert vocabulary.parse(action.text) is None or not vocabulary.parse(action.text).object  # type: ignore[union-attr]
                assert now_s - last.get(action.text, -100.0) >= SETTINGS.repeat_after_s
                last[action.text] = now_s


@pytest.mark.parametrize(
    "wished",
    [
        PolicySettings(lead="late"),
        PolicySettings(verbosity="warnings"),
        PolicySettings(verbosity="obstacles", words_per_minute_max=0),
        PolicySettings(confirmations=True, tick_every_s=2.0, say_clear=True),
    ],
    ids=["late", "warnings only", "no words", "talkative"],
)
@given(story=stories)
@settings(max_examples=60, deadline=None)
def test_nothing_that_a_wearer_sets_delays_or_silences_a_warning(wished: PolicySettings, story: Story) -> None:
    usual, own = Walk(), Walk(wished)
    played(story, usual)
    played(story, own)
    warnings = [[(at_s, s.text) for at_s, s in walk.spoken if s.tier == 1] for walk in (usual, own)]
    assert warnings[0] == warnings[1]


@given(stories)
@settings(max_examples=100, deadline=None)
def test_news_said_while_nobody_could_hear_it_is_said_again_unless_newer_news_made_it_untrue(story: Story) -> None:
    walk = Walk()
    played([(gap_s, event) for gap_s, event in story if not isinstance(event, policy.VoiceFound)], walk)
    walk.give(policy.VoiceLost())
    walk.give(policy.StateChange("Storage failed.", about="storage"))
    for _ in range(10):
        walk.wait(1.0)
        walk.give(policy.TimePassed())
    found_s = walk.now_s
    walk.give(policy.VoiceFound())
    settle(walk)
    after = [speak.text for at_s, speak in walk.spoken if at_s >= found_s and speak.why == "state"]
    assert "Voice is back." in after
    assert "Storage failed." in after
