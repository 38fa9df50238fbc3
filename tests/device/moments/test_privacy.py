"""Places by their Wi-Fi, and the sound and light that say that a moment is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from device.controls import places
from device.controls.actions import ButtonAction
from device.controls.places import ASK_DRIVER, ASK_NETWORK, Places, PlaceState, network_name, step
from device.moments import recording
from device.moments.kept_signs import KeptSigns, sounds
from device.moments.pausing import PauseEvent
from device.moments.recording import Recording
from shared.clock import ManualClock
from shared.messages import EraseRecord
from tests.device.agent.stage import StoryModel, nothing, presses, run
from tests.device.moments.test_moments import Stage
from tests.device.outbox.records import chunk, correction
from tests.pulse import until

HOME = ("Home: sweet home",)
ENTERED, LEFT = ButtonAction.ZONE_ENTERED, ButtonAction.ZONE_LEFT


def told(*seen: tuple[float, str | None]) -> list[ButtonAction | str]:
    state, found = PlaceState(), list[ButtonAction | str]()
    for now_s, network in seen:
        state, news = step(state, network, now_s, HOME)
        found += [one for one in (news.press, news.say) if one is not None]
    return found


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([(0.0, HOME[0])], []),
        ([(0.0, "Street"), (5.0, "")], []),
        ([(0.0, "Street"), (60.0, "Street"), (65.0, HOME[0]), (70.0, HOME[0])], [LEFT, ENTERED]),
        ([(0.0, ""), (20.0, ""), (25.0, HOME[0]), (90.0, HOME[0])], []),
        ([(0.0, HOME[0]), (5.0, ""), (30.0, ""), (40.0, HOME[0]), (99.0, "")], []),
        ([(0.0, HOME[0]), (5.0, "Street"), (65.0, "Street")], [LEFT]),
        ([(0.0, HOME[0]), (5.0, None), (99.0, None)], ["Place is unknown."]),
        ([(0.0, None), (31.0, None), (62.0, None), (70.0, "x")], [LEFT, "Place is unknown.", "Place is known again."]),
        ([(0.0, None), (31.0, None), (62.0, HOME[0])], [LEFT, "Place is unknown.", ENTERED, "Place is known again."]),
        ([(0.0, HOME[0]), (5.0, ""), (10.0, None), (66.0, ""), (127.0, "")], [LEFT]),
    ],
)
def test_a_place_is_entered_at_once_and_left_late_and_a_start_counts_as_inside(
    seen: list[tuple[float, str | None]], expected: list[ButtonAction | str]
) -> None:
    assert told(*seen) == expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({ASK_NETWORK: " :Cafe\n*:Home\\: sweet home\n :\n"}, "Home: sweet home"),
        ({ASK_NETWORK: "*:back\\\\slash\n"}, "back\\slash"),
        ({ASK_NETWORK: " :Cafe\n"}, ""),
        ({ASK_NETWORK: ""}, ""),
        ({ASK_DRIVER: "Home: sweet home\n"}, "Home: sweet home"),
        ({ASK_DRIVER: ""}, ""),
        ({}, None),
    ],
)
def test_the_network_is_asked_of_whoever_can_tell(answers: dict[tuple[str, ...], str], expected: str | None) -> None:
    assert network_name(answers.get) == expected


def test_a_command_that_is_not_there_or_fails_tells_nothing() -> None:
    assert places.run(("waycue-there-is-no-such-program",)) is None
    assert places.run(("false",)) is None
    assert places.run(("printf", r"*:Home\n :\377\376\n")) == "*:Home\n :\ufffd\ufffd\n"  # a neighbour's name
    assert places.run(("echo", "*:x")) == "*:x\n"


def test_places_are_polled_as_a_button_is() -> None:
    said: list[str] = []
    zones = Places(HOME, ManualClock(), lambda text, about: said.append(text), ask=lambda command: None)
    zones.open()
    found: list[ButtonAction] = []

    def entered() -> bool:
        found.extend(press.action for press in zones.poll(3.0))
        return bool(found)

    until(entered, "the place")
    zones.close()
    assert (found, said) == ([ENTERED], [])


@pytest.mark.parametrize(
    ("flags", "presses_", "all_"),
    [
        (("wearer",), True, True),
        (("wearer", "audit"), True, True),
        (("audit",), False, True),
        (("correction",), False, True),
        (("predecessor",), False, False),
    ],
)
def test_what_was_pressed_for_is_heard_and_what_is_kept_by_itself_only_where_wanted(
    flags: tuple[str, ...], presses_: bool, all_: bool
) -> None:
    record = chunk(1, flags=flags)
    assert (sounds(record, "presses"), sounds(record, "all"), sounds(record, "none")) == (presses_, all_, False)


def test_the_light_is_for_everything_that_is_kept_and_a_correction_has_its_own_sound() -> None:
    heard: list[str] = []
    flashes: list[int] = []
    signs = KeptSigns("presses", heard.append, lambda: flashes.append(1))
    for record in (chunk(1, flags=("audit",)), replace(chunk(2), flags=("predecessor",)), chunk(3)):
        signs.kept(record)
    signs.kept(correction(1))
    signs.kept(EraseRecord("e", "pi-1", 0.0))
    assert (heard, len(flashes)) == (["kept"], 2)


def test_a_press_is_answered_by_the_sound_once_the_moment_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    from device.voice.voice import Voice

    monkeypatch.setattr(Voice, "earcon", lambda self, name: heard.append(name))
    script = presses(tmp_path, {"t_s": 1.0, "action": "flag"}, {"t_s": 5.0, "action": "flag"})
    run(tmp_path, StoryModel(nothing), buttons__script=str(script))
    assert heard.count("tick") == 2
    assert heard.count("kept") == 2


def test_a_pause_that_the_card_does_not_take_is_said_and_written_once_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "RETRY_S", 0.02)
    said: list[str] = []
    there = tmp_path / "state"
    stage = Stage()
    pauses = Recording(stage.moments, there, lambda text, about: said.append(text))
    there.write_bytes(b"no folder")
    pauses.start()
    pauses.happened(PauseEvent.PRESSED, 1.0)
    until(lambda: said == ["Recording paused.", "Paused until the next start only."], "what is wrong")
    assert pauses.paused
    there.unlink()
    there.mkdir(exist_ok=True)  # unless the next try has made it
    until((there / recording.FILE).exists, "the pause on the card")
    pauses.close()
    assert len(said) == 2
