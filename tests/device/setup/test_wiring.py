"""When an agent has a set-up, and when that looks for codes by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from device.agent.parts import AgentPorts, RunOptions
from device.agent.run import SAID_BEFOREHAND, Agent
from device.config import Config
from device.controls.actions import ButtonAction
from device.controls.bindings import binding
from device.setup.runner import FRESH
from device.setup.texts import SETUP_TEXTS
from shared.clock import SystemClock
from tests.device.agent.stage import config
from tests.enrolment.conftest import Desk
from tests.enrolment.conftest import desk as desk
from tests.enrolment.conftest import fresh_home as fresh_home
from tests.enrolment.quick import enrolled

CAMERA = {"capture__source": "camera:/no/camera", "capture__pace": "real", "capture__microphone": "none"}


def live(folder: Path, **more: Any) -> Config:
    return config(folder, folder, **(CAMERA | {"device__name": ""} | more))


def begins(chosen: Config, *, setup: bool = False) -> bool | None:
    """None = there is no set-up."""
    agent = Agent(chosen, RunOptions(setup=setup), AgentPorts(SystemClock()))
    if agent.parts.link is not None:
        agent.parts.link.stop()
    agent.parts.models.close()
    agent.parts.outbox.close()
    return None if agent.parts.setup is None else agent.parts.setup.begins


@pytest.mark.parametrize(
    ("more", "looks"),
    [
        ({}, True),
        ({"setup__at_start": "never"}, False),
        ({"guidance__model": "a-model"}, False),
        ({"broker__address": "127.0.0.1:1883"}, False),
        ({"capture__source": "none"}, None),
    ],
)
def test_a_new_device_looks_for_codes_unless_somebody_has_set_it_up(
    tmp_path: Path, more: dict[str, str], looks: bool | None
) -> None:
    assert begins(live(tmp_path, **more)) is looks


def test_a_replay_has_no_set_up(tmp_path: Path) -> None:
    assert begins(config(tmp_path, tmp_path / "walk.mp4"), setup=True) is None


def test_an_enrolled_device_looks_for_codes_on_demand_only_and_goes_on_with_a_first_use(
    tmp_path: Path, desk: Desk
) -> None:
    enrolled(desk.certificates, tmp_path / "state", "anna")
    assert begins(live(tmp_path)) is False
    assert begins(live(tmp_path), setup=True) is True
    (tmp_path / "state" / FRESH).write_text("{}")
    assert begins(live(tmp_path)) is True


def test_what_it_says_is_rendered_beforehand() -> None:
    assert set(SETUP_TEXTS) <= set(SAID_BEFOREHAND)


def test_a_press_opens_it_where_the_settings_say_so(tmp_path: Path) -> None:
    chosen = live(tmp_path, buttons__repeat_pin="GPIO27", buttons__repeat_press="repeat, setup")
    assert binding(chosen.buttons.repeat_press, "buttons.repeat_press").long is ButtonAction.SETUP
