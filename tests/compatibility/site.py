"""The public commands and a broker, as a person runs them: of this checkout, wherever its modules lie.

Nothing of the product is imported by name here: `pyproject.toml` says where the commands are.
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

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
ANNA, BERT = "anna", "bert"
"""The device whose state is kept whole, and the one whose session is."""
DEADLINE_S = 30.0
PLAIN = "listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\nset_tcp_nodelay true\nuser {user}\n"
Message = tuple[str, bytes]
"""Topic and payload."""


def main_of(name: str) -> Callable[[Sequence[str]], int]:
    """The function behind waycue-device or waycue-server."""
    place = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"][name]
    module, _, attribute = place.partition(":")
    found: Callable[[Sequence[str]], int] = getattr(import_module(module), attribute)
    return found


def called(name: str, *arguments: str | Path) -> tuple[int, str]:
    """Run a command in this process. Returns its exit status and what it printed on stdout."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            status = main_of(name)([str(argument) for argument in arguments])
        except SystemExit as error:  # argparse: wrong use
            status = int(error.code or 0)
    return status, out.getvalue()


def told(name: str, *arguments: str | Path) -> Any:
    """What a command with --json printed."""
    return json.loads(called(name, *arguments)[1])


def until(holds: Callable[[], bool], what: str, *, timeout_s: float = DEADLINE_S) -> None:
    """Poll a condition. Raises: AssertionError."""
    pause = threading.Event()
    end_s = time.monotonic() + timeout_s
    while not holds():
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

    def until(self, holds: Callable[[], bool], what: str, *, timeout_s: float = DEADLINE_S) -> None:
        """Poll a condition while the program runs. Raises: AssertionError with its log."""
        until(lambda: holds() or not self.running, f"{what}\n{self.text()}", timeout_s=timeout_s)
        assert holds(), f"it ended before: {what}\n{self.text()}"

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        """SIGINT, as Ctrl-C; returns the exit status."""
        if self.running:
            self.child.send_signal(signal.SIGINT)
        return self.child.wait(DEADLINE_S)

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()


@contextlib.contextmanager
def running(log: Path, *arguments: str | Path) -> Iterator[Process]:
    """A program, which is ended with the block. SIGINT works in it also where this process was started with `&`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with open(log, "ab") as out:
        child = subprocess.Popen(
            [str(argument) for argument in arguments], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
    process = Process(child, log)
    try:
        yield process
    finally:
        if process.running:
            process.stop()


@contextlib.contextmanager
def mosquitto(conf: Path) -> Iterator[None]:
    """A broker with this configuration."""
    port = next(int(line.split()[1]) for line in conf.read_text().splitlines() if line.startswith("listener "))
    with running(conf.with_suffix(".log"), program("mosquitto"), "-c", conf) as broker:
        broker.until(lambda: _accepts(port), "the broker to listen")
        try:
            yield
        finally:
            broker.child.terminate()
            broker.child.wait(DEADLINE_S)


@contextlib.contextmanager
def plain_broker(folder: Path) -> Iterator[int]:
    """A broker without TLS. Gives its port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (folder / "mosquitto.conf").write_text(PLAIN.format(port=port, user="root" if os.geteuid() == 0 else "mosquitto"))
    with mosquitto(folder / "mosquitto.conf"):
        yield port


def program(name: str) -> str | None:
    """Where a program is; Debian has daemons beside the usual path."""
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
    run = [sys.executable, "-m", "server", "--home", home, "run", "--ready-file", ready]
    with running(home.parent / f"{home.name}.log", *run, "--web", f"{HOST}:{free_port()}", *arguments) as process:
        process.until(ready.exists, "the server to be ready")
        yield process


@contextlib.contextmanager
def device(state: Path, config: Path, *arguments: str | Path) -> Iterator[Process]:
    """`waycue-device run`."""
    run = [sys.executable, "-m", "device", "run", "--config", config, "--state", state]
    with running(state.parent / f"{state.name}.log", *run, "--speech", "none", *arguments) as process:
        yield process


class Client:
    """A plain MQTT client that keeps what it hears. filters: what it subscribes to."""

    def __init__(self, port: int, *filters: str, on_message: Callable[[str, bytes], None] | None = None) -> None:
        self.heard: list[Message] = []
        self._on_message = on_message
        self._subscribed = threading.Event()
        self._filters = filters
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._received
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect(HOST, port)
        self._client.loop_start()
        self._client.subscribe([(topic, mqtt.SubscribeOptions(qos=1)) for topic in filters])
        assert self._subscribed.wait(DEADLINE_S)

    def _received(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        self.heard.append((message.topic, message.payload))
        if self._on_message is not None:
            self._on_message(message.topic, message.payload)

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def tree(folder: Path, *, skip: Sequence[str] = ()) -> dict[str, int]:
    """Path → size of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): path.stat().st_size for path in files if path.name not in skip}


def without(value: Any, *names: str) -> Any:
    """A JSON value without these keys, at any depth."""
    if isinstance(value, Mapping):
        return {key: without(one, *names) for key, one in value.items() if key not in names}
    return [without(one, *names) for one in value] if isinstance(value, list) else value
