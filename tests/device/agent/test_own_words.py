"""Corrections that the device listens to itself: read back without a server, sent along, and never in the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device.agent.own_words import NOT_HEARD_HERE, OWN_WORDS_TEXTS
from device.agent.run import SAID_BEFOREHAND, Agent
from device.agent.shedding import Shedding
from device.health.power.watch import BoardHeat
from shared import monitor, policy, vocabulary
from shared.messages import CorrectionHeard, encode
from shared.speech import acoustic
from tests.device.agent.speaking import spoken_film
from tests.device.agent.stage import Running, StoryModel, agent, config, nothing, presses
from tests.pulse import until
from tests.shared.speech.voices import needs_espeak

PATIENCE_S = 120.0
CONE = "Caution, cone on the left."


def made(folder: Path, *said: tuple[float, str], seconds: float = 6.0, **overrides: Any) -> Agent:
    """An agent on a walk with corrections; it goes on after the film, until it is stopped."""
    film, script = spoken_film(folder, said, seconds=seconds)
    chosen = {"corrections__transcribe": "device", **overrides}
    walk = config(folder, film, buttons__script=str(presses(folder, *script)), capture__pace="real", **chosen)
    walking = agent(walk, StoryModel(nothing), folder, exit_at_end=False)
    listener = walking.parts.own_words._transcription
    if listener is not None:  # on a machine that does other things
        listener._plan = replace(listener._plan, most_s=PATIENCE_S)
    return walking


def said(folder: Path) -> list[str]:
    file = folder / "captions.jsonl"
    return [json.loads(line)["text"] for line in file.read_text().splitlines()] if file.exists() else []


def corrections(folder: Path) -> list[dict[str, Any]]:
    """As they lie in the outbox, oldest first."""
    records = [json.loads(path.read_bytes()) for path in sorted((folder / "state").glob("outbox/*/record.json"))]
    return [record["body"] for record in records if record["kind"] == "correction"]


def to_send(walk: Agent) -> set[str]:
    """Corrections that are not held."""
    items = walk.parts.outbox.claim(99)
    walk.parts.outbox.release(items)
    return {item.record_id for item in items if item.kind == "correction_audio"}


def walked(walk: Agent, is_over: Callable[[], bool], what: str) -> None:
    with Running(walk):
        until(is_over, what, timeout_s=PATIENCE_S)


@needs_espeak
def test_a_correction_is_read_back_by_the_device_and_keeps_its_words(tmp_path: Path) -> None:
    walk = made(tmp_path, (1.0, "cone on the left"))
    walked(walk, lambda: f"Heard: {CONE}" in said(tmp_path), "the read-back")
    [record] = corrections(tmp_path)
    assert (record["heard"], record["heard_meaning"]) == ("cone on the left", CONE)
    assert (record["heard_by"], record["heard_confidence"] >= 0.6) == ("pocketsphinx", True)
    assert record["parts"][0]["kind"] == "correction_audio"
    assert said(tmp_path).count(f"Heard: {CONE}") == 1
    posted: list[object] = []
    walk.parts.guidance.post = posted.append  # type: ignore[method-assign, assignment]
    for text in (CONE, "Caution, bin ahead."):
        walk.parts._server_heard(encode(CorrectionHeard(record["correction_id"], text)))
    assert posted == [], "what the server makes of it is not read back, too"


@needs_espeak
def test_what_is_not_understood_says_so_once_and_the_server_may_still_understand(tmp_path: Path) -> None:
    walk = made(tmp_path, (1.0, "umbrella"))
    walked(walk, lambda: policy.HEARD_TEXTS[1] in said(tmp_path), "that it was not understood")
    [record] = corrections(tmp_path)
    assert record["heard_by"] == "pocketsphinx"
    assert "heard_meaning" not in record
    posted: list[object] = []
    walk.parts.guidance.post = posted.append  # type: ignore[method-assign, assignment]
    for text in ("", CONE):
        walk.parts._server_heard(encode(CorrectionHeard(record["correction_id"], text)))
    assert posted == [policy.WordsHeard(CONE)]


@needs_espeak
def test_without_the_extra_it_is_said_at_the_start_and_corrections_go_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acoustic, "find_spec", lambda name: None)
    walk = made(tmp_path, (1.0, "cone on the left"))
    walked(walk, lambda: NOT_HEARD_HERE in said(tmp_path) and bool(corrections(tmp_path)), "a correction")
    [record] = corrections(tmp_path)
    assert "heard_by" not in record
    assert "pocketsphinx is not installed" in str(walk.parts.own_words.trouble)


@needs_espeak
@pytest.mark.soak
def test_a_recogniser_that_fails_is_told_once_and_costs_nothing_else(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "mdef").write_bytes(b"torn")
    (model / "own.dict").write_text("apfel AE P AH L\n")
    two = ((1.0, "cone on the left"), (4.0, "stop curb"))
    walk = made(tmp_path, *two, seconds=8.0, voice__language="de", corrections__model=str(model))
    walked(walk, lambda: len(to_send(walk)) == 2, "two corrections that may be sent")
    assert said(tmp_path).count(NOT_HEARD_HERE) == 1
    assert not [record for record in corrections(tmp_path) if "heard_by" in record]
    assert "no acoustic model" in str(walk.parts.own_words.trouble)


@needs_espeak
def test_a_hot_board_leaves_it_to_the_server(tmp_path: Path) -> None:
    walk = made(tmp_path, (1.0, "cone on the left"))
    parts = walk.parts
    parts.power.heat = BoardHeat(76.0)
    Shedding(parts).look()
    walked(walk, lambda: bool(to_send(walk)), "a correction that may be sent")
    assert "heard_by" not in corrections(tmp_path)[0]
    assert not [text for text in said(tmp_path) if text.startswith("Heard")]
    assert parts.own_words.trouble is None


@needs_espeak
@pytest.mark.soak
def test_a_walk_that_is_ended_does_not_wait_for_its_words(tmp_path: Path) -> None:
    walk = made(tmp_path, (0.5, "cone on the left"), seconds=4.0)
    walked(walk, lambda: bool(corrections(tmp_path)), "a correction")
    again = agent(walk.parts.config, StoryModel(nothing), tmp_path)
    try:
        assert "correction_audio" in {item.kind for item in again.parts.outbox.claim(99)}
    finally:
        again.parts.outbox.close()


def test_by_default_the_device_listens_to_nothing(tmp_path: Path) -> None:
    walk = made(tmp_path, corrections__transcribe="server", seconds=1.0)
    try:
        assert walk.parts.own_words._transcription is None
    finally:
        walk.parts.outbox.close()


@pytest.mark.parametrize("text", OWN_WORDS_TEXTS)
def test_its_news_may_be_said_and_is_rendered_before_the_walk(text: str) -> None:
    assert monitor.stopped(text, tier=2, why="state") is None
    assert vocabulary.may_be_announced(text)
    assert text in SAID_BEFOREHAND
