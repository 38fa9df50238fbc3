"""Keys and switches of input devices (headset, presenter, pedal), read from the kernel's own event files.

A device is named by its name or by a link of /dev/input/by-id, never by its number, which changes. All its event files
that have one of the wanted keys are read, and grabbed: the desktop, or another program, no longer sees these keys. It
may go and come again: `read` says so, and `open` may be tried again.

No C extension: of python-evdev there are no wheels, and this needs three ioctls and a struct of 24 or 16 bytes.

source: linux/input.h, linux/input-event-codes.h; struct input_event has the size of the reading program's own long
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from device.controls.keynames import SWITCHES, key_codes
from device.controls.press import Edge, EventsLost
from device.controls.pressed import InputGone, KeyEvent
from shared.errors import ConfigError

NATIVE = struct.Struct("@llHHi")
"""struct input_event of this program: seconds, microseconds, type, code, value."""
EV_SYN, EV_KEY, EV_SW = 0, 1, 5
SYN_REPORT, SYN_DROPPED = 0, 3
AUTOREPEAT = 2
READ_EVENTS = 64
_IOC_READ, _IOC_WRITE = 2, 1
logger = logging.getLogger(__name__)


def _ioctl(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("E") << 8 | number


EVIOCGRAB = _ioctl(_IOC_WRITE, 0x90, 4)
EVIOCSCLOCKID = _ioctl(_IOC_WRITE, 0xA0, 4)
EVIOCGSW = _ioctl(_IOC_READ, 0x1B, 8)
EVIOCGBIT_SW = _ioctl(_IOC_READ, 0x20 + EV_SW, 8)
CLOCK_MONOTONIC = 1


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One input_event. t_s: on the clock that the device stamps with."""

    t_s: float
    type: int
    code: int
    value: int


def decode(data: bytes, layout: struct.Struct = NATIVE) -> tuple[list[RawEvent], bytes]:
    """(the whole events at the beginning of `data`, what is left of it)."""
    whole = len(data) - len(data) % layout.size
    events = [
        RawEvent(seconds + micros / 1e6, kind, code, value)
        for seconds, micros, kind, code, value in layout.iter_unpack(data[:whole])
    ]
    return events, data[whole:]


@dataclass(frozen=True, slots=True)
class StreamState:
    """What is known of one event file."""

    rest: bytes = b""
    """The beginning of an event of which the end has not come."""
    dropping: bool = False
    """The kernel's buffer ran over: what comes before the next SYN_REPORT is half a story."""


Found = tuple[int, int, Edge | EventsLost, float]
"""(event type, code, what happened, time)."""


def step(state: StreamState, data: bytes, layout: struct.Struct = NATIVE) -> tuple[StreamState, list[Found]]:
    """New bytes of an event file: which keys and switches changed. Pure. Autorepeat and unknown types are left out."""
    events, rest = decode(state.rest + data, layout)
    dropping, found = state.dropping, list[Found]()
    for event in events:
        if event.type == EV_SYN and event.code == SYN_DROPPED:
            dropping = True
            found.append((EV_SYN, SYN_DROPPED, EventsLost(), event.t_s))
        elif event.type == EV_SYN and event.code == SYN_REPORT:
            dropping = False
        elif event.type in (EV_KEY, EV_SW) and not dropping and event.value != AUTOREPEAT:
            found.append((event.type, event.code, Edge(event.value != 0), event.t_s))
    return StreamState(rest, dropping), found


@dataclass(slots=True)
class _EventFile:
    fd: int
    state: StreamState = field(default_factory=StreamState)
    monotonic: bool = False
    """Its stamps are of the machine's monotonic clock."""


class InputKeys:
    """An input device as a source of keys, by their names. clock_s: monotonic; root: where /dev and /sys are.

    A switch is a key too, down while it is on. Its position is told when the device is opened, and where events were
    lost: it may have been moved meanwhile.
    """

    def __init__(
        self, name: str, keys: Collection[str], clock_s: Callable[[], float], *, root: Path = Path("/")
    ) -> None:
        self._name = name
        self._codes = key_codes(keys)
        self._clock_s = clock_s
        self._root = root
        self._files: list[_EventFile] = []
        self._first: list[KeyEvent] = []

    def open(self) -> None:
        """Raises: ConfigError where there is no such device now, or it may not be read."""
        self.close()
        try:
            for path in _event_files(self._name, self._codes, self._root):
                self._files.append(self._opened(path))
        except OSError as error:
            self.close()
            hint = "Add the user to the group input." if error.errno == errno.EACCES else "Is another program using it?"
            raise ConfigError(f"The input device {self._name!r} cannot be used: {error}.", hint=hint) from None
        self._first = [event for file in self._files for event in self._positions(file.fd)]

    def read(self) -> list[KeyEvent]:
        """Raises: InputGone where one of its files has ended."""
        events, self._first = self._first, []
        for file in self._files:
            events += self._read(file)
        return events

    def close(self) -> None:
        for file in self._files:
            os.close(file.fd)
        self._files = []

    def _opened(self, path: Path) -> _EventFile:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):  # another program gives the same records
                return _EventFile(fd)
            fcntl.ioctl(fd, EVIOCGRAB, 1)
            fcntl.ioctl(fd, EVIOCSCLOCKID, struct.pack("@i", CLOCK_MONOTONIC))
        except BaseException:
            os.close(fd)
            raise
        return _EventFile(fd, monotonic=True)

    def _positions(self, fd: int) -> list[KeyEvent]:
        """Where its switches stand."""
        codes = {code: name for (kind, code), name in self._codes.items() if kind == EV_SW}
        if not codes:
            return []
        try:
            has, on = (int.from_bytes(fcntl.ioctl(fd, ask, bytes(8)), "little") for ask in (EVIOCGBIT_SW, EVIOCGSW))
        except OSError:  # a pipe, or a device without switches
            return []
        return positions(codes, has=has, on=on, now_s=self._clock_s())

    def _read(self, file: _EventFile) -> list[KeyEvent]:
        events = list[KeyEvent]()
        while True:
            try:
                data = os.read(file.fd, READ_EVENTS * NATIVE.size)
            except BlockingIOError:
                return events
            except OSError as error:
                raise InputGone(f"The input device {self._name!r} is gone: {error}.") from None
            if not data:
                raise InputGone(f"The input device {self._name!r} is gone.")
            file.state, found = step(file.state, data)
            now_s = self._clock_s()
            events += [self._named(one, now_s, file) for one in found if self._is_wanted(one)]
            if any(isinstance(one[2], EventsLost) for one in found):
                events += self._positions(file.fd)

    def _is_wanted(self, found: Found) -> bool:
        return isinstance(found[2], EventsLost) or found[:2] in self._codes

    def _named(self, found: Found, now_s: float, file: _EventFile) -> KeyEvent:
        kind, code, event, t_s = found
        # A stamp from the future, of a machine that slept, or of a pipe, is no time: the key went down by now.
        at_s = t_s if file.monotonic and 0.0 <= now_s - t_s < 60.0 else now_s
        return KeyEvent(self._codes.get((kind, code), ""), event, at_s)


def positions(codes: Mapping[int, str], *, has: int, on: int, now_s: float) -> list[KeyEvent]:
    """Where those of the wanted switches stand that a device has. has, on: a bit for each switch, as the kernel says"""
    return [KeyEvent(name, Edge(bool(on >> code & 1)), now_s) for code, name in codes.items() if has >> code & 1]


def _event_files(name: str, codes: Mapping[tuple[int, int], str], root: Path) -> list[Path]:
    """The event files of a device, by its path or its name. Raises: ConfigError."""
    link = root / "dev/input/by-id" / name
    path = Path(name) if name.startswith("/") else link
    if path.exists():
        return [path]
    own = _numbers(name, _names(root))
    able = [number for number in own if _has_one_of(root, number, codes)]
    if not able:
        raise ConfigError(f"The input device {name!r} has none of the keys of buttons.input_keys.")
    return [root / "dev/input" / f"event{number}" for number in sorted(able)]


def _numbers(name: str, names: Mapping[int, str]) -> list[int]:
    """The event files of the one device of that name, or with that in its name. Raises: ConfigError."""
    whole = {found for found in names.values() if found.lower() == name.lower()}
    meant = whole or {found for found in names.values() if name.lower() in found.lower()}
    if len(meant) > 1:
        listed = ", ".join(sorted(meant))
        raise ConfigError(f"buttons.input {name!r} may be one of: {listed}.", hint="Write the whole name.")
    if not meant:
        listed = ", ".join(sorted(set(names.values()))) or "none"
        hint = f"Is it switched on and paired? There are: {listed}."
        raise ConfigError(f"There is no input device {name!r}.", hint=hint)
    return _called(meant, names)


def _called(meant: Collection[str], names: Mapping[int, str]) -> list[int]:
    return [number for number, found in names.items() if found in meant]


def _names(root: Path) -> dict[int, str]:
    """Number of the event file → name of the device, as the kernel knows it."""
    found = {}
    for entry in (root / "sys/class/input").glob("event*"):
        try:
            found[int(entry.name.removeprefix("event"))] = (entry / "device/name").read_text().strip()
        except (OSError, ValueError):  # gone meanwhile
            continue
    return found


def _has_one_of(root: Path, number: int, codes: Mapping[tuple[int, int], str]) -> bool:
    """Whether the kernel says that an event file has one of the keys or switches."""
    folder = root / f"sys/class/input/event{number}/device/capabilities"
    bits = {EV_KEY: _bits(folder / "key"), EV_SW: _bits(folder / "sw")}
    return any(bits[kind] >> code & 1 for kind, code in codes)


def _bits(path: Path) -> int:
    """A bit map as sysfs prints it: words of the kernel's long in hexadecimal, the highest first."""
    try:
        words = path.read_text().split()
        number = 0
        for word in words:
            number = number << struct.calcsize("@l") * 8 | int(word, 16)
    except (OSError, ValueError):
        return 0
    return number


def is_switch(name: str) -> bool:
    """Whether it is the name of a switch, not of a pin."""
    return name.lower() in SWITCHES
