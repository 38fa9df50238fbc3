"""When to hold back: what the machine says of itself, and what follows from it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.board import ASK_THROTTLED, run
from device.config import SyncSection
from device.sync.conditions import ASK_METERED, COOLER_C, Conditions, SyncDecision, SyncWatch, decide, look
from device.sync.uploads import Allowed

RULES = SyncSection(on_metered="small", hot_c=75.0, too_hot_c=82.0)
ORDER: tuple[Allowed, ...] = ("none", "small", "all")


def after(*story: Conditions, rules: SyncSection = RULES) -> SyncDecision:
    decision = SyncDecision()
    for seen in story:
        decision = decide(rules, seen, decision)
    return decision


def at(heat_c: float) -> Conditions:
    return Conditions(heat_c=heat_c)


def test_a_machine_that_says_nothing_sends_everything() -> None:
    assert after(Conditions()) == SyncDecision()


@pytest.mark.parametrize("allowed", ORDER)
def test_a_metered_connection_allows_what_the_settings_say(allowed: Allowed) -> None:
    decision = after(Conditions(metered=True), rules=SyncSection(on_metered=allowed))
    assert decision.allowed == allowed
    assert ("metered" in (decision.text or "")) == (allowed != "all")
    assert after(Conditions(metered=False)).text is None


def test_heat_takes_clips_first_then_everything_and_gives_back_only_when_it_is_cooler() -> None:
    assert [after(at(heat)).allowed for heat in (74.9, 75.0, 81.9, 82.0)] == ["all", "small", "small", "none"]
    assert after(at(82.0), at(78.0)).allowed == "none"
    assert after(at(82.0), at(76.9)).allowed == "small"
    assert after(at(82.0), at(76.9), at(70.1)).allowed == "small"
    assert after(at(82.0), at(76.9), at(69.9)).allowed == "all"


def test_firmware_that_throttles_is_believed_without_a_thermometer() -> None:
    decision = after(Conditions(throttled=True))
    assert (decision.allowed, decision.text) == ("none", "all waits: the device is hot")
    assert after(Conditions(throttled=True), Conditions(throttled=False)).allowed == "all"


def test_both_reasons_are_told() -> None:
    decision = after(Conditions(metered=True, heat_c=77.0))
    assert decision.text == "clips wait: the connection is metered and the device is at 77 °C"


seen = st.builds(
    Conditions,
    st.sampled_from([None, True, False]),
    st.none() | st.floats(20, 120),
    st.sampled_from([None, True, False]),
)


@given(st.lists(seen, max_size=20), seen, st.sampled_from(ORDER))
def test_worse_conditions_never_allow_more(story: list[Conditions], now: Conditions, on_metered: Allowed) -> None:
    rules = SyncSection(on_metered, 75.0, 82.0)
    before = after(*story, rules=rules)
    here = decide(rules, now, before)
    worse = decide(
        rules, Conditions(True, None if now.heat_c is None else now.heat_c + COOLER_C, now.throttled), before
    )
    assert ORDER.index(worse.allowed) <= ORDER.index(here.allowed)
    assert bool(here.why) == (here.allowed != "all")


def zones(folder: Path, **temperatures: str) -> Path:
    for number, (kind, text) in enumerate(temperatures.items()):
        zone = folder / f"thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(kind.replace("_", "-") + "\n")
        (zone / "temp").write_text(text)
    return folder


def says(**answers: str) -> Callable[[tuple[str, ...]], str]:
    return lambda command: answers.get({ASK_METERED: "metered", ASK_THROTTLED: "throttled"}[command], "")


def test_a_raspberry_pi_is_read(tmp_path: Path) -> None:
    thermal = zones(tmp_path, cpu_thermal="61234\n")
    found = look(thermal, says(metered="u 3\n", throttled="throttled=0x50005\n"))
    assert found == Conditions(metered=True, heat_c=61.234, throttled=True)
    assert look(thermal, says(metered="u 4", throttled="throttled=0x50000")) == Conditions(False, 61.234, False)


def test_a_jetson_is_read_by_its_hottest_zone_and_not_by_the_one_that_always_says_100(tmp_path: Path) -> None:
    thermal = zones(
        tmp_path, CPU_therm="50000", GPU_therm="52500", soc0_thermal="48000", PMIC_Die="100000", tj_thermal=""
    )
    assert look(thermal, says()).heat_c == 52.5


def test_a_pc_is_not_held_to_the_heat_of_a_board(tmp_path: Path) -> None:
    assert look(zones(tmp_path, x86_pkg_temp="95000", acpitz="90000"), says()) == Conditions()


@given(st.text(max_size=30))
def test_nonsense_from_the_tools_means_nothing(text: str) -> None:
    found = look(Path("/nonexistent"), lambda command: text)
    if not text.strip().startswith(("u ", "throttled=")):
        assert found == Conditions()


def test_a_tool_that_is_not_there_or_fails_says_nothing() -> None:
    assert run(("waycue-has-no-such-tool",)) == ""
    assert run(("false",)) == ""
    assert run(("echo", "u 2")) == "u 2\n"


def test_the_watch_tells_at_once_and_then_only_changes(tmp_path: Path) -> None:
    reported: list[Allowed] = []
    answer = {"metered": "u 1"}
    watch = SyncWatch(
        RULES, lambda decision: reported.append(decision.allowed), thermal=tmp_path, ask=lambda c: says(**answer)(c)
    )
    watch.look()
    watch.look()
    answer["metered"] = "u 2"
    watch.look()
    assert reported == ["small", "all"]


def test_the_watch_starts_with_a_look_and_ends(tmp_path: Path) -> None:
    came = threading.Event()
    watch = SyncWatch(RULES, lambda decision: came.set(), thermal=tmp_path, ask=says())
    watch.start()
    assert came.wait(60)
    watch.close()
    watch.close()
