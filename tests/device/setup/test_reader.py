"""What is read of pictures: codes that are small, tilted, dark; foreign ones, damaged ones, two at once."""

from __future__ import annotations

import os

import numpy as np
import pytest

from device.setup.kinds import CodeSeen, CodeTrouble, OtherSeen
from device.setup.reader import CodeReader, event_of
from shared import setup_code
from shared.setup_code import SetupCode, WifiNetwork
from tests.device.setup import codes
from tests.device.setup.codes import CLAIM, WITH_WIFI, View, held, printed

OURS = CodeSeen(setup_code.parse(WITH_WIFI))
LOOKS = 2
"""The second look is with both detectors in turn."""


def seen(*shown: tuple[codes.Picture, View]) -> CodeSeen | OtherSeen | None:
    """What a few pictures of them lead to: the first that is a code of ours, else the last."""
    reader = CodeReader()
    event = None
    for number in range(LOOKS):
        event = event_of(reader.read(held(*shown, number=number)))
        if isinstance(event, CodeSeen):
            break
    return event


@pytest.mark.parametrize(
    "view",
    [
        View(side_px=110),
        View(side_px=330),
        View(tilt_deg=40),
        View(turn_deg=45),
        View(turn_deg=180),
        View(blur_px=5),
        View(light=0.2, noise=6),
        View(at=(150, -80)),
    ],
    ids=["small", "large", "tilted", "turned", "upside down", "blurred", "dark", "in a corner"],
)
def test_a_code_is_read_however_it_is_held(view: View) -> None:
    assert seen((printed(WITH_WIFI), view)) == OURS


def test_of_a_picture_without_a_code_nothing_is_told() -> None:
    reader = CodeReader()
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    black = np.zeros((480, 640, 3), np.uint8)
    for picture in (codes.room(), black, noise, np.full((7, 5, 3), 200, np.uint8)):
        assert event_of(reader.read(picture)) in (None, OtherSeen(CodeTrouble.TORN))
    assert event_of(reader.read(codes.room())) is None


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/menu",
        "waycue:enrol?server=10.0.0.1:8443&device=anna",
        "waycue:enrol?server=10.0.0.1:8443&device=../x&code=K7QX-3M9T-0AZW-E4HB",
        "BEGIN:VCARD\nN:Muster\nEND:VCARD",
        os.urandom(300),
        bytes(range(128, 256)),
    ],
    ids=["a URL", "half of ours", "ours with a bad name", "a card", "binary", "bytes above ASCII"],
)
def test_a_foreign_code_is_told_as_foreign(text: str | bytes) -> None:
    assert seen((printed(text), View(side_px=330, tilt_deg=2))) == OtherSeen(CodeTrouble.FOREIGN)


def test_three_kilobytes_of_binary_end_nothing() -> None:
    large = printed(os.urandom(2300))
    assert seen((large, View(side_px=470, tilt_deg=0, turn_deg=0))) in (
        None,
        OtherSeen(CodeTrouble.FOREIGN),
        OtherSeen(CodeTrouble.TORN),
    )


def test_a_wifi_code_of_a_router_is_a_network() -> None:
    shown = printed('WIFI:T:WPA;S:Caf\\;e;P:"pass\\:word 1";H:true;;')
    assert seen((shown, View())) == CodeSeen(WifiNetwork("Caf;e", password="pass:word 1", hidden=True))


@pytest.mark.parametrize(
    "text", ["WIFI:T:WEP;S:old;P:abcde;;", "WIFI:T:WPA2-EAP;S:work;I:me;P:secret123;;", "WIFI:T:WPA;S:short;P:1;;"]
)
def test_a_network_of_a_kind_that_is_not_joined_is_told_as_that(text: str) -> None:
    assert seen((printed(text), View())) == OtherSeen(CodeTrouble.BAD_NETWORK)


def test_two_different_codes_of_ours_are_told_and_the_same_twice_is_one() -> None:
    other = CLAIM.replace("K7QX", "AAAA")
    left, right = View(side_px=230, at=(-140, 0)), View(side_px=230, at=(140, 0))
    assert seen((printed(CLAIM), left), (printed(other), right)) == OtherSeen(CodeTrouble.SEVERAL)
    assert seen((printed(CLAIM), left), (printed(CLAIM), right)) == CodeSeen(setup_code.parse(CLAIM))


def test_beside_a_foreign_code_and_a_router_s_ours_counts() -> None:
    left, right = View(side_px=230, at=(-140, 0)), View(side_px=230, at=(140, 0))
    for beside in ("https://example.org/box", "WIFI:T:WPA;S:home;P:password1;;"):
        assert seen((printed(beside), left), (printed(CLAIM), right)) == CodeSeen(setup_code.parse(CLAIM))


def test_a_torn_code_is_told_as_torn() -> None:
    assert seen((codes.torn(printed(WITH_WIFI)), View())) == OtherSeen(CodeTrouble.TORN)


def test_a_password_is_in_no_representation() -> None:
    event = seen((printed(WITH_WIFI), View()))
    assert isinstance(event, CodeSeen)
    assert isinstance(event.code, SetupCode)
    assert "correct-horse" not in repr(event) + repr(CodeReader().read(held((printed(WITH_WIFI), View()))))
    assert "K7QX" not in repr(event)
