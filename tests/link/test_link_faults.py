"""Broker, server and device die in the middle of the work, over a real Mosquitto: everything is merged exactly once."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from device.outbox.outbox import Outbox
from server.broker.child import BrokerChild
from tests.link.parties import DEADLINE_S, MakeLink, Server, check, device_child, seal


def test_the_broker_dies_midway_and_forgets_everything(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    expected = seal(box, 20, clip_bytes=150_000)
    enough = threading.Event()
    seen: list[str] = []

    def count(key: str) -> None:
        seen.append(key)
        if len(seen) in (15, 50):
            enough.set()

    with Server(broker, memory_path, on_part=count):
        link = make_link()
        link.start()
        for _ in range(2):
            assert enough.wait(DEADLINE_S)
            enough.clear()
            broker.kill()
            broker.start()
        assert link.wait_idle(DEADLINE_S)
        check(memory_path, box, expected, 21)
        assert link.counters["connects"] >= 3
        assert link.resent_bytes <= 2 * (512 * 1024 + 8 * 2000)  # two cuts, and records beside the window


def test_the_server_restarts_midway_and_goes_on_from_its_disk(
    broker: BrokerChild, box: Outbox, memory_path: Path, make_link: MakeLink
) -> None:
    expected = seal(box, 20, clip_bytes=150_000)
    enough = threading.Event()
    link = make_link()
    for stop_after in (10, 25):
        with Server(broker, memory_path, on_part=_after(stop_after, enough)):
            if not link.online:
                link.start()
            assert enough.wait(DEADLINE_S)
            enough.clear()
    with Server(broker, memory_path):
        assert link.wait_idle(DEADLINE_S)
    check(memory_path, box, expected, 21)
    assert link.resent_bytes <= 2 * (512 * 1024 + 8 * 2000)


def _after(count: int, event: threading.Event) -> Callable[[str], None]:
    left = [count]

    def tick(_key: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            event.set()

    return tick


def test_the_device_is_killed_midway_and_its_next_life_sends_the_rest(broker: BrokerChild, memory_path: Path) -> None:
    box = Outbox(memory_path / "outbox")
    expected = seal(box, 20, clip_bytes=150_000)
    box.close()
    enough = threading.Event()
    for stop_after in (8, 30):
        with Server(broker, memory_path, on_part=_after(stop_after, enough)):
            child = device_child(broker, memory_path / "outbox")
            assert enough.wait(DEADLINE_S)
            enough.clear()
            child.send_signal(signal.SIGKILL)
            child.wait()
    with Server(broker, memory_path):
        assert device_child(broker, memory_path / "outbox").wait(DEADLINE_S) == 0
    box = Outbox(memory_path / "outbox")
    counts = box.counts()
    box.close()
    _check_depot(memory_path, expected, 21)
    assert (counts.queued, counts.failed, counts.lost, counts.merged) == (0, 0, 0, 21)


def _check_depot(folder: Path, expected: dict[str, str], records: int) -> None:
    lines = (folder / "depot" / "log.jsonl").read_text().splitlines()
    entries = {entry["key"]: entry["value"] for entry in map(json.loads, lines)}
    assert len(entries) == len(lines) == len(expected) + records
    assert {key: value for key, value in entries.items() if "." in key} == expected
