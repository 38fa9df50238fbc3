"""A real `waycue-server run` on a large home, as a child process beside a real broker, and what its answers cost."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from server.broker.child import HOST, BrokerChild, free_port

_TICKS = os.sysconf("SC_CLK_TCK")
START_WITHIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Started:
    """A server that answers."""

    pid: int
    port: int
    first_answer_s: float
    """From its first instruction to the first page."""
    first_answer_cpu_s: float
    """Of its own processor time: what is left where nobody else works."""
    broker: BrokerChild


@dataclass(frozen=True, slots=True)
class Answered:
    """What a request cost, over several."""

    p50_ms: float
    p95_ms: float
    cpu_ms: float
    """Processor time of the server for one, on average; with all that it did beside."""


@contextmanager
def served(home: Path, folder: Path) -> Iterator[Started]:
    """Serve a home until the end of the block. folder: for the broker's files and the log"""
    with BrokerChild(folder / "broker") as broker, open(folder / "server.log", "wb") as log:
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "server",
            "--home",
            str(home),
            "run",
            "--plain",
            "--broker",
            f"{broker.host}:{broker.port}",
            "--enrol",
            "",
            "--web",
            f"{HOST}:{port}",
        ]
        began_s = time.monotonic()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            _first_answer(process, port)
            took_s = time.monotonic() - began_s
            yield Started(process.pid, port, took_s, cpu_s(process.pid), broker)
        finally:
            process.terminate()
            process.wait(60)


def _first_answer(process: subprocess.Popen[bytes], port: int) -> None:
    until_s = time.monotonic() + START_WITHIN_S
    while time.monotonic() < until_s:
        if process.poll() is not None:
            raise RuntimeError(f"The server ended with {process.returncode}; see server.log.")
        with suppress(OSError):
            ask(http.client.HTTPConnection(HOST, port, timeout=60), "/healthz")
            return
        time.sleep(0.02)
    raise RuntimeError(f"No answer within {START_WITHIN_S:.0f} s.")


def cpu_s(pid: int) -> float:
    """Processor time of a process until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_mb(pid: int, *, peak: bool = False) -> float:
    """Memory of a process, now or at most until now."""
    name = "VmHWM:" if peak else "VmRSS:"
    return int(Path(f"/proc/{pid}/status").read_text().partition(name)[2].split()[0]) / 1024


def ask(connection: http.client.HTTPConnection, path: str) -> bytes:
    """One answer. path: "POST /…" sends an empty JSON object. Raises: RuntimeError for any status but 200; OSError."""
    method, _, wanted = path.rpartition(" ") if path.startswith("POST ") else ("GET", "", path.replace(" ", "%20"))
    body, head = (b"{}", {"Content-Type": "application/json"}) if method == "POST" else (None, {})
    connection.request(method, wanted, body, head)
    answer = connection.getresponse()
    told = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path} was answered with {answer.status}: {told[:200]!r}")
    return told


def settle(server: Started, *, quiet_s: float = 1.0, most_s: float = 120.0) -> None:
    """Wait until the server has done what it does after its start: the order of the queue, and what came meanwhile."""
    until_s = time.monotonic() + most_s
    while time.monotonic() < until_s:
        before_s = cpu_s(server.pid)
        time.sleep(quiet_s)
        if cpu_s(server.pid) - before_s < 0.05 * quiet_s:
            return


def measured(server: Started, paths: Sequence[str]) -> Answered:
    """Ask for each path once, one after the other over one connection, as one reader does."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=120)
    ask(connection, paths[0])  # what is loaded with the first is not counted
    cpu_before_s, times = cpu_s(server.pid), []
    for path in paths:
        began_s = time.perf_counter()
        ask(connection, path)
        times.append((time.perf_counter() - began_s) * 1000)
    connection.close()
    times.sort()
    cpu_ms = (cpu_s(server.pid) - cpu_before_s) * 1000 / len(paths)
    at = [times[min(len(times) - 1, int(len(times) * share))] for share in (0.5, 0.95)]
    return Answered(round(at[0], 2), round(at[1], 2), round(cpu_ms, 2))
