"""`waycue-device models`: beside a running agent, and without one."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from device.commands.main import main
from device.updates.state_file import load_denied
from shared.clock import ManualClock
from tests.device.updates.house import Device, Server
from tests.shared.bundle.bundles import contents


@pytest.fixture
def updated(server: Server, device: Device) -> Device:
    """A device that runs m2 and had m1 before."""
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    device.install("m2")
    return device


def models(device: Device, *arguments: str) -> int:
    return main(["models", *arguments, "--state", str(device.state_dir)])


def listed(device: Device, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    assert models(device, "list", "--json") == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_the_list_names_what_is_in_use_before_it_and_denied(
    updated: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    found = listed(updated, capsys)
    assert found["current"]["version"] == "m2"  # type: ignore[index]
    assert found["previous"]["version"] == "m1"  # type: ignore[index]
    assert found["denied"] == []
    assert models(updated, "list") == 0
    assert "in use:    m2 (0.5 MB, demo, from starter)" in capsys.readouterr().out


def test_a_device_without_models_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--state", str(tmp_path / "new")]) == 0
    assert "in use:    none" in capsys.readouterr().out


def test_rolling_back_without_an_agent_is_done_at_once_and_denies_the_newer_one(
    updated: Device, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    updated.updater.close()
    assert models(updated, "rollback") == 0
    found = listed(updated, capsys)
    assert found["current"]["version"] == "m1"  # type: ignore[index]
    assert found["denied"] == [{"version": "m2", "reason": "taken back by hand"}]
    updated.start()
    updated.updater.on_offer(server.offer("m2"))
    updated.updater.tick()
    assert updated.text() == "refused: m2: taken back by hand"
    assert models(updated, "rollback") == 1
    assert "no model before" in capsys.readouterr().err


def test_a_running_agent_rolls_back_and_switches_its_guidance(updated: Device) -> None:
    with running(updated):
        assert models(updated, "rollback") == 0
    assert updated.current == "m1"
    assert updated.loaded == ["m1", "m2", "m1"]


def test_a_forgiven_version_is_fetched_again_when_it_is_still_offered(
    updated: Device, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    updated.updater.on_offer(server.offer("m2"))
    with running(updated):
        assert models(updated, "rollback") == 0
        assert models(updated, "forget-denial", "m2") == 0
    assert load_denied(updated.state_dir / "models") == ()
    updated.go(lambda: updated.updater.phase == "probation")
    assert updated.current == "m2"
    assert models(updated, "forget-denial", "m2") == 1
    assert "is not denied" in capsys.readouterr().err


def test_a_note_that_is_no_wish_is_thrown_away(updated: Device) -> None:
    note = updated.state_dir / "models" / "wish.json"
    for data in (b"\xff", b"{}", b'{"wish":"format the disk"}', b"[" * 9000):
        note.write_bytes(data)
        updated.updater.tick()
        assert not note.exists()
    assert updated.current == "m2"


def test_during_probation_a_rollback_by_hand_is_the_usual_one(
    server: Server, device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.updater.phase == "probation")
    device.updater.close()
    assert models(device, "rollback") == 0
    device.start()
    assert (device.current, device.text()) == ("m1", "refused: m2: taken back by hand")


class running:  # noqa: N801 (a context)
    """The updater on its own thread, as in an agent."""

    def __init__(self, device: Device) -> None:
        self._device, self._stop = device, threading.Event()
        self._thread = threading.Thread(target=device.updater.run, args=(self._stop,))
        assert isinstance(device.clock, ManualClock)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
