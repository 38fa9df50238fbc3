"""A whole server on PostgreSQL: the commands that people run, a device's own link, the page, and a database that goes
away and comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from device.outbox.outbox import Outbox
from server.broker.child import HOST, BrokerChild, free_port
from tests.faults import cargo
from tests.link.parties import MakeLink
from tests.paths import ROOT
from tests.postgres import PASSWORD, PostgresChild

DEADLINE_S = 120.0


class RunningServer:
    """`waycue-server run` on a home."""

    def __init__(self, home: Path, broker: BrokerChild) -> None:
        self.port, self.log = free_port(), home.parent / "server.log"
        ready = home.parent / "ready"
        words = ["run", "--plain", "--broker", f"{broker.host}:{broker.port}", "--web", f"{HOST}:{self.port}"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server", "--home", str(home), *words, "--ready-file", str(ready)],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        self.until(ready.exists)

    def until(self, condition: Callable[[], object]) -> None:
        deadline, tick = time.monotonic() + DEADLINE_S, threading.Event()
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            tick.wait(0.1)

    def get(self, path: str) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def merged(self) -> int:
        status, found = self.get("/api/samples?state=all")
        return len(found["samples"]) if status == 200 else -1

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log.read_text()


def waycue(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", "--home", str(home), *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )


@contextmanager
def running(home: Path, broker: BrokerChild) -> Iterator[RunningServer]:
    server = RunningServer(home, broker)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.fixture
def home(tmp_path: Path, postgres: PostgresChild) -> Iterator[Path]:
    """Its settings name a database that has no tables yet."""
    home, url = tmp_path / "home", postgres.empty()
    postgres.write_settings(home, url)
    yield home
    postgres.start()
    postgres.drop(url)


def seal(box: Outbox, number: int) -> None:
    box.seal_chunk(*cargo.chunk("pi-1", number))


def test_a_server_on_postgresql_merges_shows_and_outlives_its_database(
    home: Path, postgres: PostgresChild, broker: BrokerChild, box: Outbox, make_link: MakeLink
) -> None:
    with running(home, broker) as server:
        seal(box, 0)
        link = make_link()
        link.start()
        server.until(lambda: server.merged() == 1)
        assert server.get("/healthz") == (200, {"status": "ok"})
        postgres.stop()
        status, told = server.get("/healthz")
        assert (status, "did not answer" in told) == (503, True)
        seal(box, 1)
        server.until(lambda: "could not be written" in server.log.read_text())
        postgres.start()
        server.until(lambda: server.merged() == 2)
        server.until(lambda: box.counts().queued == 0)
        assert server.get("/healthz")[0] == 200
        assert PASSWORD not in server.log.read_text()
        server.stop()


def test_a_database_that_is_away_at_the_start_is_named_with_what_to_do(home: Path, postgres: PostgresChild) -> None:
    postgres.stop()
    said = waycue(home, "run", "--plain")
    assert said.returncode == 1
    assert "does not answer" in said.stderr
    assert "database.url" in said.stderr
    assert PASSWORD not in said.stderr
    assert "Traceback" not in said.stderr
