"""A wearer hears what the model sees and does not see: at its first use, when that changed, when they ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device.agent.state import AgentState
from device.commands.main import lines
from device.guidance.loop import TRIAL_WORDS
from device.health import sight_told
from device.health.sight_told import SightTold
from shared.guidance.events import LoadedModel
from shared.model_card import NOT_KNOWN, REST_NOT_KNOWN, card_of, spoken
from shared.runtime.seen import Hazard
from tests.device.agent.stage import Card, Result, StoryModel, agent, config, film, nothing, presses, run, says

EYES = {"objects": ["person", "vehicle"], "look": {"names": [None, "person", "vehicle"]}}
SEES, UNSEEN = spoken(card_of(EYES))


def model(**described: object) -> LoadedModel:
    return StoryModel(nothing, Card("m1", model=described))


def walked(folder: Path, guiding: LoadedModel, **options: str) -> Result:
    """In real time: somebody listens."""
    return run(folder, guiding, walk=film(folder, seconds=1.5), capture__pace="real", **options)


def test_a_model_is_introduced_once_and_again_after_an_enrolment(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()  # of a device that was never worn
    assert walked(tmp_path, model()).texts == ["Guidance ready.", NOT_KNOWN]
    told = tmp_path / "state" / sight_told.FILE
    assert json.loads(told.read_bytes()) == [NOT_KNOWN]
    assert NOT_KNOWN not in walked(tmp_path, model()).texts[2:]
    sight_told.forget(tmp_path / "state")
    assert walked(tmp_path, model()).texts[-1] == NOT_KNOWN


def test_another_sight_is_news_the_same_under_another_version_is_none(tmp_path: Path) -> None:
    told = SightTold(tmp_path)
    assert told.introduction(card_of(EYES)) == (SEES, UNSEEN)
    told.said(SEES)
    told.keep()
    assert SightTold(tmp_path).introduction(card_of(EYES)) == (SEES, UNSEEN), "half of it was not enough"
    told.said(UNSEEN)
    told.keep()
    told = SightTold(tmp_path)
    assert told.introduction(card_of(EYES)) == ()
    assert told.introduction(card_of({**EYES, "end_id": 1})) == (SEES, REST_NOT_KNOWN)
    assert told.introduction(card_of(EYES)) == (), "the wearer knows it of old: the other was never said"


@pytest.mark.parametrize("content", [b"", b"{", b"7", b'["It sees', b"[1, 2]"])
def test_a_damaged_note_costs_one_repetition(content: bytes, tmp_path: Path) -> None:
    (tmp_path / sight_told.FILE).write_bytes(content)
    assert SightTold(tmp_path).introduction(card_of(EYES)) == (SEES, UNSEEN)


def test_it_is_said_again_on_request_and_nobody_is_told_in_a_fast_replay(tmp_path: Path) -> None:
    script = presses(tmp_path, {"t_s": 0.5, "action": "sees"})
    asked = run(tmp_path, model(), walk=film(tmp_path, seconds=4.0), buttons__script=str(script))
    assert asked.texts == ["Guidance ready.", NOT_KNOWN]
    assert run(tmp_path, model()).texts.count(NOT_KNOWN) == 1, "as written by the walk before"


def test_trial_words_are_told_of_at_the_start_where_they_are_on(tmp_path: Path) -> None:
    walk = film(tmp_path, seconds=4.0)
    assert TRIAL_WORDS not in run(tmp_path, model(), walk=walk).texts
    assert run(tmp_path, model(), walk=walk, guidance__trial_classes=True).texts.count(TRIAL_WORDS) == 1


def test_what_was_never_measured_is_heard_on_a_walk_only_as_trial_words(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    person = (Hazard("person", "ahead", 0.97),), says("Caution, person ahead.")
    unmeasured = StoryModel(lambda look: person, Card("m1", model={"measured": {}, "objects": ["person"]}))
    walk = film(tmp_path, seconds=6.0)
    quiet = run(tmp_path, unmeasured, walk=walk)
    assert not any("person" in text for text in quiet.texts)
    assert "Caution, person ahead." in run(tmp_path, unmeasured, walk=walk, guidance__trial_classes=True).texts


def test_the_status_lists_it(tmp_path: Path) -> None:
    parts = agent(config(tmp_path, film(tmp_path, seconds=1.0)), None, tmp_path).parts
    without = AgentState(parts).status()
    assert (without.sees, without.unseen, without.unknown) == ((), (), ())
    parts.guidance.swap(model(**EYES))
    current = AgentState(parts).status()
    parts.models.close()
    parts.outbox.close()
    assert current.sees == ("vehicle", "person")
    assert "curb" in current.unseen
    shown = lines(current)
    assert "sees: vehicles, people" in shown
    assert any(line.startswith("does not see: curbs, dropped curbs, roads") for line in shown)
