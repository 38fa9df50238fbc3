"""An agent on a slow or hot board: it guides steadily, says once that it is slower, and never leaves out a warning."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from device.agent.run import SAID_BEFOREHAND
from device.agent.shedding import Shedding
from device.guidance.shedding import SHED_TEXTS, Shed
from device.health.announcements import StuckNews, stuck_news
from device.health.power.find import PowerSources
from device.health.power.watch import BoardHeat, PowerWatch
from shared.policy import PAUSED, RESUMED
from shared.runtime.seen import Hazard
from tests.device.agent.stage import Card, Seen, StoryModel, agent, config, film, result, says
from tests.device.health.power.test_sources import tree

CURB_FROM = 10


def pole_then_curb(look: int) -> Seen:
    seen = (Hazard("curb", "ahead", 0.7),) if look >= CURB_FROM else (Hazard("pole", "on the left", 0.9),)
    return seen, says("Caution, pole on the left.")


@dataclass(slots=True)
class SlowModel(StoryModel):
    """Each look takes as long as its list says, the last for ever."""

    takes_s: tuple[float, ...] = (0.0,)
    manifest: Card = field(default_factory=lambda: Card(model={"objects": ["curb", "pole"]}))

    def seeing(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        threading.Event().wait(self.takes_s[min(self.looks, len(self.takes_s) - 1)])
        return image


def walked(folder: Path, model: StoryModel, seconds: float) -> list[str]:
    made = agent(config(folder, film(folder, seconds), capture__pace="real"), model, folder)
    made.run()
    return result(folder).texts


def test_a_board_whose_looks_take_a_second_guides_steadily_and_says_so_once(tmp_path: Path) -> None:
    texts = walked(tmp_path, SlowModel(lambda look: pole_then_curb(look + 5), takes_s=(1.1,)), 9.0)
    assert texts.count("Guidance is slower.") == 1
    assert {"Caution, pole on the left.", "Stop, curb ahead."} <= set(texts)
    assert not [text for text in texts if "paused" in text or "back" in text]


def test_a_hot_board_looks_less_often_without_the_decoder_and_cools_down_again(tmp_path: Path) -> None:
    model = SlowModel(pole_then_curb)
    made = agent(config(tmp_path, film(tmp_path, 8.0)), model, tmp_path)
    parts = made.parts
    shedding = Shedding(parts)
    parts.power.heat = BoardHeat(85.0)
    shedding.look()
    assert (shedding.level, parts.recorder.clips) == (Shed.LOOKS, False)
    parts.power.heat = BoardHeat(60.0)
    shedding.look()
    assert (shedding.level, parts.recorder.clips) == (Shed.NOTHING, True)
    made.run()


@pytest.mark.parametrize("hot", [False, True])
def test_without_the_decoder_the_table_words_what_is_due_and_warnings_are_as_ever(tmp_path: Path, hot: bool) -> None:
    model = SlowModel(pole_then_curb)
    made = agent(config(tmp_path, film(tmp_path, 9.0), capture__pace="real"), model, tmp_path)
    tree(tmp_path / "class/thermal/thermal_zone0", type="cpu-thermal", temp="85000" if hot else "50000")
    parts, sources = made.parts, PowerSources("none")
    parts.power = PowerWatch(sources, parts.tell_power, clock=parts.clock, sys=tmp_path, ask=lambda command: "")
    made.run()
    texts = result(tmp_path).texts
    assert {"Caution, pole on the left.", "Stop, curb ahead."} <= set(texts)
    assert texts.count("Guidance is slower.") == hot
    assert (model.worded == 0) is hot or model.worded <= 1


def test_looks_that_come_too_late_are_a_pause_that_ends_only_after_three_in_time() -> None:
    state, said = StuckNews(), list[str]()

    def second(now_s: float, stuck_s: float, in_time: int) -> None:
        nonlocal state, said
        state, text = stuck_news(state, now_s, stuck_s=stuck_s, looks_in_time=in_time, watched=False)
        said += [text] if text else []

    for now_s in range(40):  # looks of 3.5 s, one after the other
        second(float(now_s), now_s % 3.5, 0)
    assert said == [PAUSED, PAUSED]  # at 3 s, and again after 30
    second(41.0, 0.1, 1)
    second(42.0, 0.1, 2)
    assert said == [PAUSED, PAUSED]
    second(43.0, 0.1, 3)
    assert said == [PAUSED, PAUSED, RESUMED]


def test_a_sentinel_that_watches_says_it_instead() -> None:
    state, text = stuck_news(StuckNews(), 0.0, stuck_s=9.0, looks_in_time=0, watched=True)
    assert (state.stuck, text) == (True, None)
    assert stuck_news(state, 1.0, stuck_s=0.0, looks_in_time=3, watched=True) == (StuckNews(), None)


def test_all_of_it_is_rendered_beforehand() -> None:
    assert set(SHED_TEXTS) <= set(SAID_BEFOREHAND)
