"""What a device tells about itself: its kind, and what a look of its model takes there."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.guidance.look_times import KEPT, LATE_S, LookTimes
from device.health.machine_kind import kind_of, this_machine
from server.broker.child import BrokerChild
from server.broker.link import BrokerSession, Ports, ServerLink
from server.commands.main import main
from server.database.store import open_store
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from shared import messages
from shared.clock import SystemClock
from shared.errors import MessageError
from shared.messages import Status
from tests.device.agent.stage import Running, StoryModel, agent, config, film, nothing
from tests.pulse import until


@pytest.mark.parametrize(
    ("model", "machine", "kind"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0\0", "aarch64", "raspberry-pi-5"),
        ("Raspberry Pi 4 Model B Rev 1.4\0", "aarch64", "raspberry-pi-4"),
        ("Raspberry Pi 4 Model B Rev 1.5\0", "armv7l", "raspberry-pi-4"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3\0", "aarch64", "raspberry-pi-3"),
        ("Raspberry Pi Zero 2 W Rev 1.0\0", "armv7l", "raspberry-pi-zero-2-w"),
        ("Raspberry Pi Compute Module 4 Rev 1.1\0", "aarch64", "raspberry-pi-compute-module-4"),
        ("NVIDIA Jetson Orin Nano Developer Kit\0", "aarch64", "jetson-orin-nano"),
        ("NVIDIA Orin Nano Developer Kit\0", "aarch64", "jetson-orin-nano"),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0", "aarch64", "jetson-orin-nano"),
        ("NVIDIA Jetson AGX Orin Developer Kit\0", "aarch64", "jetson-agx-orin"),
        ("NVIDIA Jetson Xavier NX Developer Kit\0", "aarch64", "jetson-xavier-nx"),
        ("NVIDIA Jetson Nano Developer Kit\0", "aarch64", "jetson-nano"),
        ("Radxa ROCK 5B\0", "aarch64", "radxa-rock-5b"),
        ("", "x86_64", "x86-64"),
        ("", "aarch64", "aarch64"),
        ("\0", "x86_64", "x86-64"),
        ("", "", ""),
    ],
)
def test_the_kind_of_a_device_is_told_without_its_revision(model: str, machine: str, kind: str) -> None:
    assert kind_of(model, machine) == kind


@given(st.text(max_size=200), st.text(max_size=20))
def test_whatever_a_board_calls_itself_its_kind_is_one_that_a_status_may_hold(model: str, machine: str) -> None:
    status = Status(online=True, device_kind=kind_of(model, machine))
    assert messages.decode(Status, messages.encode(status)) == status


def test_the_95th_percentile_is_of_the_last_looks_of_one_model() -> None:
    times = LookTimes()
    assert times.p95_ms == 0.0
    for number in range(1, 101):
        times.add(number / 1000)
    assert times.p95_ms == 95.0
    for _ in range(KEPT):
        times.add(0.02)
    assert times.p95_ms == 20.0
    times.clear()
    times.add(0.005)
    assert times.p95_ms == 5.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"device_kind": "Raspberry Pi"}, {"device_kind": "a" * 49}, {"device_kind": "-pi"}, {"device_kind": 5},
        {"device_kind": "pi\n"}, {"look_p95_ms": -1}, {"look_p95_ms": 1e9}, {"look_p95_ms": "fast"},
        {"look_p95_ms": True}, {"device_kind": "../pi"},
    ],
)  # fmt: skip
def test_a_status_that_tells_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        messages.decode(Status, json.dumps({"online": True} | wrong).encode())


def test_a_status_of_an_older_agent_is_read() -> None:
    found = messages.decode(Status, b'{"online": true, "uptime_s": 3}')
    assert (found.device_kind, found.look_p95_ms) == ("", 0.0)


def test_the_server_knows_the_kind_and_the_cost_of_a_device_that_walked(
    tmp_path: Path, broker: BrokerChild, capsys: pytest.CaptureFixture[str]
) -> None:
    class Slow(StoryModel):
        pause = threading.Event()

        def seeing(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
            self.pause.wait(0.05)
            return image

    home = tmp_path / "home"
    assert main(["--home", str(home), "init"]) == 0
    with closing(open_store(home)) as store:
        merge = Merge(store, Dataset(home / "dataset"), SystemClock())
        link = ServerLink(BrokerSession(broker.host, broker.port), Ports(lambda *_: [], on_statuses=merge.put_statuses))
        link.start()
        try:
            chosen = config(
                tmp_path, film(tmp_path, 60.0), broker__address=f"{broker.host}:{broker.port}", capture__pace="real"
            )

            def listed() -> list[dict[str, Any]]:
                capsys.readouterr()
                assert main(["--home", str(home), "devices", "list", "--json"]) == 0
                found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
                return found

            with Running(agent(chosen, Slow(nothing), tmp_path)):
                until(lambda: any(one["look_p95_ms"] > 0 for one in listed()), "a status with looks", timeout_s=60)
        finally:
            link.stop()
    (found,) = listed()
    assert found["device"] == "dev-1"
    assert found["device_kind"] == this_machine() != ""
    assert 50 <= found["look_p95_ms"] < 5_000


def test_late_looks_are_no_guidance_and_do_not_count_into_how_far_apart_looks_are() -> None:
    times = LookTimes()
    assert (times.typical_s, times.longest_s, times.late) == (None, 0.0, False)
    for seconds in (0.2, 2.5, 0.3, LATE_S, 9.0):
        times.add(seconds)
    assert (times.typical_s, times.longest_s, times.late, times.in_time) == (2.5, 2.5, True, 0)
    times.add(0.2)
    assert (times.late, times.in_time) == (False, 1)
    times.clear()
    assert (times.typical_s, times.late, times.in_time) == (None, False, 0)


def test_until_a_new_model_has_looked_its_looks_are_thought_to_take_as_long_as_those_of_the_one_before() -> None:
    times = LookTimes()
    times.add(2.5)
    times.clear()
    assert times.longest_s == 2.5
    times.add(0.2)
    assert times.longest_s == 0.2
