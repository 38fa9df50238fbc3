"""What the monitor stops on a whole walk: an earcon and a flagged moment instead of words.

The policy never lets such words through. Here the table itself is wrong, as if somebody had edited it carelessly: it
allows an order to walk on beside a vehicle, and so reader, policy and automaton all allow it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from device.voice.voice import Voice
from shared.runtime.seen import Hazard
from shared.sides import Side
from shared.vocabulary import reading, sentences, table
from tests.device.agent.stage import Seen, StoryModel, run, says

DEADLY = "Continue straight, vehicle ahead."
CACHES = (sentences.sayable, sentences.lexicon, reading.read)


@pytest.fixture
def careless_table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`continue` is no longer known as an order to walk on, and may stand with anything."""
    right = table.load()
    careless = replace(right.opener_rules["continue"], go=False, tiers=(1, 2, 3), ways=("straight",))
    wrong = replace(right, opener_rules={**right.opener_rules, "continue": careless})
    for module in (table, sentences, reading):
        monkeypatch.setattr(module, "load", lambda: wrong)
    monkeypatch.setattr(table, "is_on_path", lambda side: False)
    _forget()
    yield
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    for cached in CACHES:
        cached.cache_clear()


@pytest.fixture
def earcons(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    played: list[str] = []
    play = Voice.earcon

    def noted(self: Voice, name: str, *, side: Side | None = None) -> None:
        played.append(name)
        play(self, name, side=side)

    monkeypatch.setattr(Voice, "earcon", noted)
    return played


def story(look: int) -> Seen:
    if look < 20:
        return (), says(DEADLY, 0.99)
    return (Hazard("door", "on the right", 0.9),), says("Keep straight, door on the right.")


@pytest.mark.usefixtures("careless_table")
def test_deadly_words_become_an_earcon_a_flag_and_a_line_in_the_report(tmp_path: Path, earcons: list[str]) -> None:
    found = run(tmp_path, StoryModel(story))
    assert DEADLY not in found.texts
    assert [stopped["text"] for stopped in found.report["stopped"]].count(DEADLY) >= 1
    assert "begins with 'continue'" in found.report["stopped"][0]["why"]
    assert "unsure" in earcons
    assert any("stopped" in flags for flags in found.flags().values())
    assert "Keep straight, door on the right." in found.texts, "guidance goes on after words were stopped"


def test_without_the_fault_nothing_is_stopped(tmp_path: Path, earcons: list[str]) -> None:
    found = run(tmp_path, StoryModel(story))
    assert DEADLY not in found.texts
    assert found.report["stopped"] == []
    assert "unsure" not in earcons
