"""One camera or microphone: a thread that reads what its capture process sends, and restarts the process.

Promises: a capture process that hangs, dies or talks nonsense is killed and started again (device.capture.supervisor
says when), for as long as it is wanted; `close` returns within about a second. What nobody fetches waits: pictures for
PICTURES_KEPT_S, then the oldest are dropped and counted; sound for SOUND_KEPT_S.
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
from device.capture.worker_process import KILL_S, Child, Plan
from shared.background import Background
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.clock import SystemClock
from shared.errors import MediaError

PICTURES_KEPT_S = 2.0  # longer than any pause of the agent on a busy board; guidance is given the newest all the same
PICTURES_KEPT_BYTES = 32 * 1024 * 1024  # 2.3 s of 640×480 at 15 fps, and what a board of 1 GB can spare for a moment
PICTURES_LEAST = 4  # of any size
SOUND_KEPT_S = 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class CapturedItem:
    """A picture or a sound block that was not fetched yet."""

    message: pipe.Message
    dropped_before: int = 0


class CaptureWorker:
    """One camera or microphone: the process, its state and what it sent that was not fetched yet.

    All fields are guarded by `news`, the condition that is notified whenever something changed.
    """

    def __init__(self, plan: Plan, *, news: threading.Condition) -> None:
        self.plan = plan
        self.hint = plan.hint
        self.several = False
        """There are several cameras, and which of them is meant is not guessed."""
        self.facts: Mapping[str, Any] | None = None
        self.state = supervisor.begin(boot_s())
        self.items: deque[CapturedItem] = deque()
        self.dropped = 0
        self._last_t_s = -1.0
        self._kept_s = 0.0
        self._kept_bytes = 0
        self._given_up = False
        self._news = news
        self._wake_read, self._wake_write = os.pipe()
        self._child: Child | None = None
        self._work = Background(self._run, name=f"capture {plan.name}", wake=lambda: os.write(self._wake_write, b"x"))
        self._closing = self._work.stopping

    def start(self) -> None:
        self._work.start()

    def settled(self) -> bool:
        """It has started, or failed to. Call with `news` held."""
        return self.facts is not None or self.state.failures > 0 or self.state.phase == supervisor.Phase.DONE

    def health(self) -> PartHealth:
        """How it is doing now. Call with `news` held."""
        healthy = self.state.phase == supervisor.Phase.RUNNING and not self._closing.is_set()
        state = self.state
        return PartHealth(
            self.plan.name,
            self.plan.kind,
            healthy,
            state.restarts,
            state.trouble,
            self._given_up,
            several=self.several and state.phase != supervisor.Phase.RUNNING,
        )

    def pop(self) -> CapturedItem:
        """The oldest item. Call with `news` held, and only when there is one."""
        item = self.items.popleft()
        self._kept_s -= _sound_s(item.message)
        self._kept_bytes -= item.message.payload.nbytes
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
            self._act(supervisor.WorkerAction.START)
            while not self._closing.is_set():
                self._turn()
        except Exception as error:
            logger.exception("The worker of %s failed; it stays off until the agent is started again.", self.plan.name)
            with self._news:
                self._given_up = True
                gone = supervisor.WorkerGone(str(error))
                self.state, _ = supervisor.step(self.state, gone, now_s=boot_s(), limits=self.plan.limits)
        finally:
            self._kill()
            with self._news:
                self._news.notify_all()

    def _turn(self) -> None:
        """One turn: wait for bytes or the next deadline, then act on what came."""
        child = self._child
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if child is not None:
            poll.register(child.fd, select.POLLIN)
            if child.talks:
                poll.register(child.stderr_fd, select.POLLIN)
        wait_s = min(max(supervisor.deadline_s(self.state, self.plan.limits) - boot_s(), 0.0), 1.0)
        ready = {fd for fd, _ in poll.poll(wait_s * 1000 + 1)}
        if child is not None and child.stderr_fd in ready:
            child.listen()
        if child is not None and child.fd in ready:
            self._receive(child)
        self._advance(supervisor.TimePassed())

    def _receive(self, child: Child) -> None:
        try:
            while child is self._child and (message := child.inlet.take()) is not None:
                self._on_message(message)
        except EOFError:
            self._advance(supervisor.WorkerGone(child.epitaph()))
        except MediaError as error:
            self._advance(supervisor.WorkerGone(str(error)))

    def _on_message(self, message: pipe.Message) -> None:
        match message.kind:
            case pipe.PICTURE | pipe.SOUND:
                self._store(message)
                self._advance(supervisor.ItemReceived())
            case pipe.HELLO:
                with self._news:
                    self.facts = message.facts()
                self._advance(supervisor.HelloReceived())
            case pipe.TROUBLE:
                trouble = message.facts()
                self.hint = str(trouble.get("hint", "")) or self.plan.hint
                self.several = bool(trouble.get("several", False))
                self._advance(supervisor.WorkerGone(str(trouble.get("text", ""))))
            case pipe.END:
                self._advance(supervisor.RecordingEnded())

    def _advance(self, event: supervisor.WorkerEvent) -> None:
        with self._news:
            before = self.state
            self.state, action = supervisor.step(before, event, now_s=boot_s(), limits=self.plan.limits)
            changed = self.state.phase != before.phase
            if changed:
                self._news.notify_all()
        if changed and self.state.phase == supervisor.Phase.WAITING and self.facts is not None:  # else `open` says so
            logger.warning("%s: %s. It is started again.", self.plan.name, self.state.trouble.rstrip("."))
        self._act(action)

    def _act(self, action: supervisor.WorkerAction | None) -> None:
        if action == supervisor.WorkerAction.KILL:
            self._kill()
        elif action == supervisor.WorkerAction.START:
            try:
                self._child = Child(self.plan)
            except OSError as error:  # no memory or no processes left for now
                self._advance(supervisor.WorkerGone(str(error)))

    def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _store(self, message: pipe.Message) -> None:
        with self._news:
            if message.t_s < self._last_t_s:
                return  # a restarted device that stamps from its own past
            self._last_t_s = message.t_s
            self.items.append(CapturedItem(message))
            self._kept_s += _sound_s(message)
            self._kept_bytes += message.payload.nbytes
            self._drop_oldest()
            self._news.notify_all()

    def _drop_oldest(self) -> None:
        if self.plan.kind == "sound":
            while self._kept_s > SOUND_KEPT_S:
                self.pop()
            return
        while len(self.items) > PICTURES_LEAST and self._too_much():
            lost = self.pop().dropped_before + 1
            self.dropped += 1
            self.items[0] = CapturedItem(self.items[0].message, self.items[0].dropped_before + lost)

    def _too_much(self) -> bool:
        waited_s = self.items[-1].message.t_s - self.items[0].message.t_s
        return waited_s > PICTURES_KEPT_S or self._kept_bytes > PICTURES_KEPT_BYTES


def boot_s() -> float:
    """Not a clock that is handed in: what comes is stamped by the capture process, with this one."""
    return SystemClock().monotonic_s()


def _sound_s(message: pipe.Message) -> float:
    return message.height / SAMPLE_RATE_HZ if message.kind == pipe.SOUND else 0.0
