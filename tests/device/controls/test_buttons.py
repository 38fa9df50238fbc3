"""Scripted presses, terminal keys on a real pseudo-terminal, and a pin through gpiozero's own mock."""

from __future__ import annotations

import importlib.util
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.controls.actions import ButtonAction, Press
from device.controls.buttons import Keys, Script
from device.controls.pins import PinKey, PinSwitch
from shared.errors import ConfigError
from tests.pulse import until


def script(folder: Path, text: str) -> Script:
    path = folder / "presses.jsonl"
    path.write_text(text)
    return Script.load(path)


def test_scripted_presses_come_when_their_time_has_come_in_order(tmp_path: Path) -> None:
    presses = script(
        tmp_path,
        '{"t_s": 8, "action": "flag"}\n\n'
        '{"t_s": 4.0, "action": "hold", "until_s": 6.5}\n'
        '{"t_s": 5, "action": "repeat"}\n',
    )
    assert presses.poll(3.9) == []
    assert presses.poll(5.5) == [Press(ButtonAction.HOLD, 4.0), Press(ButtonAction.REPEAT, 5.0)]
    assert presses.poll(5.5) == []
    assert presses.poll(100.0) == [Press(ButtonAction.RELEASE, 6.5), Press(ButtonAction.FLAG, 8.0)]


@pytest.mark.parametrize(
    "line",
    [
        "flag",
        "[]",
        '{"t_s": 1}',
        '{"t_s": "soon", "action": "flag"}',
        '{"t_s": 1, "action": "jump"}',
        '{"t_s": 1, "action": "hold"}',
        '{"t_s": 4, "action": "hold", "until_s": 3}',
        '{"t_s": -1, "action": "flag"}',
        '{"t_s": NaN, "action": "flag"}',
    ],
)
def test_a_line_that_is_no_press_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match="line 2"):
        script(tmp_path, '{"t_s": 1, "action": "flag"}\n' + line)


@given(st.text(max_size=60))
def test_any_text_is_a_script_or_a_config_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    try:
        script(tmp_path_factory.mktemp("script"), text.encode("utf-8", "replace").decode())
    except ConfigError:
        pass


def test_a_missing_script_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.jsonl"):
        Script.load(tmp_path / "none.jsonl")


def test_keys_of_a_terminal_work_without_enter_and_the_terminal_is_put_back() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as terminal:
        before = termios.tcgetattr(terminal)
        keys = Keys(lambda: 3.0, stream=terminal)
        keys.open()
        assert keys.active
        os.write(ours, b" cxCrmq")
        found: list[Press] = []

        def all_came() -> bool:
            found.extend(keys.poll(3.0))
            return len(found) >= 6

        until(all_came, "the keys")
        assert [press.action for press in found] == ["flag", "hold", "release", "repeat", "mute", "quit"]
        assert {press.t_s for press in found} == {3.0}
        keys.close()
        keys.close()
        assert termios.tcgetattr(terminal) == before
    os.close(ours)


def test_a_terminal_that_is_closed_ends_the_keys_and_nothing_else() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as terminal:
        keys = Keys(lambda: 0.0, stream=terminal)
        keys.open()
        os.close(ours)
        assert keys.poll(0.0) == []
        assert not keys.active
        keys.close()


def test_without_a_terminal_there_are_no_keys(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("q")
    with (tmp_path / "empty").open() as stream:
        keys = Keys(lambda: 0.0, stream=stream)
        keys.open()
        assert not keys.active
        assert keys.poll(0.0) == []


PIN_TEST = """
import threading
from gpiozero import Device
from gpiozero.pins.mock import MockFactory
from device.controls.bindings import binding
from device.controls.pins import PinKey, PinLight, PinSwitch
from device.controls.pressed import PressedKeys

Device.pin_factory = MockFactory()
now = 0.0

def button(name, presses):
    keys = PressedKeys(
        PinKey(name, lambda: now), {"": binding(presses, "x")}, lambda: now, hold_s=0.3, double_s=0.4
    )
    keys.open()
    return keys, Device.pin_factory.pin(name)

def wait_for(keys, count):
    found, pause = [], threading.Event()
    for _ in range(2000):
        found += [(p.action.value, p.t_s) for p in keys.poll(now)]
        if len(found) >= count:
            break
        pause.wait(0.01)
    return found

keys, pin = button("GPIO17", "flag, correct")
now = 1.0; pin.drive_low(); now = 1.1; pin.drive_high()
print(wait_for(keys, 1))
now = 2.0; pin.drive_low(); now = 2.5
held = wait_for(keys, 1)
now = 5.0; pin.drive_high()
print(held + wait_for(keys, 1))
keys.close()
keys, pin = button("GPIO27", "repeat, mute, forget")
now = 6.0; pin.drive_low(); now = 6.1; pin.drive_high(); now = 6.3; pin.drive_low(); now = 6.4; pin.drive_high()
double = wait_for(keys, 1)
now = 8.0; pin.drive_low(); now = 8.5; muted = wait_for(keys, 1)
now = 9.0; pin.drive_high()
print(double + muted, keys.poll(now))
keys.close()
switch = PinSwitch("GPIO23")
switch.open()
pin = Device.pin_factory.pin("GPIO23")
pin.drive_low(); seen = [[p.action.value for p in switch.poll(now)] for _ in range(2)]
pin.drive_high(); seen += [[p.action.value for p in switch.poll(now)] for _ in range(2)]
pin.drive_low(); seen += [[p.action.value for p in switch.poll(now)]]
pin.drive_high(); seen += [[p.action.value for p in switch.poll(now)] for _ in range(2)]
print(seen)
switch.close()
light = PinLight("GPIO24")
light.flash()
light.open()
pin = Device.pin_factory.pin("GPIO24")
light.flash()
lit, pause = [], threading.Event()
for _ in range(200):
    lit += [pin.state] if not lit or lit[-1] != pin.state else []
    if lit[-2:] == [True, False]:
        break
    pause.wait(0.01)
print(lit[-2:], light.poll(now))
light.close()
"""


@pytest.mark.skipif(importlib.util.find_spec("gpiozero") is None, reason="gpiozero is not installed")
def test_a_pin_gives_short_long_and_double_presses_and_a_switch_its_position_once_it_is_steady() -> None:
    # In a process of its own: gpiozero's pin factory is global and warns about the machine it is on.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PIN_TEST], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "[('flag', 1.0)]",
        "[('hold', 2.0), ('release', 5.0)]",
        "[('forget', 6.0), ('mute', 8.0)] []",
        "[[], ['switch_on'], [], ['switch_off'], [], [], []]",
        "[True, False] []",
    ]


def test_a_pin_without_gpiozero_says_what_to_install() -> None:
    code = "import sys; sys.modules['gpiozero'] = None\nfrom device.controls.pins import PinKey\n"
    code += "PinKey('GPIO17', float).open()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "sudo apt install python3-gpiozero" in done.stderr
    assert "ConfigError" in done.stderr


TRIED_AGAIN = """
import logging, sys, threading
from device.controls.pins import PinKey, PinSwitch
from device.controls.retried import RetriedButtons
logging.basicConfig(format="%(message)s", stream=sys.stderr)
said, ended = [], threading.Event()
pins = [PinKey("GPIO17", float), PinSwitch("GPIO23"), PinKey("GPIO27", float)]
tries = [RetriedButtons(pin, ("failed", "back"), lambda text, about: said.append(text), first_s=0.02) for pin in pins]
opened = [0]
for pin in pins:
    def counted(first=pin.open):
        opened[0] += 1
        ended.set() if opened[0] > 12 else None
        first()
    pin.open = counted
for one in tries:
    one.open()
assert ended.wait(30)
for one in tries:
    one.close()
print(said)
"""


@pytest.mark.skipif(importlib.util.find_spec("gpiozero") is None, reason="gpiozero is not installed")
@pytest.mark.skipif(Path("/dev/gpiochip0").exists(), reason="this machine has pins")
def test_pins_that_are_tried_again_and_again_say_once_what_is_missing() -> None:
    done = subprocess.run([sys.executable, "-c", TRIED_AGAIN], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == [str(["failed"] * 3)]
    lines = done.stderr.splitlines()
    assert [line.split(" cannot")[0] for line in lines] == [
        "The button on pin GPIO17", "The button on pin GPIO23", "The button on pin GPIO27"
    ]  # fmt: skip
    assert all("lgpio" in line and "Check buttons." in line for line in lines)


@pytest.mark.skipif(importlib.util.find_spec("gpiozero") is None, reason="gpiozero is not installed")
@pytest.mark.skipif(Path("/dev/gpiochip0").exists(), reason="this machine has pins")
def test_a_pin_on_a_machine_without_pins_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="GPIO17"):
        PinKey("GPIO17", lambda: 0.0).open()
    with pytest.raises(ConfigError, match="GPIO23"):
        PinSwitch("GPIO23").open()


AGAIN_AND_AGAIN = """
import warnings
from device.controls.pins import PinKey
for _ in range(3):
    with warnings.catch_warnings(): warnings.simplefilter("ignore", DeprecationWarning)  # as many libraries do
    try: PinKey("GPIO17", lambda: 0.0).open()
    except Exception as error: print(error)
"""


@pytest.mark.skipif(importlib.util.find_spec("gpiozero") is None, reason="gpiozero is not installed")
@pytest.mark.skipif(Path("/dev/gpiochip0").exists(), reason="this machine has pins")
def test_a_pin_that_is_tried_for_ever_tells_once_why_each_library_cannot_be_used() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AGAIN_AND_AGAIN], capture_output=True, text=True, check=True, timeout=60
    )
    reasons = [line for line in done.stderr.splitlines() if "Falling back" in line]
    assert reasons
    assert len(reasons) == len(set(reasons))
    said = "The button on pin GPIO17 cannot be used: Unable to load any default pin factory. Check buttons.pin, and"
    assert done.stdout.splitlines() == [f"{said} that this is a Pi."] * 3
