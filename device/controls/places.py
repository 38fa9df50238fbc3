"""Places where nothing is recorded, told by the name of the Wi-Fi that the device is connected to.

A place is entered at once, and left only when another network, or none, has been seen for LEAVE_S: a router that starts
again is no reason to record at home. So it is at the start: a board that was switched on at home is on no network yet.
Where nobody can tell the network, what was known last counts, and after a while that is said; nothing was known
at a start, and recording then goes on.
"""

from __future__ import annotations

import logging
import queue
import re
import subprocess
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from device.controls.actions import ButtonAction, Press
from shared.background import Background
from shared.clock import Clock

UNKNOWN = "Place is unknown."
KNOWN = "Place is known again."
PLACE_TEXTS = (UNKNOWN, KNOWN)
ABOUT = "place"
EVERY_S = 5.0
LEAVE_S = 60.0
TELL_UNKNOWN_S = 30.0
ASK_S = 4.0
JOIN_S = ASK_S + 2.0
ASK_NETWORK = ("nmcli", "-t", "-f", "IN-USE,SSID", "device", "wifi", "list", "--rescan", "no")
ASK_DRIVER = ("iwgetid", "--raw")
logger = logging.getLogger(__name__)

Ask = Callable[[tuple[str, ...]], str | None]
"""Runs a command and returns what it prints; None where it cannot."""


@dataclass(frozen=True, slots=True)
class PlaceState:
    """As at the start: inside, as far as anybody can tell."""

    inside: bool = True
    known: bool = False
    """Somebody could tell, at least once."""
    outside_since_s: float | None = None
    unknown_since_s: float | None = None
    told_unknown: bool = False


@dataclass(frozen=True, slots=True)
class PlaceNews:
    """What changed; None = nothing."""

    press: ButtonAction | None = None
    say: str | None = None


def step(state: PlaceState, network: str | None, now_s: float, places: Collection[str]) -> tuple[PlaceState, PlaceNews]:
    """network: the name of the Wi-Fi, "" = none, None = nobody can tell. Pure."""
    if network is None:
        return _unknown(state, now_s)
    say = KNOWN if state.told_unknown else None
    state = replace(state, known=True, unknown_since_s=None, told_unknown=False)
    if network in places:
        entered = None if state.inside else ButtonAction.ZONE_ENTERED
        return replace(state, inside=True, outside_since_s=None), PlaceNews(entered, say)
    state, left = _outside(state, now_s)
    return state, PlaceNews(left, say)


def _unknown(state: PlaceState, now_s: float) -> tuple[PlaceState, PlaceNews]:
    since_s = now_s if state.unknown_since_s is None else state.unknown_since_s
    tell = now_s - since_s >= TELL_UNKNOWN_S and not state.told_unknown
    after = replace(state, unknown_since_s=since_s, told_unknown=state.told_unknown or tell, outside_since_s=None)
    if not tell:
        return after, PlaceNews()
    if state.known:
        return after, PlaceNews(say=UNKNOWN)
    return replace(after, inside=False), PlaceNews(ButtonAction.ZONE_LEFT if state.inside else None, UNKNOWN)


def _outside(state: PlaceState, now_s: float) -> tuple[PlaceState, ButtonAction | None]:
    """Another network, or none: that is left, or not yet."""
    if not state.inside:
        return state, None
    since_s = now_s if state.outside_since_s is None else state.outside_since_s
    if now_s - since_s < LEAVE_S:
        return replace(state, outside_since_s=since_s), None
    return replace(state, inside=False, outside_since_s=None), ButtonAction.ZONE_LEFT


def network_name(ask: Ask) -> str | None:
    """The Wi-Fi that the device is connected to, "" = none, None = nobody can tell."""
    listed = ask(ASK_NETWORK)
    if listed is None:
        driver = ask(ASK_DRIVER)
        return None if driver is None else driver.rstrip("\n")
    for line in listed.splitlines():
        in_use, _, name = line.partition(":")
        if in_use == "*":
            return re.sub(r"\\(.)", r"\1", name)
    return ""


def run(command: tuple[str, ...]) -> str | None:
    """What a command prints; None where it cannot be run or fails."""
    try:
        # A neighbour's network may have any bytes for its name.
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=ASK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


class Places:
    """Asks every few seconds on a thread of its own; polled as a button is. announce(text, about): said."""

    def __init__(
        self, places: Collection[str], clock: Clock, announce: Callable[[str, str], None], *, ask: Ask = run
    ) -> None:
        self._places = frozenset(places)
        self._clock = clock
        self._announce = announce
        self._ask = ask
        self._state = PlaceState()
        self._presses: queue.SimpleQueue[ButtonAction] = queue.SimpleQueue()
        self._rounds = Background.every(EVERY_S, self.look, name="places", at_once=True)

    def open(self) -> None:
        """Begin to ask. Until it is known that this is no such place, it counts as one."""
        if self._state.inside:
            self._presses.put(ButtonAction.ZONE_ENTERED)
        self._rounds.start()

    def look(self) -> None:
        """One round."""
        before = self._state.inside
        self._state, news = step(self._state, network_name(self._ask), self._clock.monotonic_s(), self._places)
        if self._state.inside is not before:
            logger.info("Inside one of the places of privacy.pause_at: %s", self._state.inside)
        if news.press is not None:
            self._presses.put(news.press)
        if news.say is not None:
            self._announce(news.say, ABOUT)

    def poll(self, now_s: float) -> list[Press]:
        presses = []
        while not self._presses.empty():
            presses.append(Press(self._presses.get(), now_s))
        return presses

    def close(self) -> None:
        self._rounds.close(JOIN_S)
