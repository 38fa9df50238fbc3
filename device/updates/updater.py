"""Model updates on the device: fetch, check, test, switch, prove, or roll back.

The server's retained offer names a model by the hash of its manifest. The device pulls its files in blocks, checks
every hash, runs the self-test, switches between two slots in one atomic step and watches the first looks. The rules are
in `device.updates.state`, the decisions in `device.updates.machine`; `device.updates.executor` carries them out.

Promises: the power may go at any moment, and afterwards `current_slot` still names a whole model and the update goes on
where it was; what was fetched is not fetched again, except for one window (512 KiB). A model whose bytes are not
exactly those of its manifest is never put in use.

Threads: `on_offer`, `on_block`, `link_changed` and the reports only queue an event and may be called from anywhere.
`tick` does the work, which can take seconds (hashing, self-test): give it a thread of its own with `run`.
"""

from __future__ import annotations

import errno
import logging
import queue
import threading
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path

from device.updates import events as e
from device.updates.executor import Executor, UpdaterPorts
from device.updates.machine import step
from device.updates.offer import read_offer
from device.updates.operator_requests import OperatorRequest, take
from device.updates.permission import Permission
from device.updates.slots import FOLDER, ModelSlots, current_slot, previous_slot
from device.updates.state import Settings, UpdatePhase, UpdateReport, restored
from device.updates.state_file import load_denied, load_state
from shared import atomic, file_lock, topics
from shared.errors import InUse, WaycueError

__all__ = ["Settings", "UpdateReport", "Updater", "UpdaterPorts", "current_slot", "previous_slot"]

QUEUE_EVENTS = 256
QUEUE_BLOCKS = 64  # eight windows; a server that sends more than was asked for fills no memory
POLL_S = 0.5
logger = logging.getLogger(__name__)


class Updater:
    """One per state folder: a second one is refused. Call `close` (or let the process end) to give the folder free.

    permission: which models may guide, and what proves their offers. Asked before a model is fetched (a version that is
    refused there is not denied for ever), at the start, after each switch, and when metadata were verified.
    crash_point: called with the name of each durable step just done; tests end the process there.
    raises: InUse where another process has the folder, OSError.
    """

    def __init__(
        self,
        state_dir: Path,
        ports: UpdaterPorts,
        permission: Permission,
        *,
        settings: Settings | None = None,
        crash_point: atomic.Step = atomic.no_step,
    ) -> None:
        self._ports, self._signed = ports, permission.proof is not None
        self._settings = settings or Settings()
        self._models = state_dir / FOLDER
        atomic.make_dirs(self._models)
        hint = "Stop it, or name another folder with --state."
        busy = InUse(f"Another waycue-device uses {state_dir}.", hint=hint)
        self._lock_file = file_lock.acquire(self._models / ".lock", busy=busy)
        slots = ModelSlots(state_dir, crash_point)
        self._queue: queue.Queue[e.UpdateEvent] = queue.Queue()
        self._working = threading.RLock()
        self._executor = Executor(slots, ports, permission, crash_point)
        self._began_s = ports.clock.monotonic_s()
        self._counted_before: Counter[str] = Counter()
        self.counters = self._executor.counters
        """fetched_bytes, repeated_bytes (came again or unasked), copied_bytes, wrong_blocks, refused (messages that are
        not ours), distrusted (offers that their metadata did not prove)."""
        self.reports: tuple[UpdateReport, ...] = ()
        self._state = replace(
            restored(load_state(self._models), signed=self._signed),
            denied=load_denied(self._models),
            current=self._executor.identity(slots.current),
            previous=self._executor.identity(slots.previous),
        )
        self._started = False

    def start(self) -> None:
        """Finish a switch that was interrupted, and roll back a model that never got through its probation: call it
        before the model is loaded. Quick; it may call `use_model`. Repeated calls do nothing."""
        with self._working:
            if not self._started:
                self._started = True
                self._handle(e.AgentStarted())

    # --- called from other threads: queue an event, do nothing else ---

    def on_offer(self, payload: bytes) -> None:
        """The retained offer of this device came. An empty one (taken back) changes nothing."""
        if not payload:
            return
        event: e.UpdateEvent
        try:
            event = e.Offered(read_offer(payload, signed=self._signed))
        except WaycueError as error:
            self.counters["refused"] += 1
            logger.warning("An offer of a model was refused: %s", error)
            event = e.OfferRefused(f"an offer was refused: {error}")
        if self._queue.qsize() < QUEUE_EVENTS:  # offers are few; where hundreds wait, somebody floods the device
            self._queue.put(event)
        else:
            self.counters["refused"] += 1

    def on_block(self, levels: list[str], payload: bytes) -> None:
        """A block came. levels: ["block", sha256, offset]"""
        offset = topics.parse_offset(levels[2]) if len(levels) == 3 and levels[0] == "block" else None
        if offset is None or not topics.SHA256.match(levels[1]) or self._queue.qsize() >= QUEUE_BLOCKS:
            self.counters["refused"] += 1
            return
        self._queue.put(e.BlockReceived(levels[1], offset, payload))

    def link_changed(self, online: bool) -> None:
        """The link came up or went down. Optional: without it, requests are repeated after their timeout."""
        self._queue.put(e.LinkChanged(online))

    def report_look_ok(self, version: str | None = None) -> None:
        """A look went well. version: of the model that looked; one that is no longer in use does not count."""
        if version in (None, self._state.current.version) and self._state.phase == UpdatePhase.PROBATION:
            self._queue.put(e.ModelLooked())

    def report_failure(self, reason: str, version: str | None = None) -> None:
        """The model in use could not be loaded, or a look failed. On probation it is rolled back; later only where its
        files turn out to be damaged. version: as in `report_look_ok`."""
        if version in (None, self._state.current.version):
            self._queue.put(e.ModelLooked(reason))

    # --- the work ---

    def run(self, stop: threading.Event) -> None:
        """`tick` until `stop` is set: at once when something came, else twice a second."""
        self.start()
        while not stop.is_set():
            try:
                event = self._queue.get(timeout=POLL_S)
            except queue.Empty:
                pass
            else:
                with self._working:
                    self._handle(event)
            self.tick()

    def tick(self) -> None:
        """Handle what came since the last call, then what time brings."""
        self.start()
        with self._working:
            request = take(self._models)
            if request is not None:
                self._handle(request)
            while True:
                try:
                    event = self._queue.get_nowait()
                except queue.Empty:
                    break
                self._handle(event)
            self._handle(e.UpdateTick(self._ports.may_switch()))

    def obey(self, request: OperatorRequest) -> None:
        """Do what a person asked for, and nothing else that may be due."""
        with self._working:
            self._handle(request)

    def _handle(self, first: e.UpdateEvent) -> None:
        events = deque([first])
        while events:
            event = events.popleft()
            before = self._state.phase
            self._state, actions = step(self._state, event, self._ports.clock.monotonic_s(), self._settings)
            if isinstance(event, e.BlockReceived):
                self.counters["fetched_bytes" if actions else "repeated_bytes"] += len(event.data)
            if self._state.phase != before:
                self._phase_changed(before)
            for action in actions:
                try:
                    result = self._executor.do(action, self._state)
                except OSError as error:
                    logger.warning("The update waits: %s", error)
                    result = e.ActionFailed(f"the update waits: {_trouble(error)}")
                if result is not None:
                    events.append(result)
                if isinstance(result, e.ActionFailed):
                    break

    def _phase_changed(self, before: UpdatePhase) -> None:
        state, now_s = self._state, self._ports.clock.monotonic_s()
        if before == UpdatePhase.IDLE:
            self._began_s, self._counted_before = now_s, self.counters.copy()
        if state.phase == UpdatePhase.PROBATION:
            gained = self.counters - self._counted_before
            report = UpdateReport(
                state.previous.version or "",
                state.current.version or "",
                gained["fetched_bytes"],
                gained["copied_bytes"],
                now_s - self._began_s,
            )
            self.reports = (*self.reports, report)
        logger.info("Model update: %s", self.state_text())

    def close(self) -> None:
        """Give the folder free. What is under way goes on at the next start."""
        with self._working:
            self._executor.close()
            self._lock_file.close()

    # --- what is said about it ---

    def state_text(self) -> str:
        """For the status, e.g. idle, downloading V 43 %, verifying V, ready V, probation V 3/20, refused: V: why."""
        return self._text()[:500]  # the status is one small retained message

    def _text(self) -> str:
        state = self._state
        version = state.target.version if state.target is not None else ""
        trouble = f" ({state.problem})" if state.problem is not None else ""
        match state.phase:
            case UpdatePhase.METADATA:
                return f"checking the offer of {version}{trouble}"
            case UpdatePhase.MANIFEST:
                return f"downloading {version} 0 %{trouble}"
            case UpdatePhase.FILES:
                percent = 100 - 100 * state.missing_bytes // max(state.size_bytes, 1)
                return f"downloading {version} {percent} %{trouble}"
            case UpdatePhase.PROBATION:
                return f"probation {version} {state.looks}/{self._settings.probation_looks}"
            case UpdatePhase.IDLE:
                return state.problem or "idle"
            case phase:
                return f"{phase.replace('_', ' ')} {version}{trouble}"

    @property
    def current_version(self) -> str | None:
        """Of the model in the current slot; `slots.DAMAGED` where its manifest cannot be read."""
        return self._state.current.version

    @property
    def current_barred(self) -> str | None:
        """Why the model in the current slot may not guide, None: it may."""
        return self._state.current.barred

    @property
    def phase(self) -> UpdatePhase:
        return self._state.phase


def _trouble(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; make room on it"
    return error.strerror or str(error)
