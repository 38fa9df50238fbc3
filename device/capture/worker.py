"""The watch over one camera or microphone: a thread that takes what the capture process gives, and restarts it.

Promises: a capture process that hangs, dies or talks nonsense is killed and started again (device.capture.supervisor
says when), for as long as it is wanted; `close` returns within about a second. Where nobody fetches pictures in time
the oldest are dropped and counted: the newest is what matters. Sound waits for up to 30 s before any is dropped.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from device.capture import pipe, supervisor
from device.capture.source import PartHealth
from device.capture.supervisor import Action, Event
from device.capture.worker_process import KILL_S, Child, Plan
from shared.background import Background
from shared.clock import SystemClock
from shared.errors import MediaError
from shared.media import SAMPLE_RATE_HZ

PICTURES_KEPT = 4  # a quarter of a second at 15 fps: rides over a pause of the agent, never grows into a delay
SOUND_KEPT_S = 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A picture or a sound block that was not fetched yet."""

    message: pipe.Message
    dropped_before: int = 0


class Capture:
    """One camera or microphone: the process, its watch and what it gave that was not fetched yet.

    All fields are guarded by `news`, the condition that is notified whenever something changed.
    """

    def __init__(self, plan: Plan, *, news: threading.Condition) -> None:
        self.plan = plan
        self.hint = plan.hint
        self.facts: Mapping[str, Any] | None = None
        self.watch = supervisor.begin(boot_s())
        self.items: deque[Item] = deque()
        self.dropped = 0
        self._last_t_s = -1.0
        self._kept_s = 0.0
        self._news = news
        self._wake_read, self._wake_write = os.pipe()
        self._child: Child | None = None
        self._work = Background(self._run, name=f"capture {plan.name}", wake=lambda: os.write(self._wake_write, b"x"))
        self._closing = self._work.stopping

    def start(self) -> None:
        """Start the process and its watch; returns at once."""
        self._work.start()

    def settled(self) -> bool:
        """It has started, or failed to. Call with `news` held."""
        return self.facts is not None or self.watch.failures > 0 or self.watch.phase == "done"

    def health(self) -> PartHealth:
        """How it is doing now. Call with `news` held."""
        watch = self.watch
        well = watch.phase == "running" and not self._closing.is_set()
        return PartHealth(self.plan.name, self.plan.kind, well, watch.restarts, watch.trouble)

    def pop(self) -> Item:
        """The oldest item. Call with `news` held, and only when there is one."""
        item = self.items.popleft()
        self._kept_s -= _sound_s(item.message)
        return item

    def close(self) -> None:
        """End process and thread. Idempotent."""
        if self._closing.is_set():
            return
        if self._work.close(KILL_S * 3):  # the thread closes neither end: it may be done before the byte is written
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _run(self) -> None:
        try:
            self._act("start")
            while not self._closing.is_set():
                self._wait_and_take()
        except Exception as error:
            log.exception("The watch over %s failed; it stays off until the agent is started again.", self.plan.name)
            with self._news:
                self.watch, _ = supervisor.step(
                    self.watch, "gone", now_s=boot_s(), limits=self.plan.limits, why=str(error)
                )
        finally:
            self._kill()
            with self._news:
                self._news.notify_all()

    def _wait_and_take(self) -> None:
        """One turn: wait for bytes or the next deadline, then act on what came."""
        child = self._child
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if child is not None:
            poll.register(child.fd, select.POLLIN)
            if child.talks:
                poll.register(child.stderr_fd, select.POLLIN)
        wait_s = min(max(supervisor.deadline_s(self.watch, self.plan.limits) - boot_s(), 0.0), 1.0)
        ready = {fd for fd, _ in poll.poll(wait_s * 1000 + 1)}
        if child is not None and child.stderr_fd in ready:
            child.listen()
        if child is not None and child.fd in ready:
            self._take(child)
        self._advance("tick")

    def _take(self, child: Child) -> None:
        try:
            while child is self._child and (message := child.inlet.take()) is not None:
                self._on_message(message)
        except EOFError:
            self._advance("gone", why=child.epitaph())
        except MediaError as error:
            self._advance("gone", why=str(error))

    def _on_message(self, message: pipe.Message) -> None:
        if message.kind in (pipe.PICTURE, pipe.SOUND):
            self._keep(message)
            self._advance("item")
        elif message.kind == pipe.HELLO:
            with self._news:
                self.facts = message.facts()
            self._advance("hello")
        elif message.kind == pipe.TROUBLE:
            said = message.facts()
            self.hint = str(said.get("hint", "")) or self.plan.hint
            self._advance("gone", why=str(said.get("text", "")))
        elif message.kind == pipe.END:
            self._advance("end")

    def _advance(self, event: Event, *, why: str = "") -> None:
        with self._news:
            before = self.watch
            self.watch, action = supervisor.step(before, event, now_s=boot_s(), limits=self.plan.limits, why=why)
            changed = self.watch.phase != before.phase
            if changed:
                self._news.notify_all()
        if changed and self.watch.phase == "waiting" and self.facts is not None:  # else `open` tells
            log.warning("%s: %s. It is started again.", self.plan.name, self.watch.trouble.rstrip("."))
        self._act(action)

    def _act(self, action: Action) -> None:
        if action == "kill":
            self._kill()
        elif action == "start":
            try:
                self._child = Child(self.plan)
            except OSError as error:  # no memory or no processes left for now
                self._advance("gone", why=str(error))

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _keep(self, message: pipe.Message) -> None:
        with self._news:
            if message.t_s < self._last_t_s:
                return  # a restarted device that stamps from its own past
            self._last_t_s = message.t_s
            self.items.append(Item(message))
            self._kept_s += _sound_s(message)
            self._drop_oldest()
            self._news.notify_all()

    def _drop_oldest(self) -> None:
        if self.plan.kind == "sound":
            while self._kept_s > SOUND_KEPT_S:
                self.pop()
            return
        while len(self.items) > PICTURES_KEPT:
            lost = self.items.popleft().dropped_before + 1
            self.dropped += 1
            self.items[0] = Item(self.items[0].message, self.items[0].dropped_before + lost)


def boot_s() -> float:
    """Not a clock that is handed in: what comes is stamped by the capture process, with this one."""
    return SystemClock().monotonic_s()


def _sound_s(message: pipe.Message) -> float:
    return message.height / SAMPLE_RATE_HZ if message.kind == pipe.SOUND else 0.0
