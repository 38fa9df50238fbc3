"""Switch on, hold a code before the camera, be let in, get a model, be introduced: with the real parts, on a film."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from device import config as settings
from device.agent.parts import AgentPorts, RunOptions
from device.agent.rounds import Rounds
from device.controls.actions import ButtonAction, Press
from device.setup import texts
from device.setup.runner import FRESH
from server.broker.child import free_port
from server.identity.announced import Announcement
from server.identity.claims import Claims
from server.identity.enrol_http import EnrolmentService
from shared import setup_code
from shared.clock import SystemClock
from shared.setup_code import SetupCode, WifiNetwork
from tests.device.agent.stage import StoryModel, nothing
from tests.device.capture import films
from tests.device.setup import codes
from tests.device.setup.nmcli import FakeNmcli
from tests.device.updates.house import no_problems
from tests.device.updates.test_over_tls import PublishingServer
from tests.enrolment.conftest import Desk
from tests.enrolment.conftest import desk as desk
from tests.enrolment.conftest import fresh_home as fresh_home
from tests.enrolment.quick import enrolled
from tests.pulse import until
from tests.secure import SecureSite

PASSWORD = "correct-horse-battery"
DEVICE = "anna"


@dataclass(slots=True)
class Site:
    """A server that lets devices in and has a model for them."""

    claims: Claims
    server: str
    root: bytes

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
            yield Site(claims, f"{host}:{port}", house.release.root_json())
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
        return said_in(self._captions)

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
    film = codes.film(tmp_path / "camera.mp4", (codes.printed(text), 30.0))
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


@pytest.mark.soak
def test_a_code_that_was_ended_is_told_and_the_next_one_lets_it_in(site: Site, tmp_path: Path) -> None:
    ended, good = site.code(), site.code()
    film = codes.film(tmp_path / "camera.mp4", (codes.printed(ended), 7.0), (codes.printed(good), 15.0))
    with Device(tmp_path, film) as device:
        device.hears(texts.FETCHING)
    assert [line for line in device.said if line in texts.SETUP_TEXTS][:8] == [
        *(texts.HOLD_CODE, texts.CODE_FOUND, texts.CALLING, texts.REFUSED),
        *(texts.CODE_FOUND, texts.CALLING, texts.SERVER_FOUND, texts.ENROLLED),
    ]


@pytest.mark.soak
def test_a_server_that_has_moved_is_found_by_its_announcement(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("zeroconf", reason="zeroconf is not installed (pip install zeroconf)")
    old = setup_code.parse(site.code())
    assert isinstance(old, SetupCode)
    code = setup_code.text_of(replace(old, server=f"127.0.0.1:{free_port()}"))
    film = codes.film(tmp_path / "camera.mp4", (codes.printed(code), 20.0))
    with closing(Announcement("moved", int(site.server.partition(":")[2]), addresses=lambda: ("127.0.0.1",))) as here:
        here.tick()
        with Device(tmp_path, film) as device:
            device.hears(texts.ENROLLED)
    assert texts.NO_SERVER not in device.said


@pytest.mark.soak
def test_a_power_cut_after_the_enrolment_costs_neither_model_nor_introduction(
    site: Site, secure_broker: SecureSite, tmp_path: Path
) -> None:
    broker = f"{secure_broker.host}:{secure_broker.port}"
    enrolled(secure_broker.certificates, tmp_path / "state", DEVICE, broker=broker, root=site.root)
    secure_broker.settle()
    (tmp_path / "state" / FRESH).write_text("{}")
    film = films.make(tmp_path / "camera.mp4", seconds=20.0, fps=10.0, size=(160, 120), sound=False)
    with Device(tmp_path, film) as device:
        device.hears(texts.TUTORIAL[0])
    assert [line for line in device.said if line in texts.SETUP_TEXTS][:2] == [texts.FETCHING, texts.READY]


# --- an enrolled device, as a process, with the keys of a terminal ---


@pytest.fixture
def walker(tmp_path: Path, desk: Desk) -> Iterator[Walker]:
    enrolled(desk.certificates, tmp_path / "state", DEVICE)
    others = setup_code.text_of(SetupCode("192.0.2.66:8443", DEVICE, "AAAA-AAAA-AAAA-AAAA"))
    film = codes.film(tmp_path / "camera.mp4", (codes.printed(others), 50.0))
    with Walker(tmp_path, film) as walker:
        yield walker


class Walker:
    """`waycue-device run` in a terminal of its own."""

    def __init__(self, folder: Path, film: Path) -> None:
        self._captions = folder / "captions.jsonl"
        self._keys, terminal = os.openpty()
        command = [sys.executable, "-m", "device", "run", "--source", f"camera:{film}", "--speech", "none", "--quiet"]
        command += ["--state", str(folder / "state"), "--captions", str(self._captions), "--verbose"]
        self._log = folder / "device.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=terminal, stdout=log, stderr=log, start_new_session=True)
        os.close(terminal)

    def __enter__(self) -> Walker:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        assert self._process.wait(30) == 0, self.log
        os.close(self._keys)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def said(self) -> list[str]:
        return said_in(self._captions)

    def press(self, key: str) -> None:
        os.write(self._keys, key.encode())

    def hears(self, *lines: str) -> None:
        """All of these, in this order, at the end of what was said."""
        try:
            until(lambda: tuple(self.said[-len(lines) :]) == lines, str(lines))
        except TimeoutError as error:
            raise AssertionError(f"{error}; said: {self.said}; {self.log}") from None


@pytest.mark.soak
def test_a_code_on_a_wall_does_nothing_and_in_an_opened_set_up_it_needs_a_press(walker: Walker, tmp_path: Path) -> None:
    walker.hears("No model. Recording only.")
    threading.Event().wait(3.0)  # the code comes into the picture in the third second, and is ignored
    assert walker.said == ["No model. Recording only."]
    walker.press("u")
    walker.hears(texts.HOLD_CODE, texts.CODE_FOUND, texts.OTHER_SERVER)
    walker.press("m")
    walker.hears(texts.UNCHANGED)
    walker.press("u")
    walker.hears(texts.UNCHANGED, texts.ENDED)
    identity = json.loads((tmp_path / "state" / "identity" / "enrolment.json").read_text())
    assert identity["server"] == "127.0.0.1:8443"
    assert "AAAA-AAAA" not in walker.log


def said_in(captions: Path) -> list[str]:
    return [json.loads(line)["text"] for line in captions.read_text().splitlines()] if captions.exists() else []


def _holds(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
