"""A small world of real processes for the fault tests: a broker, servers, devices, a relay before each device.

Processes come from one fork server that has imported everything, so that a life starts in a hundredth of a second. The
world starts, kills and restarts them, and ends them all when its block is left.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, Self

from server.broker.child import BrokerChild
from tests.faults import actors
from tests.faults.actors import DeviceOrders, Fate, ServerOrders
from tests.faults.relay import Relay
from tests.faults.strikes import state_of

READY_S = 60.0
POLL_S = 0.02
_PRELOAD = ["tests.faults.actors", "server.database.postgresql"]
_ASKING = threading.Lock()  # each start asks after all children: two threads would read one exit code


def context() -> ForkServerContext:
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([*_PRELOAD, *_of_main()])
    return found


def _of_main() -> list[str]:
    """What the module that was started with `python -m` imports: each process runs that module, too, and to import all
    of it anew took half a second of processor time."""
    spec = sys.modules["__main__"].__spec__
    if spec is None or spec.name.endswith("__main__"):
        return []
    return [name for name in sys.modules if name.startswith("tests.") and name != spec.name]


@dataclass(slots=True)
class Actor:
    """A process and how it was started. Its log holds all its lives."""

    name: str
    log: Path
    process: ForkServerProcess | None = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.exit_code is None

    @property
    def frozen(self) -> bool:
        """Whether it stands still (SIGSTOP)."""
        return self.running and self.process is not None and state_of(self.process.pid or 0) == "T"

    def thaw(self) -> None:
        """Let it go on where it stands still."""
        if self.frozen and self.process is not None and self.process.pid:
            os.kill(self.process.pid, signal.SIGCONT)

    @property
    def exit_code(self) -> int | None:
        """None while it runs, and before it ever did."""
        if self.process is None:
            return None
        with _ASKING:
            return self.process.exitcode

    def start(self, life: Callable[..., None], orders: object, *, wait_ready: bool = False) -> None:
        assert not self.running
        ready = self.log.with_suffix(".ready")
        ready.unlink(missing_ok=True)
        with _ASKING:
            if self.process is not None:
                self.process.close()
            self.process = context().Process(
                target=_logged, args=(life, orders, ready, self.log), name=self.name, daemon=True
            )
            self.process.start()
        if wait_ready:
            self.wait_for(lambda: ready.exists() or self.frozen)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = READY_S) -> bool:
        """Until something holds or the process ended; whether it holds. Raises: AssertionError after the time."""
        end_s = time.monotonic() + timeout_s
        while not condition():
            if self._ended_within(POLL_S):
                return condition()
            assert time.monotonic() < end_s, f"{self.name} did not come to it within {timeout_s} s.\n{self.tail()}"
        return True

    def kill(self) -> None:
        """SIGKILL, also where it is frozen."""
        if self.running:
            assert self.process is not None
            self.process.kill()
            while not self._ended_within(1.0):
                pass

    def stop(self, timeout_s: float = 20.0) -> int | None:
        """Ask it to end; kill it after the time. Returns its exit code."""
        if self.running:
            assert self.process is not None
            self.process.terminate()
            if not self._ended_within(timeout_s):
                self.kill()
        return self.exit_code

    def _ended_within(self, timeout_s: float) -> bool:
        assert self.process is not None
        connection.wait([self.process.sentinel], timeout_s)
        return self.exit_code is not None

    def tail(self, lines: int = 15) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _logged(life: Callable[..., None], orders: object, ready: Path, log: Path) -> None:
    """In the new process: its output goes to its log."""
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    life(orders, ready)


@dataclass(slots=True)
class DeviceSeat:
    """One device of a world: its orders, its process and the network before it."""

    orders: DeviceOrders
    relay: Relay
    actor: Actor

    def start(self, fate: Fate | None = None) -> None:
        self.actor.start(actors.device_life, self.orders if fate is None else replace(self.orders, fate=fate))


@dataclass(slots=True)
class World:
    """A context manager; leaving it ends every process and thread of it."""

    folder: Path
    broker: BrokerChild = field(init=False)
    server: Actor = field(init=False)
    worker: Actor = field(init=False)
    """A second ingest worker, where `shared`."""
    devices: dict[str, DeviceSeat] = field(default_factory=dict)
    shared: bool = False

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.broker = BrokerChild(self.folder / "broker")
        self.server = Actor("server", self.folder / "server.log")
        self.worker = Actor("worker", self.folder / "worker.log")

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def intake(self, worker: int = 0) -> Actor:
        """Who takes in, by number."""
        return self.worker if worker else self.server

    def start_server(self, fate: Fate | None = None, *, home: Path | None = None, worker: int = 0) -> None:
        """Returns once it is ready, or dead."""
        orders = ServerOrders(
            home or self.home,
            self.broker.host,
            self.broker.port,
            worker=worker,
            shared=self.shared,
            fate=fate or Fate(),
        )
        self.intake(worker).start(actors.server_life, orders, wait_ready=True)

    def start_server_until_ready(self, fate: Fate | None, *, worker: int = 0) -> int:
        """Start it; where its fate overtakes it before it is ready, start it again without. Returns its deaths."""
        self.start_server(fate, worker=worker)
        if self.intake(worker).running:
            return 0
        self.start_server(worker=worker)
        return 1

    def add_device(self, name: str, *, state: Path | None = None, **orders: Any) -> DeviceSeat:
        relay = Relay(self.broker.host, self.broker.port)
        relay.start()
        ledger = self.folder / f"{name}.ledger"
        made = DeviceOrders(name, state or self.folder / name, ledger, relay.host, relay.port, **orders)
        seat = DeviceSeat(made, relay, Actor(name, self.folder / f"{name}.log"))
        self.devices[name] = seat
        return seat

    def tails(self) -> str:
        """The last lines of everybody."""
        actors = [self.server, self.worker, *(seat.actor for seat in self.devices.values())]
        return "\n".join(f"{actor.name}, {actor.exit_code}:\n{actor.tail(30)}" for actor in actors)

    def __enter__(self) -> Self:
        self.broker.start()
        return self

    def __exit__(self, *_: object) -> None:
        for seat in self.devices.values():
            seat.actor.kill()
        self.server.kill()
        self.worker.kill()
        for seat in self.devices.values():
            seat.relay.stop()
        self.broker.stop()


@contextlib.contextmanager
def stopped(actor: Actor) -> Iterator[None]:
    """The process is frozen inside the block, as a stuck disk or a swapping machine freezes it."""
    pid = actor.process.pid if actor.process is not None and actor.running else None
    if pid is not None:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if pid is not None and actor.running:
            os.kill(pid, signal.SIGCONT)
