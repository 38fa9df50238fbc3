"""What is felt and when: the pattern, the schedule, two adapters, and a channel whose motors come and go."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.tactile import schedule
from device.tactile.channel import BACK, LOST, FeltBuzz, Tactile
from device.tactile.drv2605 import Drv2605, sequence
from device.tactile.gpio import PinMotor
from device.tactile.motors import Motors
from device.tactile.patterns import NEWS, OBSTACLE, WARNING, Buzz, Pulses, buzz_of, pulses_of
from device.tactile.schedule import Asked, ScheduleState, Start, Waited
from shared.clock import SystemClock
from shared.errors import MediaError
from shared.sides import Side
from tests.device.tactile.chip import Chip
from tests.pulse import until

CLOCK = SystemClock()
LEFT, AHEAD, RIGHT = Side.LEFT, Side.AHEAD, Side.RIGHT
BUZZES = st.builds(Buzz, st.sampled_from(Side), st.sampled_from((WARNING, OBSTACLE, NEWS)))


def test_what_is_said_is_felt_by_its_side_and_urgency_and_landmarks_are_not() -> None:
    assert buzz_of(tier=1, why="hazard", side=LEFT) == Buzz(LEFT, WARNING)
    assert buzz_of(tier=1, why="worded", side=None) == Buzz(AHEAD, WARNING)
    assert buzz_of(tier=2, why="worded", side=RIGHT) == Buzz(RIGHT, OBSTACLE)
    assert buzz_of(tier=2, why="unsure", side=AHEAD) == Buzz(AHEAD, OBSTACLE)
    assert buzz_of(tier=2, why="state", side=None) == Buzz(AHEAD, NEWS)
    assert buzz_of(tier=3, why="worded", side=LEFT) is None
    assert buzz_of(tier=3, why="clear", side=None) is None


def test_patterns_differ_in_count_or_length_and_every_pulse_turns_a_coin_motor() -> None:
    shapes = [(p.count, round(p.on_s, 1)) for p in map(pulses_of, (WARNING, OBSTACLE, NEWS))]
    assert len(set(shapes)) == 3
    assert all(pulses_of(tier).on_s >= 0.1 for tier in (WARNING, OBSTACLE, NEWS))
    assert pulses_of(WARNING, 0.1).strength == 0.5
    assert pulses_of(OBSTACLE, 0.1).strength == pytest.approx(0.07)
    assert Pulses(2, 0.02, 0.01, 0.5).levels(0.01) == [0.5, 0.5, 0.0, 0.5, 0.5, 0.0]


def run(*events: tuple[float, Buzz | None]) -> list[tuple[float, Buzz]]:
    """(time, buzz or None for time alone) → what was started when."""
    state, started = ScheduleState(), []
    for at_s, buzz in events:
        state, starts = schedule.step(state, Waited() if buzz is None else Asked(buzz), at_s)
        started += [(at_s, start.buzz) for start in starts]
    return started


def test_a_warning_takes_over_from_whatever_is_felt_and_on_the_other_side_from_a_warning() -> None:
    obstacle, warning, other = Buzz(LEFT, OBSTACLE), Buzz(RIGHT, WARNING), Buzz(LEFT, WARNING)
    assert run((0.0, obstacle), (0.05, warning)) == [(0.0, obstacle), (0.05, warning)]
    assert run((0.0, warning), (0.1, warning), (0.2, other)) == [(0.0, warning), (0.2, other)]
    assert run((0.0, Buzz(AHEAD, NEWS)), (0.1, warning))[1] == (0.1, warning)


def test_an_obstacle_during_a_warning_is_dropped_and_never_felt_late() -> None:
    warning = Buzz(AHEAD, WARNING)
    assert run((0.0, warning), (0.1, Buzz(LEFT, OBSTACLE)), (5.0, None)) == [(0.0, warning)]


def test_news_waits_for_its_turn_once_and_is_felt_again_where_it_was_cut_off() -> None:
    warning, news = Buzz(AHEAD, WARNING), Buzz(AHEAD, NEWS)
    assert run((0.0, warning), (0.1, news), (0.2, news), (0.3, None), (1.0, None), (9.0, None)) == [
        (0.0, warning),
        (1.0, news),
    ]
    assert run((0.0, news), (0.2, warning), (1.0, None)) == [(0.0, news), (0.2, warning), (1.0, news)]


@given(st.lists(st.tuples(st.floats(0, 1), st.none() | BUZZES), max_size=40))
def test_whatever_comes_a_warning_starts_in_its_own_step_unless_it_is_felt_already(
    story: list[tuple[float, Buzz | None]],
) -> None:
    state, at_s = ScheduleState(), 0.0
    for gap_s, buzz in story:
        at_s += gap_s
        felt = state.felt if at_s < state.until_s else None
        state, starts = schedule.step(state, Waited() if buzz is None else Asked(buzz), at_s)
        if buzz is not None and buzz.tier == WARNING and felt != buzz:
            assert starts == (Start(buzz),)
        assert len(starts) <= 1


def test_the_chip_is_woken_and_plays_the_pattern_from_its_own_memory() -> None:
    chip = Chip()
    motor = Drv2605("/dev/i2c-1", connect=chip.connect)
    motor.open()
    motor.buzz(pulses_of(WARNING))
    motor.buzz(pulses_of(OBSTACLE))
    assert chip.played == [(47, 0x80 + 7, 47, 0x80 + 7, 47), (49,)]
    assert chip.registers[3] == 1
    motor.still()
    assert not chip.is_playing
    motor.buzz(pulses_of(NEWS))
    motor.close()
    assert not chip.is_playing


@pytest.mark.parametrize("strength", [0.1, 0.33, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("tier", [WARNING, OBSTACLE, NEWS])
def test_no_strength_leaves_the_chips_memory_or_its_effects(tier: int, strength: float) -> None:
    entries = sequence(pulses_of(tier, strength))
    assert len(entries) <= 8
    assert all(entry == 0 or 47 <= entry <= 51 or entry > 0x80 for entry in entries)
    assert sum(47 <= entry <= 51 for entry in entries) >= pulses_of(tier).count


@pytest.mark.parametrize(
    ("device", "says"),
    [("/dev/null", "cannot be used"), ("/nonexistent", "No such file"), ("/proc/version", "cannot be used")],
)
def test_a_bus_that_is_none_is_refused_by_the_kernel_and_says_what_to_do(device: str, says: str) -> None:
    with pytest.raises(MediaError, match=says) as told:
        Drv2605(device).open()
    assert "I2C" in told.value.hint


@pytest.mark.parametrize("number", [0, 4, 6])
def test_another_chip_at_the_address_is_no_motor(number: int) -> None:
    with pytest.raises(MediaError, match="no DRV2605"):
        Drv2605("/dev/i2c-1", connect=Chip(number).connect).open()


def test_a_side_without_a_motor_is_felt_on_the_one_there_is() -> None:
    chip = Chip()
    motors = Motors({LEFT: Drv2605("x", connect=chip.connect)})
    motors.open()
    for side in Side:
        motors.buzz(Buzz(side, OBSTACLE))
    assert len(chip.played) == 3


def test_two_motors_are_told_apart_and_a_new_side_stills_the_other() -> None:
    left, right = Chip(), Chip(3)
    motors = Motors({LEFT: Drv2605("l", connect=left.connect), RIGHT: Drv2605("r", connect=right.connect)})
    motors.open()
    motors.buzz(Buzz(LEFT, WARNING))
    assert (left.is_playing, right.is_playing) == (True, False)
    motors.buzz(Buzz(RIGHT, WARNING))
    assert (left.is_playing, right.is_playing) == (False, True)
    motors.buzz(Buzz(AHEAD, NEWS))
    assert (left.is_playing, right.is_playing) == (True, True)
    left.plugged = False
    with pytest.raises(MediaError):
        motors.buzz(Buzz(LEFT, WARNING))
    motors.buzz(Buzz(LEFT, WARNING))  # on the one that still works
    assert len(right.played) == 3


class Felt:
    """What a channel did."""

    def __init__(self, *chips: Chip) -> None:
        sides = (LEFT, RIGHT)[: len(chips)]
        motors = Motors({s: Drv2605(s, connect=c.connect) for s, c in zip(sides, chips, strict=True)})
        self.announced: list[str] = []
        self.felt: list[FeltBuzz] = []
        self.tactile = Tactile(motors, CLOCK, announce=self.announced.append, felt=self.felt.append)
        self.tactile.start()


def test_motors_that_are_lost_are_announced_once_tried_again_and_announced_when_they_are_back() -> None:
    chip = Chip()
    chip.plugged = False
    channel = Felt(chip)
    until(lambda: bool(channel.announced), "the failure")
    for _ in range(5):
        channel.tactile.feel(Buzz(LEFT, WARNING))
    assert "cannot be used" in channel.tactile.trouble
    chip.plugged = True
    until(lambda: channel.announced == [LOST, BACK], "the motors to be found again")
    channel.tactile.feel(Buzz(LEFT, WARNING), 1.0)
    until(lambda: bool(channel.felt), "a vibration")
    assert channel.felt[0].buzz == Buzz(LEFT, WARNING)
    channel.tactile.close()
    assert channel.tactile.trouble == ""
    assert not chip.is_playing


def test_a_wire_that_shook_costs_no_warning_and_no_announcement() -> None:
    chip = Chip()
    channel = Felt(chip)
    channel.tactile.feel(Buzz(LEFT, OBSTACLE))
    until(lambda: len(channel.felt) == 1, "a first vibration")
    failing = threading.Event()
    write = chip.write

    def shaken(data: bytes) -> None:
        if not failing.is_set():
            failing.set()
            raise OSError(121, "Remote I/O error")
        write(data)

    chip.write = shaken  # type: ignore[method-assign]
    channel.tactile.feel(Buzz(LEFT, WARNING))
    until(lambda: len(channel.felt) == 2, "the warning")
    channel.tactile.close()
    assert channel.announced == []
    assert chip.opened == 2


def test_a_motor_that_is_away_is_tried_again_without_stilling_the_one_that_works() -> None:
    left, right = Chip(), Chip()
    left.plugged = False
    motors = Motors({s: Drv2605(s, connect=c.connect) for s, c in ((LEFT, left), (RIGHT, right))})
    for _ in range(3):
        with pytest.raises(MediaError):
            motors.open()
        if not right.played:
            motors.buzz(Buzz(RIGHT, WARNING))
        assert right.is_playing
    assert right.opened == 1
    left.plugged = True
    motors.open()
    motors.buzz(Buzz(LEFT, WARNING))
    assert (left.is_playing, right.is_playing) == (True, False)
    motors.close()


def test_a_warning_goes_to_the_other_motor_where_its_own_is_lost() -> None:
    left, right = Chip(), Chip()
    channel = Felt(left, right)
    channel.tactile.feel(Buzz(RIGHT, OBSTACLE))
    until(lambda: len(channel.felt) == 1, "both motors")
    left.plugged = False
    channel.tactile.feel(Buzz(LEFT, WARNING))
    until(lambda: len(channel.felt) == 2, "the warning on the other side")
    channel.tactile.close()
    assert channel.announced == [LOST]
    assert len(right.played) == 2


def test_news_follows_a_warning_and_an_adapter_that_raises_anything_does_not_end_the_channel() -> None:
    chip = Chip()
    channel = Felt(chip)
    channel.tactile.feel(Buzz(AHEAD, WARNING))
    channel.tactile.feel(Buzz(AHEAD, NEWS))
    until(lambda: len(channel.felt) == 2, "the news")
    warning, news = channel.felt
    assert (warning.buzz.tier, news.buzz.tier) == (WARNING, NEWS)
    assert news.driven_s - warning.asked_s >= pulses_of(WARNING).lasts_s
    channel.tactile.close()


PIN_TEST = """
import threading
from gpiozero import Device
from gpiozero.pins.mock import MockFactory, MockPWMPin
from device.tactile.gpio import PinMotor
from device.tactile.patterns import WARNING, pulses_of

Device.pin_factory = MockFactory(pin_class=MockPWMPin)
motor = PinMotor("GPIO12")
motor.open()
pin = Device.pin_factory.pin("GPIO12")
pin.clear_states()
motor.buzz(pulses_of(WARNING))
print("at once", float(pin.state))
threading.Event().wait(pulses_of(WARNING).lasts_s + 0.5)
levels = [float(state.state) for state in pin.states]
ups = sum(1 for before, after in zip(levels, levels[1:]) if before == 0 < after)
print("pulses", ups, "ends at", levels[-1])
motor.buzz(pulses_of(WARNING))
motor.still()
print("still", float(pin.state))
motor.close()
motor.close()
"""


@pytest.mark.skipif(importlib.util.find_spec("gpiozero") is None, reason="gpiozero is not installed")
def test_a_motor_on_a_pin_begins_at_once_and_ends_by_itself() -> None:
    # In a process of its own: gpiozero's pin factory is global and warns about the machine it is on.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PIN_TEST], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["at once 1.0", "pulses 3 ends at 0.0", "still 0.0"]


def test_a_pin_without_gpiozero_or_without_pins_says_what_to_do() -> None:
    if Path("/dev/gpiochip0").exists():
        pytest.skip("this machine has pins")
    code = "from device.tactile.gpio import PinMotor\nPinMotor('GPIO12').open()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert "MediaError" in done.stderr
    assert "apt install" in done.stderr or "this is a Pi" in done.stderr
    with pytest.raises(MediaError, match="not open"):
        PinMotor("GPIO12").buzz(pulses_of(WARNING))
