"""`run` is ready once its page is up, broker or not; and there is one of it on a home."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from itertools import pairwise
from pathlib import Path

import pytest

from server.broker.child import free_port
from server.logs import STRANGERS_BURST
from server.maintenance import home_lock, readiness
from server.maintenance.readiness import ServerPlaces, ServerStanding
from shared.errors import InUse
from shared.notify import READY
from tests.paths import ROOT
from tests.server.commands.terminal import server

PLACES = ServerPlaces("http://127.0.0.1:8080", "127.0.0.1:8883")
WAITS = "STATUS=page http://127.0.0.1:8080, waiting for the broker at 127.0.0.1:8883"
START_S = 60.0


def test_ready_is_said_once_with_the_page_and_the_broker_is_named_while_it_is_away() -> None:
    away, here = ServerStanding(page=True), ServerStanding(page=True, broker=True)
    steps = [ServerStanding(), ServerStanding(), away, away, here, away, here]
    told = [readiness.told(before, now, PLACES) for before, now in pairwise(steps)]
    said = [readiness.printed(before, now, PLACES) for before, now in pairwise(steps[:5])]
    waits = "Review page http://127.0.0.1:8080; waiting for the broker at 127.0.0.1:8883. Ctrl-C stops."
    assert said[:3] == ["", waits, ""]
    assert said[3] == "Ready: review page http://127.0.0.1:8080, broker 127.0.0.1:8883. Ctrl-C stops."
    there = ("STATUS=page http://127.0.0.1:8080, broker 127.0.0.1:8883",)
    assert told == [(), (READY, WAITS), (), there, (WAITS,), there]


def test_a_broker_that_is_there_first_is_no_readiness() -> None:
    assert readiness.told(ServerStanding(), ServerStanding(broker=True), PLACES) == ("STATUS=starting",)


def test_a_second_server_on_a_home_is_refused_by_the_number_of_the_first(tmp_path: Path) -> None:
    said = rf"at work on .* already \(process {os.getpid()}\)"
    with home_lock.the_server(tmp_path), pytest.raises(InUse, match=said), home_lock.the_server(tmp_path):
        raise AssertionError("two at once")
    with home_lock.the_server(tmp_path):
        pass  # the first has ended


def test_run_without_a_broker_is_ready_serves_its_page_and_refuses_a_second(tmp_path: Path) -> None:
    home, web = tmp_path / "home", f"127.0.0.1:{free_port()}"
    assert server(home, "init").returncode == 0
    command = [sys.executable, "-m", "server", "--home", str(home), "run", "--plain", "--web", web]
    command += ["--broker", f"127.0.0.1:{free_port()}"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(START_S)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        running = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            said = listening.recv(4096).decode().splitlines()
            assert said[0] == READY
            assert said[1].startswith(f"STATUS=page http://{web}, waiting for the broker at 127.0.0.1:")
            with urllib.request.urlopen(f"http://{web}/healthz", timeout=START_S) as answer:
                assert answer.status == 200
            host, port = web.split(":")
            for _ in range(100):
                with socket.create_connection((host, int(port)), START_S) as attacker:
                    attacker.sendall(b"nonsense\r\n\r\n")
                    attacker.recv(1000)
            second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=START_S, check=False)
            assert second.returncode == 2
            assert f"at work on {home} already (process {running.pid})" in second.stderr
        finally:
            running.send_signal(signal.SIGTERM)
            _, log = running.communicate(timeout=START_S)
    assert "Traceback" not in log
    assert log.count("Invalid HTTP request") == STRANGERS_BURST, "whoever attacks the page does not fill the disk"
