"""The watch over power and heat, and an agent that tells what its board says."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.agent.run import SAID_BEFOREHAND
from device.health.power.find import PowerPlaces, PowerSources
from device.health.power.news import POWER_TEXTS, PowerNews
from device.health.power.watch import BoardHeat, PowerWatch
from shared.clock import ManualClock
from tests.device.agent.stage import StoryModel, agent, config, film, nothing, result
from tests.device.health.power.test_sources import tree


def test_a_watch_reads_heat_and_battery_and_tells_what_is_news(tmp_path: Path) -> None:
    battery = tree(tmp_path / "class/power_supply/bat", type="Battery", capacity="16", status="Discharging")
    tree(tmp_path / "class/thermal/thermal_zone0", type="cpu-thermal", temp="71500")
    clock, told = ManualClock(), list[PowerNews]()
    places = PowerPlaces(tmp_path, tmp_path, lambda command: "throttled=0x8")
    watch = PowerWatch(PowerSources("auto", places), told.append, clock=clock, sys=tmp_path, ask=places.ask)
    for capacity in ("16", "16", "15", "15", "15", "15"):
        (battery / "capacity").write_text(capacity)
        watch.look()
        clock.sleep(10)
    assert [news.text for news in told] == ["Battery 15 percent."]
    assert watch.heat == BoardHeat(71.5, True)
    assert (watch.source, watch.percent) == ("power-supply", 15.0)


def test_an_agent_speaks_of_its_battery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "class/power_supply/bat", type="Battery", capacity="4", status="Discharging")
    monkeypatch.setattr("device.health.power.watch.EVERY_S", 0.2)
    chosen = config(tmp_path, film(tmp_path, 4.0), capture__pace="real")
    made = agent(chosen, StoryModel(nothing), tmp_path)
    parts = made.parts
    sources = PowerSources("auto", PowerPlaces(tmp_path, tmp_path / "none", lambda command: ""))
    parts.power = PowerWatch(sources, parts.tell_power, clock=parts.clock, sys=tmp_path, ask=lambda command: "")
    made.run()
    assert result(tmp_path).texts.count("Battery 5 percent.") == 1
    assert parts.power.percent == 4.0
    assert parts.battery_percent() == 4


def test_all_that_is_told_of_the_power_is_rendered_beforehand() -> None:
    assert set(POWER_TEXTS) <= set(SAID_BEFOREHAND)
