"""The whole way with the real programs: a server, a Mosquitto as configured for it, a code, a device that comes in,
works, and is locked out again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from device.commands import main as device
from scripts.demo.children import Children, command
from server.broker.child import HOST, BrokerChild, find_mosquitto, free_port
from server.commands import main as server
from tests.pulse import until

SETTINGS = """\
[broker]
address = "127.0.0.1:{broker}"
[web]
address = "127.0.0.1:{web}"
[enrol]
address = "127.0.0.1:{enrol}"
[speech]
recogniser = "none"
"""


@dataclass(frozen=True, slots=True)
class Programs:
    """A server that runs."""

    home: Path
    state: Path
    children: Children
    capsys: pytest.CaptureFixture[str]

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.server("devices", "show", "pi-1", "--json"))
        return found

    def is_online(self) -> bool:
        """As the agent itself says."""
        return bool(json.loads(self.device("status", "--json")[1]).get("online"))

    def server(self, *arguments: str) -> str:
        assert server.main(["--home", str(self.home), *arguments]) == 0
        return self.capsys.readouterr().out

    def device(self, name: str, *arguments: str) -> tuple[int, str]:
        status = device.main([name, "--state", str(self.state), *arguments])
        reported = self.capsys.readouterr()
        return status, reported.out + reported.err


@pytest.fixture
def programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Programs]:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    home = tmp_path / "home"
    found = Programs(home, tmp_path / "device", Children(tmp_path / "log"), capsys)
    found.server("init")
    ports = {name: free_port() for name in ("broker", "web", "enrol")}
    (home / "waycue.toml").write_text(SETTINGS.format(**ports))
    found.server("broker", "config", "--address", f"{HOST}:{ports['broker']}")
    ready = tmp_path / "ready"
    with BrokerChild(tmp_path / "broker", secure=home / "broker"), found.children as children:
        run = [command("waycue-server"), "--home", str(home), "run", "--ready-file", str(ready)]
        child = children.start("server", run)
        until(lambda: ready.exists() or not child.running(), "the server", timeout_s=60)
        assert ready.exists(), child.tail()
        yield found
        assert "its rules wait" not in child.log.read_text(), "a broker that is there is nothing to warn of"


@pytest.mark.skipif(sys.platform != "linux", reason="the broker's files carry Linux modes")
def test_a_device_comes_in_works_and_is_locked_out(programs: Programs) -> None:
    claim = json.loads(programs.server("devices", "add", "pi-1", "--server", "127.0.0.1", "--json"))
    assert json.loads(programs.server("devices", "list", "--json"))[0]["state"] == "waiting"

    status, reported = programs.device("enroll", "--uri", claim["uri"])
    assert (status, "This device is pi-1" in reported) == (0, True), reported
    status, reported = programs.device("identity", "--json")
    assert json.loads(reported)["device"] == "pi-1"
    until(lambda: programs.device("selftest", "--only", "broker")[0] == 0, "the broker to know it")
    assert "knows this device" in programs.device("selftest", "--only", "broker")[1]

    assert programs.device("renew", "--rekey")[0] == 0
    run = [command("waycue-device"), "run", "--source", "none", "--speech", "none", "--quiet"]
    agent = programs.children.start("device", [*run, "--state", str(programs.state)])
    until(lambda: len(programs.shown()["certificates"]) == 2, "a certificate for the new key")
    until(lambda: programs.is_online() and programs.shown()["online"], "the agent to be online")

    sealed_to = (programs.state / "identity" / "sealing.crt").read_bytes()
    programs.server("keys", "rotate-sealing")
    programs.children.stop(agent)
    agent = programs.children.start("device again", [*run, "--state", str(programs.state)])
    newest = (programs.home / "ca" / "waycue-sealing.crt").read_bytes()
    until(
        lambda: (programs.state / "identity" / "sealing.crt").read_bytes() == newest != sealed_to,
        "the new key to encrypt moments to",
        timeout_s=60,
    )
    until(lambda: programs.is_online() and programs.shown()["online"], "the agent to be online", timeout_s=15)

    programs.server("devices", "revoke", "pi-1", "--why", "lost on the bus")
    until(lambda: not programs.is_online(), "its session to be ended")
    assert not programs.shown()["online"]
    until(lambda: "certificate revoked" in programs.device("status")[1], "the reason, in words")
    assert "A new code lets it in again" in programs.device("status")[1]
    assert "lost on the bus" in programs.server("devices", "list")
    programs.children.stop(agent)
    assert "Traceback" not in agent.log.read_text()
    status, reported = programs.device("selftest", "--only", "broker")
    assert (status, "certificate revoked" in reported) == (1, True), reported
    status, reported = programs.device(
        "enroll", "--server", claim["server"], "--code", claim["code"], "--device", "pi-1"
    )
    assert (status, "did not take the code" in reported) == (1, True), reported
