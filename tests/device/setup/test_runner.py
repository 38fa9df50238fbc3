"""The runner with a real enrolment server: pictures and presses in, words out, an identity on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from device.capture.source import VideoFrame
from device.controls.actions import ButtonAction, Press
from device.identity import identity
from device.identity.identity import Identity
from device.setup import texts
from device.setup.kinds import Enrolled, Say, Watched
from device.setup.runner import FRESH, Owner, Setup, SetupPorts
from shared import setup_code
from shared.clock import SystemClock
from shared.floor import ClockFloor
from shared.setup_code import SetupCode
from tests.device.setup import codes
from tests.device.setup.codes import View
from tests.enrolment.conftest import Desk
from tests.enrolment.conftest import desk as desk
from tests.enrolment.conftest import fresh_home as fresh_home
from tests.enrolment.test_enrol import InTheMiddle
from tests.pulse import until

CLOCK = SystemClock()
NOBODY = "127.0.0.1:1"
OWNED = Enrolled("anna", "10.0.0.1:8443")


@dataclass(slots=True)
class Stage:
    """A set-up that is under way, and what it said."""

    setup: Setup
    said: list[str]
    restarts: list[None] = field(default_factory=list)

    def show(self, code: SetupCode, text: str) -> None:
        """Hold it before the camera until this was said."""
        picture = codes.held((codes.printed(setup_code.text_of(code)), View()))
        pause = threading.Event()
        for number in range(300):
            if text in self.said:
                return
            self.setup.offer(VideoFrame(picture, number / 10))
            pause.wait(0.05)
        raise AssertionError(f"{text!r} was not said, but {self.said}")


@contextmanager
def staged(
    state: Path,
    *,
    enrolled: Enrolled | None = None,
    name: str = "",
    find: Callable[[], tuple[str, ...]] = lambda: (),
    looks: bool = True,
) -> Iterator[Stage]:
    said: list[str] = []
    restarts: list[None] = []

    def say(line: Say) -> None:
        said.append(line.text)
        setup.said(line.text)

    owner = Owner(state, ClockFloor(state, CLOCK), enrolled, name)
    watched = Watched(online=False, fetching=False, guides=False)
    ports = SetupPorts(say, lambda: watched, lambda: restarts.append(None), CLOCK, 190, find=find)
    setup = Setup(owner, ports, looks=looks)
    setup.start()
    try:
        yield Stage(setup, said, restarts)
    finally:
        setup.close()


def code_of(desk: Desk, *, server: str = "") -> SetupCode:
    return SetupCode(server or desk.server, "anna", desk.book.add("anna").code)


def test_a_code_gives_the_device_its_identity_and_a_new_start(desk: Desk) -> None:
    with staged(desk.state) as stage:
        stage.show(code_of(desk), texts.ENROLLED)
        until(lambda: len(stage.restarts) == 1, "the restart")
    made = Identity.open(desk.state, floor=ClockFloor(desk.state, CLOCK))
    assert made is not None
    assert (made.device, (desk.state / FRESH).exists()) == ("anna", True)


def test_the_settings_name_of_the_device_is_not_overruled_and_the_code_stays_good(desk: Desk) -> None:
    code = code_of(desk)
    with staged(desk.state, name="bert") as stage:
        stage.show(code, texts.OTHER_NAME)
    assert not (desk.state / "identity").exists()
    with staged(desk.state, name="anna") as stage:
        stage.show(code, texts.ENROLLED)


def test_a_card_that_takes_nothing_is_told(desk: Desk, tmp_path: Path) -> None:
    state = tmp_path / "a file" / "state"
    state.parent.write_text("no folder")
    with staged(state) as stage:
        stage.show(code_of(desk), texts.NO_STORAGE)


def test_a_server_elsewhere_is_asked_with_the_same_code(desk: Desk) -> None:
    with staged(desk.state, find=lambda: (NOBODY, desk.server)) as stage:
        stage.show(code_of(desk, server=NOBODY), texts.ENROLLED)
    assert texts.NO_SERVER not in stage.said


class OtherProgram(InTheMiddle):
    """Something else that has the server's old address: a router's page, another product's port 8443."""

    def __init__(self, desk: Desk, folder: Path, answer: tuple[int, str, bytes]) -> None:
        self._answer = answer
        super().__init__(desk, folder, forge=False)

    def _pass_on(self, body: bytes) -> tuple[int, str, bytes]:
        return self._answer


@pytest.mark.parametrize(
    "answer",
    [(404, "", b"<html>"), (200, "", b"<html>Please log in"), (403, "", b"Forbidden")],
    ids=["404", "200", "403"],
)
def test_another_program_at_the_servers_old_address_ends_nothing(
    desk: Desk, tmp_path: Path, answer: tuple[int, str, bytes]
) -> None:
    other = OtherProgram(desk, tmp_path / "other", answer)
    with closing(other), staged(desk.state, find=lambda: (desk.server,)) as stage:
        stage.show(code_of(desk, server=other.server), texts.ENROLLED)
    assert not {texts.REFUSED, texts.BUSY} & set(stage.said)


def test_where_nobody_is_found_it_is_told(desk: Desk) -> None:
    with staged(desk.state) as stage:
        stage.show(code_of(desk, server=NOBODY), texts.NO_SERVER)


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example", "ü..de"])
def test_a_host_that_can_be_no_name_is_told_at_once(tmp_path: Path, host: str) -> None:
    code = SetupCode(f"{host}:8443", "anna", "K7QX-3M9T-0AZW-E4HB")
    with staged(tmp_path) as stage:
        stage.show(code, texts.NO_SERVER)


def test_an_errand_that_fails_in_a_way_that_nobody_thought_of_is_told(tmp_path: Path) -> None:
    def find() -> tuple[str, ...]:
        raise RuntimeError("nobody thought of this")

    code = SetupCode(NOBODY, "anna", "K7QX-3M9T-0AZW-E4HB")
    with staged(tmp_path, find=find) as stage:
        stage.show(code, texts.NO_SERVER)


def test_power_that_goes_right_after_the_enrolment_costs_no_introduction(desk: Desk) -> None:
    """What is left to do is on disk before the identity is."""
    there: list[bool] = []

    def store(*args: Any, **kwargs: Any) -> Path:
        there.append((desk.state / FRESH).exists())
        return real(*args, **kwargs)

    real, identity.store = identity.store, store
    try:
        with staged(desk.state) as stage:
            stage.show(code_of(desk), texts.ENROLLED)
    finally:
        identity.store = real
    assert there == [True]


def test_a_code_that_is_refused_brings_no_introduction_to_a_device_that_stays_whose_it_was(desk: Desk) -> None:
    wrong = SetupCode(desk.server, "bert", "K7QX-3M9T-0AZW-E4HB")
    with staged(desk.state, enrolled=Enrolled("anna", desk.server)) as stage:
        stage.show(wrong, texts.OTHER_SERVER)
        assert stage.setup.pressed(Press(ButtonAction.FLAG, 0.1))
        until(lambda: texts.REFUSED in stage.said, "the refusal")
    assert not (desk.state / FRESH).exists()


def test_a_renewed_code_of_the_same_name_brings_no_second_introduction(desk: Desk) -> None:
    with staged(desk.state, enrolled=Enrolled("anna", desk.server)) as stage:
        stage.show(code_of(desk), texts.ENROLLED)
        until(lambda: len(stage.restarts) == 1, "the restart")
    assert not (desk.state / FRESH).exists()


def test_while_it_is_closed_no_picture_is_kept_and_no_press_taken_but_the_one_that_opens_it(tmp_path: Path) -> None:
    with staged(tmp_path, enrolled=OWNED, looks=False) as stage:
        stage.setup.offer(VideoFrame(codes.room(), 0.0))
        assert stage.setup._picture is None
        others = [action for action in ButtonAction if action is not ButtonAction.SETUP]
        assert [action for action in others if stage.setup.pressed(Press(action, 0.0))] == []
        assert not stage.setup.begins
        assert stage.setup.pressed(Press(ButtonAction.SETUP, 0.0))
        until(lambda: stage.said == [texts.HOLD_CODE], "the set-up to open")
        stage.setup.offer(VideoFrame(codes.room(), 0.1))
        assert stage.setup.pressed(Press(ButtonAction.HOLD, 0.2))
        until(lambda: stage.said[-1] == texts.ENDED, "the set-up to close")
        assert stage.setup.pressed(Press(ButtonAction.RELEASE, 0.3)), "it belongs to the press before"
        assert not stage.setup.pressed(Press(ButtonAction.RELEASE, 0.4))
