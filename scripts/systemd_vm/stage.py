"""What a scenario does, and the table of what was heard: events and sounds on one time line, that of the recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from scripts.systemd_vm import ears
from scripts.systemd_vm.ears import Heard, Sound
from shared import atomic
from shared.clock import Clock
from shared.wav import encode_wav, resample

RECORDED_HZ = 16_000
DEVICE, SENTINEL = "waycue-device", "waycue-sentinel"
SETTINGS = "/etc/waycue/device.toml"
STATE = "/var/lib/waycue-device"


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ran inside."""

    status: int
    output: str


class Box(Protocol):
    """A machine that scenarios are played on."""

    def run(self, command: str, *, timeout_s: float = 60.0) -> Done: ...
    def start(self) -> None: ...
    def power_on(self) -> None: ...
    def power_off(self) -> None: ...
    def until_up(self, timeout_s: float) -> float: ...
    def camera_on(self) -> None: ...
    def stop(self) -> None: ...


@runtime_checkable
class CardBox(Box, Protocol):
    """One whose memory card can fail."""

    def stall_card(self) -> None: ...
    def thaw_card(self) -> None: ...
    def lock_card(self, *, read_only: bool) -> None: ...


@runtime_checkable
class KeyBox(Box, Protocol):
    """One with keys and pins, which needs a kernel of its own."""

    def press_key(self, name: str) -> None: ...
    def pull_out_keyboard(self) -> None: ...
    def plug_in_keyboard(self) -> None: ...


@dataclass(slots=True)
class Happening:
    """Something that was done, and what should and should not be heard after it."""

    at_s: float
    what: str
    hears: Mapping[str, float]
    """Text → within how many seconds."""
    never: tuple[str, ...]
    until_s: float = 0.0
    facts: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Stage:
    """Of one scenario. so_far: the samples that were recorded so far, int16 at RECORDED_HZ."""

    def __init__(self, name: str, box: Box, so_far: Callable[[], NDArray[np.int16]], clock: Clock) -> None:
        self.name, self.box = name, box
        self._so_far, self._clock = so_far, clock
        self._from = self._so_far().size
        self.happened: list[Happening] = []
        self.heard: list[Heard] = []
        self.failure = ""
        """Why it could not be played to its end."""
        self._checks: list[Callable[[], None]] = []

    def now_s(self) -> float:
        """Of the recording of this scenario."""
        return (self._so_far().size - self._from) / RECORDED_HZ

    def pause(self, seconds: float) -> None:
        self._clock.sleep(seconds)

    def event(
        self,
        what: str,
        act: str | Callable[[], object] = "true",
        *,
        listen_s: float,
        hears: Mapping[str, float] | None = None,
        never: tuple[str, ...] = (),
    ) -> Happening:
        """Do it (a shell command inside, or a call), and listen. hears: which text within how many seconds."""
        made = Happening(self.now_s(), what, hears or {}, never)
        self.happened.append(made)
        if callable(act):
            act()
        else:
            done = self.box.run(act)
            if done.status:
                made.wrong.append(f"the command ended with {done.status}: {done.output.strip()[-200:]}")
        self._clock.sleep(max(0.0, made.at_s + listen_s - self.now_s()))
        made.until_s = self.now_s()
        return made

    def fact(self, what: str, command: str) -> str:
        """Note what a command inside says."""
        said = self.box.run(command).output.strip()
        self.happened[-1].facts.append(f"{what}: {said}")
        return said

    def expect(self, *, that: bool, what: str) -> None:
        """Something beside what is heard."""
        if not that:
            self.happened[-1].wrong.append(what)

    def at_the_end(self, check: Callable[[], None]) -> None:
        """A check of what was heard, which is known at the end only."""
        self._checks.append(check)

    def keep(self, folder: Path) -> Sound:
        """Keep recording and journal. Returns the recording at the ears' rate."""
        samples = self._so_far()[self._from :]
        atomic.write_bytes(folder / f"{self.name}.wav", encode_wav(samples, RECORDED_HZ))
        journal = self.box.run("journalctl --boot --no-pager --output=short-precise | tail -n 5000")
        atomic.write_bytes(folder / f"{self.name}.journal", journal.output.encode())
        return (resample(samples, RECORDED_HZ, ears.RATE_HZ) / 32768).astype(np.float32)

    def judge(self, heard: list[Heard]) -> None:
        """Compare what was heard with what should have been."""
        self.heard = heard
        for happening in self.happened:
            happening.wrong += self._wrong(happening)
        for check in self._checks:
            check()

    def _wrong(self, happening: Happening) -> list[str]:
        after = [sound for sound in self.heard if happening.at_s <= sound.at_s < happening.until_s]
        late = [_late(after, text, happening.at_s, within_s) for text, within_s in happening.hears.items()]
        unwanted = [text for text in happening.never if any(sound.text.startswith(text) for sound in after)]
        return [*filter(None, late), *(f"{text!r} was heard" for text in unwanted)]

    @property
    def passed(self) -> bool:
        return not self.failure and not any(happening.wrong for happening in self.happened)

    def table(self) -> list[str]:
        """Lines: time, event or what is heard, seconds after the event."""
        verdict = "as it should be" if self.passed else "NOT as it should be"
        lines = [f"== {self.name}: {verdict}"]
        lines += [f"          WRONG  {self.failure}"] if self.failure else []
        rows: list[tuple[float, Happening | Heard]] = [(happening.at_s, happening) for happening in self.happened]
        rows += [(sound.at_s, sound) for sound in self.heard]
        last_s = 0.0
        for at_s, row in sorted(rows, key=lambda row: row[0]):
            if isinstance(row, Happening):
                last_s = at_s
                lines.append(f"{at_s:8.1f}  EVENT  {row.what}")
                lines += [f"                 {fact}" for fact in row.facts]
                lines += [f"          WRONG  {wrong}" for wrong in row.wrong]
            else:
                text = row.text or f"(a sound of {row.ends_s - row.at_s:.1f} s that is none of the known ones)"
                lines.append(f"{at_s:8.1f}  heard  {text}  [{at_s - last_s:.1f} s after]")
        return lines


def _late(after: list[Heard], text: str, at_s: float, within_s: float) -> str:
    """What is wrong with when a text was heard; "" = nothing."""
    after_s = next((sound.at_s - at_s for sound in after if sound.text.startswith(text)), None)
    if after_s is None:
        return f"{text!r} was not heard"
    return f"{text!r} was heard after {after_s:.1f} s, not within {within_s:g} s" if after_s > within_s else ""
