"""What the wearer presses, under a kernel of its own: a USB keyboard and a push button on a pin of the board."""

from __future__ import annotations

from collections.abc import Callable

from device.controls.retried import BACK as BUTTON_BACK
from device.controls.retried import FAILED as BUTTON_FAILED
from device.controls.retried import REMOTE_BACK, REMOTE_FAILED
from device.guidance.loop import NO_CAMERA
from device.moments.pausing import PAUSED, RESUMED
from scripts.systemd_vm.stage import DEVICE, SETTINGS, KeyBox, Stage

BOOT_S, START_S, ANSWER_S = 900.0, 1200.0, 120.0
"""The processor is emulated: everything takes long. Its sound card was recorded silent, so captions are judged."""
KEYBOARD, KEY, PIN = "QEMU QEMU USB Keyboard", "f1", 17
BUTTONS = f"""
keys = false
input = "{KEYBOARD}"
input_keys = ["{KEY}: pause"]
pin = "GPIO{PIN}"
press = "pause, pause"
"""
SIMULATED = "/sys/kernel/config/gpio-sim/board"
MAKE_PINS = f"""
set -e
printf 'pins\\npi_revision\\n' > /run/pins.conf
/lib/systemd/systemd-modules-load /run/pins.conf
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
mkdir -p {SIMULATED}/bank
echo 28 > {SIMULATED}/bank/num_lines
echo 1 > {SIMULATED}/live
"""
PULL = f"/sys/devices/platform/gpio-sim.0/gpiochip*/sim_gpio{PIN}/pull"
PRESS_PIN = f"echo pull-down | tee {PULL}; sleep 0.3; echo pull-up | tee {PULL}"


def pressed(stage: Stage) -> None:
    """A USB key and a button on a pin are pressed, pulled out and plugged in. Its kernel is emulated: half an hour."""
    box = stage.box
    assert isinstance(box, KeyBox)
    box.start()
    box.until_up(BOOT_S)
    set_up = f"sed -i '/^keys = false/d' {SETTINGS} && cat >> {SETTINGS} <<'END'{BUTTONS}END\n"
    start = f"{set_up} systemctl stop {DEVICE}; systemctl start --no-block {DEVICE}"
    what = "started with a key and a button in the settings, without a camera and without pins"
    _says(stage, what, start, BUTTON_FAILED, within_s=START_S)
    _says(stage, "the camera is tried", "true", NO_CAMERA, within_s=START_S, also_before=True)
    key, button = (lambda: box.press_key(KEY)), PRESS_PIN
    _says(stage, "the key is pressed", key, PAUSED)
    _says(stage, "the key is pressed again", key, RESUMED)
    _says(stage, "the keyboard is pulled out", box.pull_out_keyboard, REMOTE_FAILED)
    _says(stage, "the keyboard is plugged in", box.plug_in_keyboard, REMOTE_BACK)
    _says(stage, "the key is pressed", key, PAUSED)
    _says(stage, "the board gets its pins", MAKE_PINS, BUTTON_BACK)
    stage.fact("whose they are", "ls -l /dev/gpiochip* /dev/input/event*")
    _says(stage, "the button is pressed", button, RESUMED)
    _says(stage, "the button is pressed again", button, PAUSED)
    restarts = stage.fact("restarts", f"systemctl show --property=NRestarts --value {DEVICE}")
    stage.expect(that=restarts == "0", what="the agent was restarted")


def _says(
    stage: Stage,
    what: str,
    act: str | Callable[[], object],
    text: str,
    *,
    within_s: float = ANSWER_S,
    also_before: bool = False,
) -> None:
    """Do it, and wait until the agent's captions, which are in the journal, say something once more."""
    before = 0 if also_before else _times_said(stage, text)
    began_s = stage.event(what, act, listen_s=0).at_s
    while not (said := _times_said(stage, text) > before) and stage.now_s() - began_s < within_s:
        stage.pause(2.0)
    if said:
        stage.happened[-1].facts.append(f"said: {text} [{stage.now_s() - began_s:.0f} s after]")
    stage.expect(that=said, what=f"{text!r} was not said")


def _times_said(stage: Stage, text: str) -> int:
    found = stage.box.run(f"journalctl --boot --unit={DEVICE} --output=cat | grep -c -F '  {text}'")
    return int(found.output.strip() or 0)
