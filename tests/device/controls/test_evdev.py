"""Input devices: the kernel's records in both layouts, on a FIFO, in whatever pieces they come, and devices that go."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import build
from device import config as settings
from device.controls import evdev
from device.controls.actions import ButtonAction
from device.controls.bindings import binding
from device.controls.evdev import EV_KEY, EV_SW, EV_SYN, NATIVE, InputKeys, StreamState, decode, positions, step
from device.controls.keynames import key_codes
from device.controls.press import Edge, EventsLost
from device.controls.pressed import InputGone, PressedKeys
from device.controls.retried import REMOTE, RetriedButtons
from shared.clock import ManualClock
from shared.errors import ConfigError
from tests.pulse import until

LAYOUTS = {"64 bits": struct.Struct("<qqHHi"), "32 bits": struct.Struct("<iiHHi")}
PLAY, NEXT = 164, 163


def event(kind: int, code: int, value: int, *, t_s: float = 0.0, layout: struct.Struct = NATIVE) -> bytes:
    return layout.pack(int(t_s), round(t_s % 1 * 1e6), kind, code, value)


def report(layout: struct.Struct = NATIVE) -> bytes:
    return event(EV_SYN, 0, 0, layout=layout)


def test_the_layout_of_this_program_is_the_kernels() -> None:
    assert {layout.size for layout in LAYOUTS.values()} == {24, 16}
    assert NATIVE.size == LAYOUTS["64 bits" if struct.calcsize("@l") == 8 else "32 bits"].size


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_records_of_both_layouts_are_read_and_a_cut_one_waits_for_its_end(layout: struct.Struct) -> None:
    data = b"".join(event(EV_KEY, PLAY, value, t_s=12.25, layout=layout) + report(layout) for value in (1, 2, 2, 0))
    events, rest = decode(data + data[:7], layout)
    assert len(events) == 8
    assert (events[0].t_s, events[0].type, events[0].code, events[0].value) == (12.25, EV_KEY, PLAY, 1)
    assert rest == data[:7]
    for cut in range(len(data)):
        state, first = step(StreamState(), data[:cut], layout)
        _, second = step(state, data[cut:], layout)
        assert [(found[1], found[2]) for found in first + second] == [(PLAY, Edge(True)), (PLAY, Edge(False))]


def test_after_the_kernel_dropped_events_nothing_is_believed_until_the_next_report() -> None:
    data = event(EV_KEY, PLAY, 1) + report() + event(EV_SYN, 3, 0)
    data += event(EV_KEY, PLAY, 0) + event(EV_KEY, NEXT, 1) + report() + event(EV_KEY, NEXT, 0) + report()
    _, found = step(StreamState(), data)
    assert [one[2] for one in found] == [Edge(True), EventsLost(), Edge(False)]
    assert found[-1][1] == NEXT


@given(data=st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    for layout in LAYOUTS.values():
        state, _ = step(StreamState(), data, layout)
        assert len(state.rest) < layout.size


class Kernel:
    """A /dev and a /sys with input devices, of which the event files are FIFOs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.writers: dict[int, int] = {}

    def plug(self, number: int, name: str, *, keys: tuple[int, ...] = (PLAY, NEXT), switches: int = 0) -> None:
        device = self.root / f"sys/class/input/event{number}/device"
        (device / "capabilities").mkdir(parents=True)
        (device / "name").write_text(name + "\n")
        word = struct.calcsize("@l") * 8
        bits = sum(1 << key for key in keys)
        words = [f"{bits >> at & (1 << word) - 1:x}" for at in range(word * 4, -1, -word)]
        (device / "capabilities/key").write_text(" ".join(words) + "\n")
        (device / "capabilities/sw").write_text(f"{switches:x}\n")
        path = self.root / f"dev/input/event{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        self.writers[number] = os.open(path, os.O_RDWR)

    def press(self, number: int, code: int, *values: int, kind: int = EV_KEY) -> None:
        for value in values:
            os.write(self.writers[number], event(kind, code, value) + report())

    def unplug(self, number: int) -> None:
        os.close(self.writers.pop(number))
        (self.root / f"dev/input/event{number}").unlink()
        for path in sorted((self.root / f"sys/class/input/event{number}").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def close(self) -> None:
        for number in list(self.writers):
            self.unplug(number)


@pytest.fixture
def kernel(tmp_path: Path) -> object:
    made = Kernel(tmp_path)
    yield made
    made.close()


def remote(kernel: Kernel, clock: ManualClock, name: str = "ACME Headset", *, switch: str = "") -> PressedKeys:
    keys = {"playpause": binding("flag, correct, discard", "x"), "163": binding("ahead, status", "x")}
    source = InputKeys(name, [*keys, *([switch] if switch else [])], clock.monotonic_s, root=kernel.root)
    return PressedKeys(source, keys, clock.monotonic_s, hold_s=0.6, double_s=0.4, switch=switch)


def test_short_long_and_double_presses_of_a_headset_at_walk_time(kernel: Kernel) -> None:
    kernel.plug(3, "ACME Headset")
    clock = ManualClock(100.0)
    keys = remote(kernel, clock)
    keys.open()
    kernel.press(3, NEXT, 1, 0)
    assert [(press.action.value, press.t_s) for press in keys.poll(7.0)] == [("ahead", 7.0)]
    kernel.press(3, PLAY, 1)
    assert keys.poll(8.0) == []
    clock.now_s += 0.7
    kernel.press(3, PLAY, 2, 2, 2)
    (press,) = keys.poll(8.7)
    assert press.action is ButtonAction.HOLD
    assert press.t_s == pytest.approx(8.0)
    clock.now_s += 2.0
    kernel.press(3, PLAY, 0)
    (press,) = keys.poll(10.7)
    assert press.action is ButtonAction.RELEASE
    assert press.t_s == pytest.approx(10.7)
    kernel.press(3, PLAY, 1, 0, 1, 0)
    assert [press.action.value for press in keys.poll(11.0)] == ["discard"]
    keys.close()


def test_a_device_is_found_by_its_whole_name_a_part_of_it_or_its_stable_link(kernel: Kernel) -> None:
    kernel.plug(0, "Power Button", keys=(116,))
    kernel.plug(4, "Logitech Presenter", keys=(104, 109))
    kernel.plug(5, "Logitech Presenter", keys=(272,))
    kernel.plug(12, "Logitech Keyboard", keys=(PLAY,))
    link = kernel.root / "dev/input/by-id/usb-Logitech_Presenter-event-kbd"
    link.parent.mkdir()
    link.symlink_to("../event4")
    clock = ManualClock()
    for name in ("Logitech Presenter", "presenter", "usb-Logitech_Presenter-event-kbd", str(link)):
        source = InputKeys(name, ["pagedown"], clock.monotonic_s, root=kernel.root)
        source.open()
        kernel.press(4, 109, 1)
        assert [found.key for found in source.read()] == ["pagedown"]
        source.close()
    for name, why in (
        ("logitech", "may be one of: Logitech Keyboard, Logitech Presenter"),
        ("ACME", "There are: Logitech Keyboard"),
        ("Power Button", "none of the keys"),
    ):
        with pytest.raises(ConfigError, match=why):
            InputKeys(name, ["pagedown"], clock.monotonic_s, root=kernel.root).open()


def test_what_is_no_input_device_is_refused_and_nothing_stays_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in ("/dev/null", str(tmp_path / "file")):
        Path(path).touch()
        with pytest.raises(ConfigError, match="cannot be used"):
            InputKeys(path, ["playpause"], lambda: 0.0).open()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_remote_that_goes_ends_a_held_press_is_announced_only_if_it_stays_away_and_works_again(
    kernel: Kernel,
) -> None:
    kernel.plug(3, "ACME Headset")
    clock = ManualClock(50.0)
    heard: list[str] = []
    buttons = RetriedButtons(
        remote(kernel, clock), REMOTE, lambda text, about: heard.append(text), first_s=0.02, most_s=0.05
    )
    buttons.open()
    kernel.press(3, PLAY, 1)
    buttons.poll(1.0)
    clock.now_s += 1.0
    assert [press.action.value for press in buttons.poll(2.0)] == ["hold"]
    kernel.unplug(3)
    assert [press.action.value for press in buttons.poll(3.0)] == ["release"]
    assert buttons.poll(3.1) == []
    until(lambda: heard == ["Remote is away."], "the announcement")
    kernel.plug(7, "ACME Headset")
    until(lambda: heard == ["Remote is away.", "Remote is working."], "the remote")
    kernel.press(7, NEXT, 1, 0)
    assert [press.action.value for press in buttons.poll(4.0)] == ["ahead"]
    buttons.close()


def test_a_remote_that_only_slept_is_no_news(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.plug(3, "ACME Headset")
    heard: list[str] = []
    buttons = RetriedButtons(
        remote(kernel, ManualClock()), REMOTE, lambda text, about: heard.append(text), first_s=0.05, most_s=0.1
    )
    buttons.open()
    kernel.unplug(3)
    kernel.plug(9, "ACME Headset")
    assert buttons.poll(1.0) == []

    def works() -> bool:
        kernel.press(9, NEXT, 1, 0)
        return bool(buttons.poll(2.0))

    until(works, "the remote")
    assert heard == []
    buttons.close()


def test_a_switch_that_was_moved_while_nobody_read_it_tells_where_it_stands() -> None:
    codes = {9: "camera_lens_cover", 2: "headphone_insert"}
    told = {event.key: event.event for event in positions(codes, has=1 << 9, on=0, now_s=3.0)}
    assert told == {"camera_lens_cover": Edge(False)}
    told = {event.key: event.event for event in positions(codes, has=1 << 9 | 1 << 2, on=1 << 9, now_s=3.0)}
    assert told == {"camera_lens_cover": Edge(True), "headphone_insert": Edge(False)}


def test_a_lens_cover_is_a_switch_whose_position_counts(kernel: Kernel) -> None:
    kernel.plug(3, "ACME Headset", switches=1 << 9)
    keys = remote(kernel, ManualClock(10.0), switch="camera_lens_cover")
    keys.open()
    kernel.press(3, 9, 1, kind=EV_SW)
    assert [press.action for press in keys.poll(1.0)] == [ButtonAction.SWITCH_ON]
    kernel.press(3, 9, 0, kind=EV_SW)
    kernel.press(3, NEXT, 1, 0)
    assert [press.action.value for press in keys.poll(2.0)] == ["switch_off", "ahead"]
    keys.close()


def test_a_source_that_is_gone_says_so_after_what_was_pressed_before(kernel: Kernel) -> None:
    kernel.plug(3, "ACME Headset")
    source = InputKeys("ACME Headset", ["playpause"], lambda: 0.0, root=kernel.root)
    source.open()
    kernel.unplug(3)
    with pytest.raises(InputGone, match="ACME Headset"):
        source.read()
    source.close()
    source.close()


def test_the_ioctls_are_the_kernels() -> None:
    assert (evdev.EVIOCGRAB, evdev.EVIOCSCLOCKID) == (0x40044590, 0x400445A0)


@pytest.mark.parametrize(
    ("name", "hint"), [("playpuase", "Did you mean playpause?"), ("999", "number"), ("", "number")]
)
def test_a_key_that_no_kernel_knows_is_refused(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        key_codes([name])


def test_without_own_keys_the_usual_ones_do_what_the_two_buttons_do() -> None:
    chosen = settings.load(None, {"buttons.input": "ACME", "buttons.press": "flag, correct, discard"})
    keys = build.input_keys(chosen)
    assert keys["playpause"] == binding("flag, correct, discard", "x")
    assert keys["previoussong"] == binding("repeat, mute", "x")
    assert keys["nextsong"] == binding("ahead, status", "x")
    assert set(key_codes(keys).values()) == set(keys)
    assert len(build.inputs(chosen, ManualClock())) == 1


@pytest.mark.parametrize(
    "overrides",
    [
        {"buttons.press": "flagg"},
        {"buttons.pins": ("GPIO5: jump",)},
        {"buttons.input_keys": ("playpuase: flag",)},
        {"buttons.pause_switch": "camera_lens_cover"},
    ],
)
def test_slips_in_the_settings_of_buttons_are_found_before_the_walk(overrides: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="buttons"):
        build.check_buttons(settings.load(None, overrides))
