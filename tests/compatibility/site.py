"""This checkout's commands, servers, devices and a broker, started as a person starts them.

Imports nothing of the product by name, so that moves and renames do not touch it: `pyproject.toml` names the commands.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
ANNA, BERT = "anna", "bert"
"""The device whose whole state is in the fixture, and the device whose session is recorded in it."""
DEADLINE_S = 60.0
PLAIN = "listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\nset_tcp_nodelay true\nuser {user}\n"
Message = tuple[str, bytes]
"""Topic and payload."""


def main_of(name: str) -> Callable[[Sequence[str]], int]:
    """The function behind waycue-device or waycue-server."""
    entry_point = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"][name]
    module, _, attribute = entry_point.partition(":")
    main: Callable[[Sequence[str]], int] = getattr(import_module(module), attribute)
    return main


def call(name: str, *arguments: str | Path) -> tuple[int, str]:
    """Run a command in this process. Returns its exit status and what it printed on stdout."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            status = main_of(name)([str(argument) for argument in arguments])
        except SystemExit as error:  # argparse: wrong use
            status = int(error.code or 0)
    return status, out.getvalue()


def call_json(name: str, *arguments: str | Path) -> Any:
    """Run a command with --json. Returns what it printed."""
    return json.loads(call(name, *arguments)[1])


def until(condition: Callable[[], bool], what: str, *, timeout_s: float = DEADLINE_S) -> None:
    """Poll a condition. Raises: AssertionError."""
    pause = threading.Event()
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, f"not within {timeout_s} s: {what}"
        pause.wait(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass(frozen=True, slots=True)
class Process:
    """A running program and its log."""

    child: subprocess.Popen[bytes]
    log: Path

    @property
    def running(self) -> bool:
        return self.child.poll() is None

    def until(self, condition: Callable[[], bool], what: str, *, timeout_s: float = DEADLINE_S) -> None:
        """Poll a condition while the program runs. Raises: AssertionError with its log."""
        try:
            until(lambda: condition() or not self.running, what, timeout_s=timeout_s)
            assert condition(), f"it ended before: {what}"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from None

    def text(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal, SIGINT as Ctrl-C does, and wait. Returns the exit status."""
        if self.running:
            self.child.send_signal(number)
        return self.child.wait(DEADLINE_S)

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()


@contextlib.contextmanager
def running(log: Path, *arguments: str | Path) -> Iterator[Process]:
    """A program that ends with the block. SIGINT has its default disposition, also where a shell's `&` ignores it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with open(log, "ab") as out:
        child = subprocess.Popen(
            [str(argument) for argument in arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    process = Process(child, log)
    try:
        yield process
    finally:
        if process.running:
            process.stop()


@contextlib.contextmanager
def mosquitto(conf: Path) -> Iterator[None]:
    """A broker with this configuration."""
    program = find("mosquitto")
    assert program is not None
    port = next(int(line.split()[1]) for line in conf.read_text().splitlines() if line.startswith("listener "))
    with running(conf.with_suffix(".log"), program, "-c", conf) as broker:
        broker.until(lambda: _accepts(port), "the broker to listen")
        try:
            yield
        finally:
            broker.stop(signal.SIGTERM)


@contextlib.contextmanager
def plain_broker(folder: Path) -> Iterator[int]:
    """A broker without TLS. Gives its port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (folder / "mosquitto.conf").write_text(PLAIN.format(port=port, user="root" if os.geteuid() == 0 else "mosquitto"))
    with mosquitto(folder / "mosquitto.conf"):
        yield port


def find(name: str) -> str | None:
    """The path of a program; Debian installs daemons where a person's PATH does not lead."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


@contextlib.contextmanager
def server(home: Path, *arguments: str | Path) -> Iterator[Process]:
    """`waycue-server run`, ready."""
    ready = home.parent / f"{home.name}.ready"
    ready.unlink(missing_ok=True)
    run: list[str | Path] = [sys.executable, "-m", "server", "--home", home, "run", "--ready-file", ready]
    with running(home.parent / f"{home.name}.log", *run, "--web", f"{HOST}:{free_port()}", *arguments) as process:
        process.until(ready.exists, "the server to be ready")
        yield process


@contextlib.contextmanager
def device(state: Path, config: Path, *arguments: str | Path) -> Iterator[Process]:
    """`waycue-device run`."""
    run: list[str | Path] = [sys.executable, "-m", "device", "run", "--config", config, "--state", state]
    with running(state.parent / f"{state.name}.log", *run, "--speech", "none", *arguments) as process:
        yield process


class Client:
    """A plain MQTT client that subscribes to `filters` and keeps every message that it receives."""

    def __init__(self, port: int, *filters: str, on_message: Callable[[str, bytes], None] | None = None) -> None:
        self.received: list[Message] = []
        self._on_message = on_message
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._take
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect(HOST, port)
        self._client.loop_start()
        self._client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in filters])
        assert self._subscribed.wait(DEADLINE_S)

    def _take(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        topic, payload = message.topic, bytes(message.payload)
        self.received.append((topic, payload))
        if self._on_message is not None:
            self._on_message(topic, payload)

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def without(value: Any, *names: str) -> Any:
    """A JSON value without these keys, at any depth."""
    if isinstance(value, Mapping):
        return {key: without(inner, *names) for key, inner in value.items() if key not in names}
    return [without(inner, *names) for inner in value] if isinstance(value, list) else value
