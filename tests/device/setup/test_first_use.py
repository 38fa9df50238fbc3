"""Switch on, hold a code before the camera, be let in, get a model, be introduced: with the real parts, on a film."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from device import config as settings
from device.agent.parts import AgentPorts, RunOptions
from device.agent.rounds import Rounds
from device.controls.actions import ButtonAction, Press
from device.setup import texts
from device.setup.runner import FRESH
from server.identity.claims import Claims
from server.identity.enrol_http import EnrolmentService
from shared import setup_code
from shared.clock import SystemClock
from shared.setup_code import SetupCode, WifiNetwork
from tests.device.agent.stage import StoryModel, nothing
from tests.device.setup import codes
from tests.device.setup.nmcli import FakeNmcli
from tests.device.updates.house import no_problems
from tests.device.updates.test_over_tls import PublishingServer
from tests.pulse import until
from tests.secure import SecureSite

PASSWORD = "correct-horse-battery"
DEVICE = "anna"


@dataclass(slots=True)
class Site:
    """A server that lets devices in and has a model for them."""

    claims: Claims
    server: str

    def code(self, *, wifi: WifiNetwork | None = None) -> str:
        claim = self.claims.add(DEVICE)
        return setup_code.text_of(SetupCode(self.server, DEVICE, claim.code, wifi))


@pytest.fixture
def site(secure_broker: SecureSite, tmp_path: Path) -> Iterator[Site]:
    with closing(PublishingServer(secure_broker, tmp_path / "made")) as house:
        house.registry.promote("m1", "first")
        claims = Claims(secure_broker.certificates, root=house.release.root_json)
        broker = f"{secure_broker.host}:{secure_broker.port}"
        service = EnrolmentService(
            claims, address=("127.0.0.1", 0), broker=broker, clock=SystemClock(), on_enrolled=secure_broker.access.wake
        )
        host, port = service.start()
        try:
            yield Site(claims, f"{host}:{port}")
        finally:
            service.stop()


class Device:
    """`waycue-device run`, on a thread: a film is its camera, captions are what it says."""

    def __init__(self, folder: Path, film: Path, *, setup: bool = False, **overrides: Any) -> None:
        self.state, self._captions = folder / "state", folder / "captions.jsonl"
        wanted = {
            "capture.source": f"camera:{film}",
            "capture.microphone": "none",
            "capture.clips": False,
            "device.state": str(self.state),
            "voice.speech": "none",
            "voice.words_per_minute": 400,
            "flags.audit_share": 0.0,
            "buttons.keys": False,
            "guidance.allow_demo_model": True,
        }
        chosen = settings.load(None, wanted | {name.replace("__", "."): value for name, value in overrides.items()})
        ports = AgentPorts(SystemClock(), load=lambda _: StoryModel(nothing), selftest=no_problems)
        self.rounds = Rounds(chosen, RunOptions(captions=self._captions, setup=setup), ports)
        self._thread = threading.Thread(target=self.rounds.run, daemon=True)

    def __enter__(self) -> Device:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.rounds.stop()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the device did not stop"

    @property
    def said(self) -> list[str]:
        if not self._captions.exists():
            return []
        return [json.loads(line)["text"] for line in self._captions.read_text().splitlines()]

    def hears(self, text: str, *, within_s: float = 30.0) -> None:
        try:
            until(lambda: text in self.said, text, timeout_s=within_s)
        except TimeoutError as error:
            raise AssertionError(f"{error}; said: {self.said}") from None

    def press(self, action: ButtonAction) -> None:
        """As a button does, on the agent that runs now."""
        parts = self.rounds.agent.parts
        parts.buttons.append(OnePress(Press(action, parts.walk_clock.now_s())))


class OnePress:
    """A button that was pressed a moment ago."""

    def __init__(self, press: Press) -> None:
        self._presses = [press]

    def open(self) -> None:
        """Nothing to do."""

    def poll(self, now_s: float) -> list[Press]:
        presses, self._presses = self._presses, []
        return presses

    def close(self) -> None:
        """Nothing to do."""


def test_a_new_device_is_shown_a_code_and_joins_enrols_gets_a_model_and_introduces_itself(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nmcli = FakeNmcli(tmp_path / "bin").used(monkeypatch)
    text = site.code(wifi=WifiNetwork("Anna's home", password=PASSWORD))
    film = codes.film(tmp_path / "camera.mp4", codes.printed(text))
    with Device(tmp_path, film) as device, caplog.at_level("DEBUG"):
        device.hears(texts.TUTORIAL[1])
        assert (device.state / FRESH).exists()
        assert device.rounds.agent.parts.link is not None
        assert device.rounds.agent.parts.link.online
        device.press(ButtonAction.FLAG)
        device.hears(texts.TUTORIAL_ENDED)
        until(lambda: not (device.state / FRESH).exists(), "the introduction to be done with")
        status = device.rounds.agent._state.status()
    heard = [line for line in device.said if line in texts.SETUP_TEXTS]
    assert heard[:4] == [texts.HOLD_CODE, texts.CODE_FOUND, texts.JOINING, texts.JOINED]
    assert heard[4:9] == [texts.CALLING, texts.SERVER_FOUND, texts.ENROLLED, texts.FETCHING, texts.READY]
    assert heard[9:] == [*texts.TUTORIAL[:2], texts.TUTORIAL_ENDED]
    assert (status.device, status.online, status.model_version) == (DEVICE, True, "test-1")
    assert nmcli.passwords == [PASSWORD]
    assert PASSWORD not in caplog.text + str(status) + nmcli.arguments
    assert _holds(device.state, PASSWORD) == []


def _holds(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
