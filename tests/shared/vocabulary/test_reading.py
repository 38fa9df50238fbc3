"""Free words: what they become, what they must never become, and how that is explained."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import monitor, vocabulary
from shared.vocabulary import lexemes, read

DENIED = ("not", "don't", "do not", "never", "no", "without")
LOADED = vocabulary.load()
STOPS = [name for name, term in LOADED.objects.items() if term.tier == 1]
GO = ("continue", "cross", "enter", "follow", "keep straight", "keep going", "go", "walk", "move left", "proceed")


@pytest.mark.parametrize(
    ("text", "wording"),
    [
        ("Continue straight, stop car ahead.", "Stop, vehicle ahead."),
        ("person on left, car approaching from right", "Stop, vehicle approaching right."),
        ("Caution, uneven pavement ahead.", "Caution, uneven ground ahead."),
        ("walk signal is red, wait", "Wait, walk signal red ahead."),
        ("sidewalk closed ahead", "Caution, sidewalk blocked ahead."),
        ("tram tracks ahead", "Stop, train tracks ahead."),
        ("bus stop on the left", "Keep straight, bus stop on the left."),
        ("watch out, kerb in front", "Caution, curb ahead."),
        ("on the left a cone", "Caution, cone on the left."),
        ("there's a bike in front of you", "Stop, bicycle ahead."),
        ("move to the left, bin ahead", "Move left, bin ahead."),
        ("stairs on the left going down", "Caution, stairs down on the left."),
        ("low-hanging branch", "Duck, head obstacle ahead."),
        ("Wait, vehicle crossing ahead.", "Wait, vehicle approaching ahead."),
        ("crossing ahead", "Continue straight, crosswalk ahead."),
        ("caution, step down ahead", "Caution, step going down ahead."),
        ("turn right at the corner", "Turn right at the corner."),
        ("Halt!", "Stop."),
        ("bicycle closing fast on the left", "Stop, bicycle approaching left."),
    ],
)
def test_words_become_the_nearest_right_wording(text: str, wording: str) -> None:
    assert vocabulary.normalise(text) == wording


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("Cross, vehicle ahead.", "walker's own"),
        ("Continue straight, vehicle ahead.", "order to walk on"),
        ("Cross, street edge ahead.", "walker's own"),
        ("Enter, drop-off ahead.", "order to walk on"),
        ("Cross now, path is clear.", "'clear'"),
        ("Cross straight now.", "'now'"),
        ("Keep going, person on left, car approaching from right.", "order to walk on"),
        ("Walk past the open car door.", "'past'"),
        ("Go now, cars stopped", "'stopped'"),
        ("do not cross, car coming", "'do not'"),
        ("don't continue, hole ahead", "don't"),
        ("don’t continue, hole ahead", "don't"),
        ("It is safe to cross.", "'safe'"),
        ("cone left, bollard right", "neither may be left out"),
        ("no car ahead", "'no'"),
        ("stairs ahead", "stairs up or stairs down"),
        ("tram stop on the left", "'stop'"),
        ("red door ahead", "'red'"),
        ("move left, bin on the left", "towards"),
        ("continue straight, walk signal green ahead", "stop, wait, caution"),
        ("turn left then keep right", "two orders"),
        ("curb ahead on the left", "both 'ahead' and 'on the left'"),
        ("curb ahead and car from the left coming", "neither may be left out"),
        ("purple monkey", "'purple'"),
        ("3 steps down ahead", "'3'"),
        ("Größe ahead", "'größe'"),
        ("", "no words"),
        ("?!", "no words"),
        ("curb ahead " * 99, "characters"),
    ],
)
def test_what_cannot_be_said_without_losing_a_danger_or_its_meaning_is_refused_with_the_reason(
    text: str, because: str
) -> None:
    found = read(text)
    assert (found.sayable, found.wording, found.taught_as) == (False, None, None)
    assert any(because in problem for problem in found.problems), found.problems


@pytest.mark.parametrize(
    "text",
    [
        "hole, keep to the left", "car, keep to your left", "move from the left", "keep from the door",
        "turn from the left, person", "continue straight from the crosswalk", "stairs down behind the door",
        "curb, behind it a door", "keep behind the car", "wait behind the curb", "hole to the left of the door",
        "curb, then left", "go to the left, door", "stairs ahead, upward ramp on the left", "🚫 continue straight",
        "~~continue straight~~", "continue straight?", "is there a car ahead?",
        "keep straight, the hole was on the left",
        "hole, right behind the door", "keep left, motorcycle coming fast ahead", "cone & bollard ahead",
        "hole, on the left, the sidewalk",
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(text: str) -> None:
    assert not read(text).sayable
    assert read(text).problems


@pytest.mark.parametrize(
    ("text", "wording", "lost"),
    [
        ("hole, on the left the sidewalk", "Stop, drop-off ahead.", ("sidewalk on the left",)),
        ("curb, left bus stop", "Stop, curb ahead.", ("bus stop on the left",)),
        ("car ahead, parked bike", "Stop, vehicle ahead.", ("bicycle parked",)),
        ("hole right here", "Stop, drop-off ahead.", ()),
        ("hole, hole on the left", "Stop, drop-off ahead.", ("drop-off on the left",)),
        ("truck parking ahead", "Stop, vehicle approaching ahead.", ()),
        ("hole half right", "Stop, drop-off slightly right.", ()),
        ("On the left, a cone.", "Caution, cone on the left.", ()),
        ("cone, left", "Caution, cone on the left.", ()),
    ],
)
def test_a_side_belongs_to_the_thing_of_its_clause(text: str, wording: str, lost: tuple[str, ...]) -> None:
    found = read(text)
    assert (found.taught_as, found.lost) == (wording, lost)


def test_what_is_left_out_is_listed() -> None:
    assert read("person on left, car approaching from right").lost == ("person on the left",)
    assert read("Stop, car ahead at the crosswalk").lost == ("crosswalk",)
    assert read("Continue straight, stop car ahead.").lost == ("continue straight",)
    assert read("wet stairs down ahead").lost == ("wet",)
    assert read("Stop, curb ahead. Caution, bin on the left.").lost == ("bin on the left",)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("don't continue, hole ahead", "Stop, drop-off ahead."),
        ("Keep going, person on left, car approaching from right.", "Stop, vehicle approaching right."),
        ("cone left, bollard right", "Caution, cone on the left."),
        ("stairs ahead", "Stop, stairs down ahead."),
        ("get ready to make a right turn at the upcoming corner", "Turn right at the corner."),
        ("Cross at the crosswalk ahead.", "Caution, crosswalk ahead."),
        ("sidewalk ends ahead", "Caution, sidewalk ahead."),
        ("one step down", "Caution, step going down ahead."),
    ],
)
def test_a_refusal_suggests_what_may_have_been_meant(text: str, suggestion: str) -> None:
    assert read(text).suggestions[0] == suggestion


@pytest.mark.parametrize("text", ["Cross now, path is clear.", "walk walk walk", "not now", "go go, all clear"])
def test_an_order_to_walk_on_is_never_suggested_for_words_that_were_refused(text: str) -> None:
    assert all(not s.startswith(("Continue", "Keep", "Cross", "Move", "Enter")) for s in read(text).suggestions)


# --- the seeds' own examples ------------------------------------------------------------------------------------------

GOOD = (
    "Stop, curb ahead.", "Turn right at the corner.", "Stop, car approaching from left.", "Caution, stairs going down.",
    "Continue straight, path is clear.", "Stop, obstacle ahead.",
)  # fmt: skip
BAD = {
    "There is a curb in front of you.": "Stop, curb ahead.",
    "Okay, now you should get ready to make a right turn at the upcoming corner.": None,
    "Stop, ledge ahead.": "Stop, curb ahead.",
    "Stop, edge ahead.": "Stop, curb ahead.",
}


@pytest.mark.parametrize("text", GOOD)
def test_the_seeds_good_sentences_pass_unchanged(text: str) -> None:
    found = read(text)
    assert (found.as_written, found.wording, found.problems) == (True, text, ())
    assert found.taught_as is not None
    assert found.taught_as == vocabulary.CLEAR or found.taught_as in vocabulary.sayable()


@pytest.mark.parametrize(("text", "wording"), BAD.items())
def test_the_seeds_bad_sentences_are_explained(text: str, wording: str | None) -> None:
    found = read(text)
    assert found.problems
    assert found.wording == wording
    assert wording or found.suggestions == ("Turn right at the corner.",)


# --- every word of the vocabulary -------------------------------------------------------------------------------------


def test_every_name_at_every_side_becomes_the_canonical_sentence() -> None:
    for term in LOADED.objects.values():
        for name, side in itertools.product(term.names, LOADED.sides):
            assert vocabulary.normalise(f"{name} {side}") == vocabulary.instruct(term.name, side), f"{name} {side}"


def test_every_other_word_for_a_side_or_an_opener_is_understood() -> None:
    for side in LOADED.side_rules.values():
        for other in (*side.as_written, *side.also):
            assert vocabulary.normalise(f"cone {other}") == vocabulary.instruct("cone", side.name), other
    for other in LOADED.opener_rules["caution"].also[""]:
        assert vocabulary.normalise(f"{other} cone ahead") == "Caution, cone ahead.", other


@given(st.sampled_from(sorted(vocabulary.sayable())), st.sampled_from(DENIED), st.integers(0, 8))
def test_a_denial_anywhere_refuses_the_sentence(sentence: str, denial: str, at: int) -> None:
    words = sentence.split()
    words.insert(min(at, len(words)), denial)
    assert not read(" ".join(words)).sayable


@given(st.sampled_from(sorted(vocabulary.sayable())), st.sampled_from(["stopped", "unicorn", "past", "9"]))
def test_a_word_that_nothing_explains_refuses_the_sentence(sentence: str, word: str) -> None:
    assert not read(f"{sentence.rstrip('.')} {word}").sayable


@given(st.sampled_from(GO), st.sampled_from(STOPS), st.sampled_from(["ahead", "", "overhead", "slightly left"]))
def test_no_order_to_walk_on_with_something_to_stop_for_becomes_one(order: str, thing: str, side: str) -> None:
    for text in (f"{order}, {thing} {side}", f"{thing} {side}, {order}", f"{order} the {thing} {side}"):
        wording = read(text).taught_as
        assert wording is None or wording.startswith(("Stop", "Wait", "Caution", "Duck")), (text, wording)


PHRASES = [name for term in LOADED.objects.values() for name in term.names]
PHRASES += [text for rule in LOADED.opener_rules.values() for text in (rule.name, *rule.also.get("", ()))]
PHRASES += [text for side in LOADED.side_rules.values() for text in (side.name, *side.also)]
PHRASES += [*LOADED.modifiers, *LOADED.fillers, *LOADED.negations, *LOADED.assurances, "straight", ","]
WORDS = sorted({word for phrase in PHRASES for word in phrase.split()})


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
@example("continue , stop car , walk signal red green , and stairs")
def test_whatever_is_read_its_wording_may_be_said_and_no_danger_is_lost_in_silence(text: str) -> None:
    found = read(text)
    if found.taught_as is None:
        assert found.problems
        return
    assert found.slots is not None
    assert vocabulary.may_be_spoken(found.taught_as)
    assert read(found.taught_as).taught_as == found.taught_as
    level = vocabulary.tier(found.slots)
    assert monitor.stopped(found.taught_as, tier=level, why="worded", clear_allowed=True) is None
    assert not set(text.split()) & {"not", "no", "don't", "never", "safe", "now"}
    if found.as_written:
        assert found.lost == ()


@given(st.text(max_size=450))
def test_any_text_is_read_without_an_error(text: str) -> None:
    found = read(text)
    assert found.sayable == (found.taught_as is not None)
    assert found.sayable or found.problems


@pytest.mark.parametrize(
    ("text", "wording"),
    [
        ("Stop, steps going down.", "Stop, stairs down ahead."),
        ("Caution, steps going down ahead.", "Caution, stairs down ahead."),
        ("stop stairway going up", "Stop, stairs up ahead."),
        ("Stop, staircase going down on the left.", "Stop, stairs down on the left."),
    ],
)
def test_a_name_of_several_things_becomes_the_one_that_its_modifier_says(text: str, wording: str) -> None:
    assert read(text).wording == wording


KNOWN_WORDS = st.sampled_from([" ".join(words) for words in lexemes.phrases()[1]])


@given(st.lists(KNOWN_WORDS, max_size=6).map(" ".join))
@example("stop steps going down")
def test_any_order_of_known_words_is_read_without_an_error(text: str) -> None:
    reading = read(text)
    assert reading.wording is None or not vocabulary.problems(reading.taught_as or "")
