"""One walk from its beginning to its end.

Promises:

- At the end, however it comes, the last flagged chunks are sealed and the status says offline. Parts are closed in the
  order in which they need each other, and none keeps the next from its turn by failing.
- The voice is started first. Camera, buttons, model, link and disk may all be away at the start of a real walk: each is
  announced once and tried again for ever. Only settings that cannot be met end it, and files of a replay.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack

from device.agent import setting_up, watching
from device.agent.own_words import OWN_WORDS_TEXTS
from device.agent.parts import AgentPorts, Parts, RunOptions
from device.agent.shedding import Shedding
from device.agent.state import AgentState
from device.capture.source import SoundBlock, Source, SourceInfo, VideoFrame
from device.config import Config
from device.controls.buttons import KEYS_HELP, Keys
from device.controls.places import PLACE_TEXTS
from device.controls.retried import BUTTON_TEXTS
from device.guidance.loop import ABOUT_MODEL, NO_CAMERA, NO_MODEL, READY, SEVERAL_CAMERAS, TRIAL_WORDS, UPDATED
from device.guidance.shedding import SHED_TEXTS
from device.health import announcements, status
from device.health.how_are_you import HOW_TEXTS
from device.health.monitor import HealthMonitor, MonitorPorts
from device.health.power.news import POWER_TEXTS
from device.moments.calling import HELP_TEXTS
from device.moments.collector import MOMENT_TEXTS
from device.moments.pausing import PAUSE_TEXTS
from device.moments.sealer import STORAGE_TEXTS
from device.profiles import PROFILE_TEXTS
from device.setup.texts import SETUP_TEXTS
from device.tactile.channel import TACTILE_TEXTS
from device.updates.model_source import MODEL_TEXTS
from device.voice.speakers import OUTPUT_TEXTS
from shared import policy
from shared.errors import MediaError
from shared.notify import STOPPING, notify

logger = logging.getLogger(__name__)

READ_S = 0.1
READY_LATEST_S = 10.0  # a camera that gives no picture is announced after 2 s: then the watchdog takes over
SETTLE_S = 10.0  # for the last look and its words at the end of a walk
LINGER_POLL_S = 0.1
SYNC_ONLY_S = 5.0  # without a walk: long enough to connect and to hear of an offered model
SAID_BEFOREHAND = (
    *policy.STATE_TEXTS, *announcements.NEWS_TEXTS, *STORAGE_TEXTS, *MODEL_TEXTS, READY, UPDATED, NO_MODEL, NO_CAMERA,
    SEVERAL_CAMERAS, TRIAL_WORDS, *BUTTON_TEXTS, *POWER_TEXTS, *OUTPUT_TEXTS, *policy.AHEAD_TEXTS, *policy.HEARD_TEXTS,
    *HOW_TEXTS, *MOMENT_TEXTS, *PAUSE_TEXTS, *SETUP_TEXTS, *SHED_TEXTS, *TACTILE_TEXTS, *PLACE_TEXTS, *PROFILE_TEXTS,
    *OWN_WORDS_TEXTS, *HELP_TEXTS,
)  # fmt: skip


class Agent:
    """Build it, `run` it, and `stop` it from a signal handler or another thread.

    raises: ConfigError for settings that cannot be met
    """

    def __init__(self, config: Config, options: RunOptions, ports: AgentPorts) -> None:
        self._options = options
        self._stop = threading.Event()
        self._without_camera = self._several_cameras = self._started = False
        self._walking_since_s = 0.0
        self.parts = parts = Parts(config, options, ports, self._stop)
        self._state = state = AgentState(parts)
        monitor_ports = MonitorPorts(
            state.status,
            state.publish,
            state.online,
            state.sound_healthy,
            parts.announce_at_once,
            self._is_watched,
            parts.news,
            lambda: parts.outbox.counts().failed_erasures,
        )
        self._monitor = HealthMonitor(monitor_ports, parts.guidance, state_dir=parts.state_dir, clock=ports.clock)
        self._shedding = Shedding(parts)
        self._feed, self._keeper = watching.made(parts, state.progress, self._is_ready)
        self.restarts = False
        """It ended because the set-up gave it another identity: an agent with that is to follow."""
        parts.setup = setting_up.made(parts, self._restart, open_now=options.setup)

    def run(self) -> None:
        """The walk from beginning to end. Raises: ConfigError; for a replay MediaError and BundleError, too."""
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
                if not self.restarts:
                    notify(STOPPING)
                self.parts.walking = False

    def stop(self) -> None:
        """End the walk now; what was flagged is sealed. Any thread; returns at once."""
        self._feed.end()
        self._stop.set()

    def _restart(self) -> None:
        self.restarts = True
        self._feed.restart()
        self._stop.set()

    def _is_watched(self) -> bool:
        return self._keeper is not None and self._keeper.watches

    def _is_ready(self) -> bool:
        """What systemd is told: it guides, or it has said why it does not and goes on trying (ADR 0059)."""
        parts, guidance = self.parts, self.parts.guidance
        if parts.source is None or not parts.walking:
            return self._started and parts.source is None
        told = self._without_camera or not guidance.model_version
        late = parts.clock.monotonic_s() - self._walking_since_s >= READY_LATEST_S
        return told or late or guidance.live_s >= self._walking_since_s

    def _start(self, stack: ExitStack) -> None:
        """Start the parts. The stack closes them, the last registered first; closing a part that was not started does
        nothing, so that some are registered before what must be closed before them is started."""
        parts = self.parts
        stack.callback(self._feed.close)  # the last to end: until then the sentinel knows that the process is there
        self._feed.start()
        if self._keeper is not None:
            stack.callback(self._keeper.close)
            self._keeper.start()
        stack.callback(self._remove_status)
        stack.callback(parts.captions.close)
        stack.callback(parts.outbox.close)
        stack.callback(self._write_report)
        stack.callback(self._state.keep_told)
        if parts.link is not None:
            stack.callback(parts.link.stop)  # before the report, which says what was sent, and the outbox it reads
        self._open_captions()
        stack.callback(parts.voice.close)
        parts.voice.start(extra_phrases=SAID_BEFOREHAND)
        if parts.tactile is not None:
            stack.callback(parts.tactile.close)
            parts.tactile.start()
        stack.callback(self._monitor.close)
        stack.callback(parts.models.close)
        stack.callback(parts.own_words.close)
        parts.own_words.start()
        stack.callback(parts.sealer.close)
        stack.callback(parts.guidance.stop)
        parts.guidance.start()
        stack.callback(parts.recording.close)
        parts.recording.start()
        for buttons in parts.buttons:
            stack.callback(buttons.close)
            buttons.open()
        if parts.outbox.trouble is not None:
            parts.sealer.fail(parts.outbox.trouble)
        parts.sealer.start()
        if parts.source is not None:
            stack.callback(parts.source.close)
        stack.callback(parts.sync_watch.close)
        stack.callback(parts.power.close)
        stack.callback(self._shedding.close)
        if parts.config.capture.pace == "real":  # a replay as fast as possible is the same on any machine
            parts.power.start()
            self._shedding.start()
        if parts.link is not None:
            parts.sync_watch.start()
            parts.link.start()
        parts.models.start()
        if parts.setup is not None:
            parts.presses.first = parts.setup.pressed
            stack.callback(parts.setup.close)
            parts.setup.start()
        self._monitor.start()
        self._started = True

    def _open_captions(self) -> None:
        try:
            self.parts.captions.open()
        except OSError as error:
            logger.error("The captions cannot be written: %s", error)

    def _remove_status(self) -> None:
        try:
            (self.parts.state_dir / status.NAME).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("The status of this run stays behind: %s", error)

    def _prepare(self) -> None:
        parts = self.parts
        if self._options.update_first_s > 0:
            parts.models.wait_for_offer(
                self._options.update_first_s, online=lambda: bool(self._state.online()), stop=self._stop
            )
        if not parts.guidance.model_version and not (parts.setup is not None and parts.setup.begins):
            parts.guidance.tell(NO_MODEL, about=ABOUT_MODEL)
        if parts.config.guidance.trial_classes:
            parts.guidance.tell(TRIAL_WORDS)
        if parts.outbox.recovered.lost or parts.outbox.recovered.damaged:
            parts.guidance.tell(announcements.LOST)

    def _walk_through(self, source: Source) -> None:
        parts = self.parts
        self._greet(self._opened(source))
        parts.moments.begin(parts.clock)
        self._walking_since_s = parts.clock.monotonic_s()
        parts.walking = True
        if parts.guidance.model_version and not self._without_camera:
            parts.guidance.post(policy.WalkBegan())
        while not self._stop.is_set() and not source.ended:
            item = source.read(READ_S)
            parts.rounds += 1
            self._came(item)
            if not isinstance(item, VideoFrame):
                self._watch_cameras(source)

    def _came(self, item: VideoFrame | SoundBlock | None) -> None:
        """What a source gave, None = nothing within READ_S."""
        parts = self.parts
        newest = item.newest or item if isinstance(item, VideoFrame) else item
        if newest is not None:
            parts.walk_clock.reached(newest.t_s)
        now_s = parts.walk_clock.now_s()
        parts.presses.poll(now_s)
        if item is None:
            parts.moments.tick(now_s)
            return
        if isinstance(item, VideoFrame):
            self._saw(item)
        else:
            parts.guidance.hear(item)
        parts.moments.feed(item, now_s)

    def _saw(self, frame: VideoFrame) -> None:
        """A picture of the walk. After a pause guidance has the newest one, however many still wait to be recorded."""
        parts, newest = self.parts, frame.newest or frame
        self._camera_came()
        parts.camera.saw(newest)
        parts.report.took(frame, parts.clock.monotonic_s())
        parts.guidance.offer(newest)
        parts.models.saw(frame)
        if parts.setup is not None:
            parts.setup.offer(newest)

    def _watch_cameras(self, source: Source) -> None:
        """A camera that is away may be tried again when there are several: somebody has to say which one it is."""
        several = any(part.several for part in source.health)
        if several and not self._several_cameras:
            self.parts.guidance.tell(SEVERAL_CAMERAS, urgent=True, about=policy.CAMERA)
        self._several_cameras = several

    def _camera_came(self) -> None:
        if self._without_camera:
            self._without_camera = False
            self.parts.guidance.tell(policy.CAMERA_BACK, about=policy.CAMERA)

    def _opened(self, source: Source) -> SourceInfo | None:
        """A wearer does not read error messages: what keeps the walk from beginning is spoken, too.

        None: a camera that is not there yet; its source goes on trying. Raises: MediaError for a replay.
        """
        parts = self.parts
        try:
            info = source.open()
            if not info.has_picture:
                raise MediaError(f"{info.name} has sound only: there is no picture to guide by.")
        except MediaError as error:
            if not parts.is_replay:
                logger.error("%s It is tried again and again.", error)
                self._without_camera = True
                parts.walk_clock.reached(0.0)  # what waits has its turn without a picture, too
                if not any(part.several for part in source.health):  # which is said as soon as the walk begins
                    parts.guidance.tell(NO_CAMERA, urgent=True, about=policy.CAMERA)
                return None
            parts.guidance.tell(NO_CAMERA, urgent=True)  # cuts what is being said: the process ends soon
            parts.guidance.settle(SETTLE_S)
            if parts.config.capture.pace == "real":
                parts.walk_clock.reached(0.0)
                parts.voice.finish(SETTLE_S)
            raise
        parts.report.source_name = info.name
        return info

    def _greet(self, info: SourceInfo | None) -> None:
        parts = self.parts
        model = parts.guidance.model_version or "none: recording only"
        broker = parts.admission.address or "none: flagged moments stay here"
        source = f"{parts.config.capture.source}, not there yet" if info is None else info.name
        parts.captions.note(f"Walk {parts.walk.walk_id} from {source}. Model: {model}. Broker: {broker}.")
        if any(isinstance(buttons, Keys) and buttons.active for buttons in parts.buttons):
            parts.captions.note(KEYS_HELP, style="dim")

    def _end_walk(self) -> None:
        parts = self.parts
        parts.walking = False
        if not self.restarts:
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
