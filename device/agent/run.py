"""One walk from its beginning to its end.

Promise: at the end, however it comes, the last flagged chunks are sealed and the status says offline. Parts are closed
in the order in which they need each other, and none keeps the next from its turn by failing.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack

from device.agent import watching
from device.agent.parts import AgentPorts, Parts, RunOptions
from device.agent.state import AgentState
from device.capture.source import Source, SourceInfo, VideoFrame
from device.config import Config
from device.controls.buttons import KEYS_HELP, Keys
from device.guidance.loop import ABOUT_MODEL, NO_CAMERA, NO_MODEL, READY, UPDATED
from device.health import announcements, status
from device.health.monitor import HealthMonitor, MonitorPorts
from device.moments.sealer import STORAGE_TEXTS
from device.updates.model_source import MODEL_TEXTS
from shared import policy
from shared.errors import MediaError
from shared.notify import READY as SYSTEMD_READY
from shared.notify import STOPPING, notify

logger = logging.getLogger(__name__)

READ_S = 0.1
SETTLE_S = 10.0  # for the last look and its words at the end of a walk
LINGER_POLL_S = 0.1
SYNC_ONLY_S = 5.0  # without a walk: long enough to connect and to hear of an offered model
SAID_BEFOREHAND = (
    *policy.STATE_TEXTS, *announcements.NEWS_TEXTS, *STORAGE_TEXTS, *MODEL_TEXTS, READY, UPDATED, NO_MODEL, NO_CAMERA,
)  # fmt: skip


class Agent:
    """Build it, `run` it, and `stop` it from a signal handler or another thread.

    raises: ConfigError for settings that cannot be met, OSError for files that cannot be written
    """

    def __init__(self, config: Config, options: RunOptions, ports: AgentPorts) -> None:
        self._options = options
        self._stop = threading.Event()
        self.parts = parts = Parts(config, options, ports, self._stop)
        self._state = state = AgentState(parts)
        monitor_ports = MonitorPorts(
            state.status, state.publish, state.online, state.sound_healthy, parts.announce_at_once, self._is_watched
        )
        self._monitor = HealthMonitor(monitor_ports, parts.guidance, state_dir=parts.state_dir, clock=ports.clock)
        self._feed, self._keeper = watching.made(parts, state.progress)

    def run(self) -> None:
        """The walk from beginning to end. Raises: MediaError, ConfigError, BundleError where it cannot begin."""
        with ExitStack() as stack:
            try:
                self._start(stack)
                self._prepare()
                if self.parts.source is not None:
                    self._walk_through(self.parts.source)
                else:
                    self.parts.walk_clock.reached(0.0)  # state changes take their time without a walk, too
                self._end_walk()
                self._linger()
            finally:
                notify(STOPPING)
                self.parts.walking = False

    def stop(self) -> None:
        """End the walk now; what was flagged is sealed. Any thread; returns at once."""
        self._feed.end()
        self._stop.set()

    def _is_watched(self) -> bool:
        return self._keeper is not None and self._keeper.watches

    def _start(self, stack: ExitStack) -> None:
        """Start the parts. The stack closes them, the last registered first; closing a part that was not started does
        nothing, so that some are registered before what must be closed before them is started."""
        parts = self.parts
        stack.callback(self._feed.close)  # the last to end: until then the sentinel knows that the process is there
        self._feed.start()
        if self._keeper is not None:
            stack.callback(self._keeper.close)
            self._keeper.start()
        stack.callback((parts.state_dir / status.NAME).unlink, missing_ok=True)
        stack.callback(parts.captions.close)
        stack.callback(parts.outbox.close)
        stack.callback(self._write_report)
        stack.callback(self._state.keep_told)
        if parts.link is not None:
            stack.callback(parts.link.stop)  # before the report, which says what was sent, and the outbox it reads
        parts.captions.open()
        for buttons in parts.buttons:
            stack.callback(buttons.close)
            buttons.open()
        stack.callback(parts.voice.close)
        parts.voice.start(extra_phrases=SAID_BEFOREHAND)
        stack.callback(self._monitor.close)
        stack.callback(parts.models.close)
        stack.callback(parts.sealer.close)
        stack.callback(parts.guidance.stop)
        parts.guidance.start()
        parts.sealer.start()
        if parts.source is not None:
            stack.callback(parts.source.close)
        stack.callback(parts.sync_watch.close)
        if parts.link is not None:
            parts.sync_watch.start()
            parts.link.start()
        parts.models.start()
        self._monitor.start()
        notify(SYSTEMD_READY)
        self._feed.ready()

    def _prepare(self) -> None:
        parts = self.parts
        if self._options.update_first_s > 0:
            parts.models.wait_for_offer(
                self._options.update_first_s, online=lambda: bool(self._state.online()), stop=self._stop
            )
        if not parts.guidance.model_version:
            parts.guidance.tell(NO_MODEL, about=ABOUT_MODEL)
        if parts.outbox.recovered.lost or parts.outbox.recovered.damaged:
            parts.guidance.tell(announcements.LOST)

    def _walk_through(self, source: Source) -> None:
        parts = self.parts
        self._greet(self._opened(source))
        parts.moments.begin(parts.clock)
        parts.walking = True
        if parts.guidance.model_version:
            parts.guidance.post(policy.WalkBegan())
        while not self._stop.is_set() and not source.ended:
            item = source.read(READ_S)
            if item is not None:
                parts.walk_clock.reached(item.t_s)
            now_s = parts.walk_clock.now_s()
            parts.presses.poll(now_s)
            if isinstance(item, VideoFrame):
                parts.report.took(item, parts.clock.monotonic_s())
                parts.guidance.offer(item)
                parts.models.saw(item)
            elif item is not None:
                parts.guidance.hear(item)
            if item is None:
                parts.moments.tick(now_s)
            else:
                parts.moments.feed(item, now_s)

    def _opened(self, source: Source) -> SourceInfo:
        """A wearer does not read error messages: what keeps the walk from beginning is spoken, too."""
        parts = self.parts
        try:
            info = source.open()
            if not info.has_picture:
                raise MediaError(f"{info.name} has sound only: there is no picture to guide by.")
        except MediaError:
            parts.guidance.tell(NO_CAMERA, urgent=True)  # cuts what is being said: the process ends soon
            parts.guidance.settle(SETTLE_S)
            if parts.config.capture.pace == "real":
                parts.walk_clock.reached(0.0)
                parts.voice.finish(SETTLE_S)
            raise
        parts.report.source_name = info.name
        return info

    def _greet(self, info: SourceInfo) -> None:
        parts = self.parts
        model = parts.guidance.model_version or "none: recording only"
        broker = parts.admission.address or "none: flagged moments stay here"
        parts.captions.note(f"Walk {parts.walk.walk_id} from {info.name}. Model: {model}. Broker: {broker}.")
        if any(isinstance(buttons, Keys) and buttons.active for buttons in parts.buttons):
            parts.captions.note(KEYS_HELP, style="dim")

    def _end_walk(self) -> None:
        parts = self.parts
        parts.walking = False
        self._feed.end()
        parts.guidance.post(policy.WalkEnded())
        if parts.source is not None:
            parts.guidance.settle(SETTLE_S)
            parts.moments.finish(parts.walk_clock.now_s())
            parts.source.close()
        parts.sealer.close()
        if parts.config.capture.pace == "real" and not self._stop.is_set():
            parts.voice.finish(SETTLE_S)
        self._write_report()

    def _linger(self) -> None:
        """Go on syncing: until stopped, or with --exit-at-end until nothing is left to send or the time is up."""
        parts = self.parts
        began_s = parts.clock.monotonic_s()
        while not self._stop.is_set():
            parts.presses.poll(parts.walk_clock.now_s())
            waited_s = parts.clock.monotonic_s() - began_s
            done = parts.link is None or (parts.outbox.counts().queued == 0 and parts.models.is_settled)
            enough = done and (parts.source is not None or waited_s >= SYNC_ONLY_S)
            if self._options.exit_at_end and (enough or waited_s >= self._options.linger_s):
                return
            self._stop.wait(LINGER_POLL_S)

    def _write_report(self) -> None:
        if self._options.report is None:
            return
        try:
            heard = self.parts.guidance.history.heard
            self.parts.report.write(self._options.report, heard, **self._state.figures())
        except OSError as error:
            logger.error("The report %s cannot be written: %s", self._options.report, error)
