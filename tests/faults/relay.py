"""A bad network on loopback: a TCP relay between a client and a server, whose weather changes while it runs.

    with Relay("127.0.0.1", broker.port, weather=Weather(bytes_per_s=64_000)) as relay:
        link = Link(LinkSettings(relay.host, relay.port, ...), ...)
        relay.cut_after(100_000, "up")      reset all connections once 100 kB more went up
        relay.wait(lambda: relay.cuts == 1)
        relay.weather = Weather(delay_s=0.3, loss=0.01)

What it can do: delay, limit to a speed (shared by all connections, as a radio is), stall as TCP does for a lost packet,
reset, close, go silent without a sign (half-open), swallow new connections, refuse them. It carries bytes and never
looks at them, so TLS goes through it too; it changes none unless told to (`corrupt_next`).

"up" is from the client that connected here to the server behind. Every method may be called from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

HOST = "127.0.0.1"
SLICE_BYTES = 16 * 1024
SOCKET_BUFFER_BYTES = 64 * 1024  # small, so that a slow relay is felt by the sender soon
SEGMENT_BYTES = 1460
RETRANSMIT_S = 0.2  # Linux' smallest retransmission time-out
IN_FLIGHT = 64  # slices that a delay may hold per direction
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with time 0: close sends RST

Direction = Literal["up", "down"]
MBIT = 125_000  # bytes a second


@dataclass(frozen=True, slots=True)
class Weather:
    """How the network is. The default is as good as loopback."""

    delay_s: float = 0.0
    """Each way."""
    bytes_per_s: float = 0.0
    """Each way, for all connections together; 0 = no limit."""
    loss: float = 0.0
    """Share of packets that are lost once: TCP hides it, at the price of a stall."""
    takes_new: Literal["yes", "silent", "no"] = "yes"
    """Of new connections. silent: accepted and then nothing, as behind a dead NAT; no: refused with a reset."""


@dataclass(slots=True, eq=False)
class _Pair:
    """One connection and its other half."""

    client: socket.socket
    server: socket.socket | None = None
    hushed: set[Direction] = field(default_factory=set)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def reset(self, *, politely: bool = False) -> None:
        for end in (self.client, self.server):
            if end is not None and end.fileno() >= 0:
                if not politely:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.close()


class Relay:
    """A context manager, or start() and stop(). The port stays the same for its whole life.

    seed: of the losses. port: 0 = a free one.
    """

    def __init__(
        self, to_host: str, to_port: int, *, weather: Weather | None = None, seed: int = 0, port: int = 0
    ) -> None:
        self.to = (to_host, to_port)
        self.weather = weather or Weather()
        self.host = HOST
        self.bytes: dict[Direction, int] = {"up": 0, "down": 0}
        """Carried so far, of all connections."""
        self.connections = 0
        """Accepted so far."""
        self.cuts = 0
        """Times that `cut`, `close_all` or `cut_after` ended at least one connection."""
        self._draw = random.Random(seed)
        self._free_at = {"up": 0.0, "down": 0.0}
        self._cut_at: dict[Direction, int] = {}
        self._corrupt: set[Direction] = set()
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((HOST, port))
        self._listener.listen(64)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    # the public side

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Reset what is open and end. Idempotent."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        elif not self._loop.is_closed():
            self._listener.close()
            self._loop.close()

    @property
    def open(self) -> int:
        """Connections that are open now, hushed ones included."""
        return len(self._pairs)

    def cut(self) -> None:
        """Reset every connection now, as a router that restarts does. Bytes on their way are gone."""
        self._call(self._cut)

    def close_all(self) -> None:
        """Close every connection politely, after what was carried so far."""
        self._call(lambda: self._cut(politely=True))

    def cut_after(self, size_bytes: int, direction: Direction) -> None:
        """Reset every connection once `size_bytes` more went in a direction."""
        self._call(lambda: self._cut_at.__setitem__(direction, self.bytes[direction] + size_bytes))

    def hush(self, *directions: Direction) -> None:
        """Let the connections that are open now go silent for ever: no bytes, no end, no sign. A peer that hangs up is
        not told on: the other one keeps a half-open connection. New connections are as the weather is."""
        chosen: set[Direction] = set(directions) or {"up", "down"}

        def hush() -> None:
            for pair in self._pairs:
                pair.hushed |= chosen

        self._call(hush)

    def corrupt_next(self, direction: Direction) -> None:
        """Turn over one bit of the next slice that goes in a direction."""
        self._call(lambda: self._corrupt.add(direction))

    def wait(self, until: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Until something holds that the relay counts (bytes, connections, cuts, open). Raises: TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(until, timeout_s):
                raise TimeoutError(f"The relay never came to it within {timeout_s} s.")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    # the relay's thread

    def _call(self, work: Callable[[], object]) -> None:
        """Run on the loop and wait for it, so that what the caller does next comes after."""
        done = threading.Event()

        def run() -> None:
            try:
                work()
            finally:
                done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait(60)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        accepting = self._loop.create_task(self._accept())
        try:
            self._loop.run_forever()
        finally:
            for pair in list(self._pairs):
                self._drop(pair)
            accepting.cancel()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._listener.close()
            self._loop.close()

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            pair = _Pair(client)
            if self.weather.takes_new == "no":
                pair.reset()
                continue
            client.setblocking(False)
            self._pairs.add(pair)
            self._count(lambda: setattr(self, "connections", self.connections + 1))
            if self.weather.takes_new == "yes":
                self._begin(pair, self._serve(pair))

    async def _serve(self, pair: _Pair) -> None:
        server = socket.socket()
        server.setblocking(False)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
        pair.server = server
        try:
            await self._loop.sock_connect(server, self.to)
        except OSError:
            self._drop(pair)
            return
        for end in (pair.client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._begin(pair, self._carry(pair, pair.client, server, "up"))
        self._begin(pair, self._carry(pair, server, pair.client, "down"))

    def _begin(self, pair: _Pair, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that ends with its pair. The loop itself holds tasks only weakly."""
        task = self._loop.create_task(work)
        pair.tasks.append(task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if pair not in self._pairs:
            task.cancel()
        return task

    async def _carry(self, pair: _Pair, source: socket.socket, target: socket.socket, way: Direction) -> None:
        """One direction of one connection, until it ends; then the whole connection does."""
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)
        writing = self._begin(pair, self._deliver(pair, target, due, way))
        try:
            while True:
                data = await self._loop.sock_recv(source, SLICE_BYTES)
                await self._quiet(pair, way)
                await due.put((await self._through(len(data), way), data))
                if not data:
                    await writing
                    return
        except OSError:
            await self._quiet(pair, way)
            self._drop(pair)

    async def _deliver(
        self, pair: _Pair, target: socket.socket, due: asyncio.Queue[tuple[float, bytes]], way: Direction
    ) -> None:
        try:
            while True:
                at, data = await due.get()
                await asyncio.sleep(max(0.0, at - self._loop.time()))
                await self._quiet(pair, way)
                if not data:
                    self._drop(pair, politely=True)
                    return
                if way in self._corrupt:
                    self._corrupt.discard(way)
                    data = _one_bit_turned(data, self._draw)
                await self._loop.sock_sendall(target, data)
                self._went(len(data), way)
                if pair not in self._pairs:
                    return  # these were the bytes after which it was to be cut
        except OSError:
            self._drop(pair)

    async def _quiet(self, pair: _Pair, way: Direction) -> None:
        if way in pair.hushed:
            await asyncio.Event().wait()  # until the pair is dropped: nothing moves, nobody is told

    async def _through(self, size: int, way: Direction) -> float:
        """Wait for a turn on the wire; the loop time at which the bytes are to arrive."""
        weather = self.weather
        now = self._loop.time()
        free_at = max(now, self._free_at[way])
        if weather.bytes_per_s:
            free_at += size / weather.bytes_per_s
        packets = -(-size // SEGMENT_BYTES)
        if weather.loss and self._draw.random() < 1 - (1 - weather.loss) ** packets:
            free_at += RETRANSMIT_S
        self._free_at[way] = free_at
        if free_at > now:
            await asyncio.sleep(free_at - now)
        return free_at + weather.delay_s

    def _went(self, size: int, way: Direction) -> None:
        def count() -> None:
            self.bytes[way] += size

        self._count(count)
        if self.bytes[way] >= self._cut_at.get(way, 1 << 62):
            del self._cut_at[way]
            self._cut()

    def _cut(self, *, politely: bool = False) -> None:
        if self._pairs:
            self._count(lambda: setattr(self, "cuts", self.cuts + 1))
        for pair in list(self._pairs):
            self._drop(pair, politely=politely)

    def _drop(self, pair: _Pair, *, politely: bool = False) -> None:
        if pair not in self._pairs:
            return
        self._count(lambda: self._pairs.discard(pair))
        current = None
        with contextlib.suppress(RuntimeError):  # no task runs while the loop shuts down
            current = asyncio.current_task(self._loop)
        for task in pair.tasks:
            if task is not current:
                task.cancel()
        for end in (pair.client, pair.server):
            if end is not None:  # the selector must not look at a descriptor that another socket may get
                self._loop.remove_reader(end.fileno())
                self._loop.remove_writer(end.fileno())
        pair.reset(politely=politely)

    def _count(self, change: Callable[[], object]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()


def _one_bit_turned(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes((data[at] ^ (1 << draw.randrange(8)),)) + data[at + 1 :]
