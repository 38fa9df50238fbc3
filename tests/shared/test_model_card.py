"""What a model sees and does not see is told from its manifest, in words that a wearer may hear."""

from __future__ import annotations

import pytest

from server import walks
from server.eyes import classes
from shared import monitor, vocabulary
from shared.model_card import (
    MEASURED_FROM,
    NOT_KNOWN,
    REST_NOT_KNOWN,
    SPOKEN_MOST,
    SightCard,
    by_urgency,
    card_of,
    plurals,
    spoken,
)

OBJECTS = tuple(vocabulary.load().objects)
EYES = {
    "objects": sorted(set(filter(None, classes.OBJECT_OF.values()))),
    "look": {"names": list(classes.OBJECT_OF.values())},
}


def test_a_detector_sees_its_classes_and_nothing_else() -> None:
    card = card_of(EYES)
    assert card.sees == ("vehicle", "bicycle", "furniture", "person", "dog", "obstacle")
    assert card.unknown == ()
    assert card.unseen[:5] == ("curb", "curb ramp", "street edge", "drop-off", "stairs down")
    assert spoken(card) == (
        "This model sees vehicles, bicycles, furniture, people, dogs and other obstacles.",
        "It does not see curbs, dropped curbs, roads, drop-offs, stairs, things overhead and more.",
    )


def test_a_model_sees_what_it_was_taught_with_or_without_a_detector() -> None:
    taught = {"end_id": 2, "objects": list(OBJECTS), "known": list(walks.KNOWN)}
    assert set(card_of(taught).sees) == set(walks.KNOWN)
    both = card_of({**taught, "look": EYES["look"]})
    assert set(both.sees) == {*walks.KNOWN, "dog", "obstacle"}
    assert set(both.unseen) == {*OBJECTS} - {*both.sees}


@pytest.mark.parametrize(
    "model", [{}, {"end_id": 2, "objects": list(OBJECTS)}, {"known": 7, "look": "x"}, {"known": [], "look": {}}]
)
def test_a_bundle_that_does_not_say_so_is_not_guessed_at(model: dict[str, object]) -> None:
    assert card_of(model) == SightCard(unknown=by_urgency(OBJECTS))
    assert spoken(card_of(model)) == (NOT_KNOWN,)


def test_a_class_without_a_figure_on_real_pictures_is_not_promised() -> None:
    figure = {"precision": 0.9, "of": MEASURED_FROM}
    measured = {"person": figure, "vehicle": figure, "dog": {**figure, "of": MEASURED_FROM - 1}, "furniture": {}}
    card = card_of({**EYES, "measured": measured})
    assert card.sees == ("vehicle", "person")
    assert card.unknown == ("bicycle", "furniture", "dog", "obstacle")
    assert card.unseen == card_of(EYES).unseen
    assert spoken(card)[0] == "This model sees vehicles and people."
    open_ended = card_of({**EYES, "end_id": 2, "measured": measured})
    assert (open_ended.sees, open_ended.unseen) == (card.sees, ())
    assert {"curb", "dog"} <= set(open_ended.unknown)


def test_of_the_rest_nothing_is_promised_where_a_head_or_decoder_may_see_more_than_the_detector() -> None:
    for more in ({"end_id": 2}, {"objects": [*EYES["objects"], "curb"]}):
        card = card_of({**EYES, **more})
        assert (card.unseen, "curb" in card.unknown) == ((), True)
        assert spoken(card)[-1] == REST_NOT_KNOWN


def test_every_object_is_in_one_list_and_the_most_urgent_come_first() -> None:
    for model in ({}, EYES, {"known": ["cone", "curb", "no such thing"]}):
        card = card_of(model)
        assert sorted((*card.sees, *card.unseen, *card.unknown)) == sorted(OBJECTS)
        tiers = [[vocabulary.load().objects[name].tier for name in part] for part in (card.sees, card.unseen)]
        assert tiers == [sorted(part) for part in tiers]


def test_a_family_that_is_there_as_a_whole_has_one_name() -> None:
    assert plurals(["stairs down", "stairs up"]) == ["stairs"]
    assert plurals(["stairs down", "curb"]) == ["stairs that lead down", "curbs"]


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_has_a_plain_name_that_may_be_announced(name: str) -> None:
    for text in (*spoken(SightCard(sees=(name,))), *spoken(SightCard(unseen=(name,)))):
        assert vocabulary.may_be_announced(text)
        assert monitor.stopped(text, tier=2, why="state") is None


def test_it_is_short_whatever_a_model_sees() -> None:
    for count in range(len(OBJECTS) + 1):
        for text in spoken(SightCard(sees=OBJECTS[:count], unseen=OBJECTS[count:])):
            assert text.count(",") <= SPOKEN_MOST
            assert vocabulary.may_be_announced(text)
    assert spoken(SightCard(sees=OBJECTS)) == (spoken(SightCard(sees=OBJECTS))[0],)
