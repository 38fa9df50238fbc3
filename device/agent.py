"""The agent: everything on the device put together for one walk.

    source ─→ capture loop ─→ guidance ─→ voice          look, decide, say (threads: guidance, voice)
                   │      └─→ moments ─→ keeper ─→ outbox ─→ link     what was flagged (threads: keeper, link)
    buttons ───────┘
    models ←─ link                                       offers and blocks (thread: updates)
    upkeep                                               status, news, watchdog (thread: upkeep)

Promises: nothing but the end of the source, or being told, ends a walk. A broker that is away, a disk that is full, a
voice that cannot be heard or a model that fails are announced, and the rest goes on. At the end, however it comes, the
last flagged chunks are sealed and the status says offline.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from os import getpid
from pathlib import Path
from typing import Any

from rich.console import Console

from device import build
from device import config as settings
from device.boot import agent_version, kernel_boot
from device.capture.recorder import Recorder
from device.capture.source import Source, SourceInfo, VideoFrame
from device.capture.walk_clock import WalkTime
from device.config import Config
from device.controls.buttons import KEYS_HELP, Keys
from device.controls.dispatch import Presses
from device.guidance.history import Spoken
from device.guidance.loop import ABOUT_MODEL, NO_CAMERA, NO_MODEL, READY, UPDATED, Guidance
from device.health import announcements, status
from device.health.machine_kind import this_machine
from device.health.monitor import Facts, Upkeep
from device.health.status import DeviceStatus
from device.health.walk_report import Captions, Report, update_entry
from device.identity.admission import Admission
from device.identity.renew import Renewal
from device.moments.collector import Hooks, Moments, WalkId
from device.moments.sealer import STORAGE_LOST, STORAGE_TEXTS, Keeper, Parcel
from device.outbox.outbox import Outbox
from device.sync.conditions import Decision, Watch
from device.sync.link import Link
from device.updates.model_source import (
    MODEL_TEXTS,
    FixedModel,
    Loader,
    ModelPorts,
    Models,
    OfferedModels,
    SelfTest,
    loader,
)
from device.updates.permission import Permission, settings_allow
from device.voice.espeak import Espeak
from device.voice.phrases import Phrases
from device.voice.voice import Voice, VoiceUtterance
from shared import atomic, policy
from shared.clock import Clock
from shared.errors import MediaError
from shared.messages import ChunkRecord, Status
from shared.notify import READY as SYSTEMD_READY
from shared.notify import STOPPING, notify
from shared.runtime import check_golden

log = logging.getLogger(__name__)

READ_S = 0.1
SETTLE_S = 10.0  # for the last look and its words at the end of a walk
LINGER_POLL_S = 0.1
SYNC_ONLY_S = 5.0  # without a walk: long enough to connect and to hear of an offered model
OUT_OF_TURN = 0  # the policy numbers its utterances from 1
SAID_BEFOREHAND = (
    *policy.STATE_TEXTS, *announcements.NEWS_TEXTS, *STORAGE_TEXTS, *MODEL_TEXTS, READY, UPDATED, NO_MODEL, NO_CAMERA,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What one run is asked for, beside the settings."""

    report: Path | None = None
    captions: Path | None = None
    exit_at_end: bool = False
    linger_s: float = 30.0
    update_first_s: float = 0.0


class Agent:
    """Build it, `run` it, and `stop` it from a signal handler or another thread."""

    def __init__(
        self,
        config: Config,
        options: RunOptions,
        *,
        clock: Clock,
        console: Console | None = None,
        load: Loader | None = None,
        selftest: SelfTest | None = None,
    ) -> None:
        """load, selftest: how bundles are loaded and proved before use; by default with the guidance runtime.

        raises: ConfigError for settings that cannot be met, OSError for files that cannot be written
        """
        self._config = config
        self._options = options
        self._clock = clock
        self._stop = threading.Event()
        self._info: SourceInfo | None = None
        self._kind = this_machine()
        self._walking = False
        self._frames_seen = 0
        self._source: Source | None = build.source(config, clock)
        self.state_dir = settings.state_folder(config)
        atomic.make_dirs(self.state_dir)
        self._time = WalkTime(clock, stands_still=config.capture.pace == "fast")
        self._admission = Admission.of(config, self.state_dir, clock)
        self._name = self._admission.device
        self._renewal: Renewal | None = None
        told = config.device
        self._walk = WalkId.begin(self._name, clock, wearer=told.wearer, consent=told.consent, context=told.context)
        self._report = Report(self._walk.walk_id, self._name, config.capture.source)
        self._captions = Captions(file=options.captions, console=console)
        self._buttons = build.buttons(config, self._time.now_s)
        self._voice = self._made_voice()
        self._guidance = self._made_guidance()
        self._recorder = Recorder(clips=config.capture.clips)
        self._outbox = Outbox(self.state_dir / "outbox")
        self._keeper = Keeper(
            self._outbox, tell=self._tell_storage, sealed=self._sealed, limit_bytes=config.flags.storage_mb * 1_000_000
        )
        self._moments = Moments(
            self._recorder,
            self._walk,
            self._guidance.history,
            Hooks(self._keeper.keep, self._voice.earcon, self._listening, self._guidance.tell),
            settings=build.flag_settings(config),
            longest_correction_s=config.flags.longest_correction_s,
        )
        self._presses = Presses(
            self._buttons, self._guidance, self._moments, self._voice, walking=lambda: self._walking, stop=self.stop
        )
        try:
            self._models = self._made_models(load, selftest)
            self._link = self._made_link()
            self._watch = Watch(build.sync_rules(config), self._may_send)
        except BaseException:
            self._outbox.close()
            raise
        self._upkeep = self._made_upkeep()

    # --- the run ---

    def run(self) -> None:
        """The walk from beginning to end. Raises: MediaError, ConfigError, BundleError where it cannot begin."""
        try:
            self._begin()
            if self._source is not None:
                self._walk_through(self._source)
            else:
                self._time.reached(0.0)  # state changes take their time without a walk, too
            self._end_walk()
            self._linger()
        finally:
            self._shut_down()

    def stop(self) -> None:
        """End the walk now, keeping what was flagged. Any thread; returns at once."""
        self._stop.set()

    def _begin(self) -> None:
        self._captions.open()
        for buttons in self._buttons:
            buttons.open()
        self._voice.start(extra_phrases=SAID_BEFOREHAND)
        self._guidance.start()
        self._keeper.start()
        if self._link is not None:
            self._watch.start()
            self._link.start()
        self._models.start()
        self._upkeep.start()
        notify(SYSTEMD_READY)
        if self._options.update_first_s > 0:
            self._models.wait_for_offer(
                self._options.update_first_s, online=lambda: bool(self._online()), stop=self._stop
            )
        if not self._guidance.model_version:
            self._guidance.tell(NO_MODEL, about=ABOUT_MODEL)
        if self._outbox.recovered.lost or self._outbox.recovered.damaged:
            self._guidance.tell(announcements.LOST)

    def _walk_through(self, source: Source) -> None:
        self._info = self._opened(source)
        self._greet(self._info)
        self._moments.begin(self._clock)
        self._walking = True
        if self._guidance.model_version:
            self._guidance.post(policy.WalkBegan())
        while not self._stop.is_set() and not source.ended:
            item = source.read(READ_S)
            if item is not None:
                self._time.reached(item.t_s)
            now_s = self._time.now_s()
            self._presses.poll(now_s)
            if isinstance(item, VideoFrame):
                self._frames_seen += 1
                self._report.took(item, self._clock.monotonic_s())
                self._guidance.offer(item)
                self._models.saw(item)
            elif item is not None:
                self._guidance.hear(item)
            if item is None:
                self._moments.tick(now_s)
            else:
                self._moments.feed(item, now_s)

    def _opened(self, source: Source) -> SourceInfo:
        """A wearer does not read error messages: what keeps the walk from beginning is spoken, too."""
        try:
            info = source.open()
            if not info.has_picture:
                raise MediaError(f"{info.name} has sound only: there is no picture to guide by.")
        except MediaError:
            self._guidance.tell(NO_CAMERA, urgent=True)  # cuts what is being said: the process ends soon
            self._guidance.settle(SETTLE_S)
            if self._config.capture.pace == "real":
                self._time.reached(0.0)
                self._voice.finish(SETTLE_S)
            raise
        return info

    def _end_walk(self) -> None:
        self._walking = False
        self._guidance.post(policy.WalkEnded())
        if self._source is not None:
            self._guidance.settle(SETTLE_S)
            self._moments.finish(self._time.now_s())
            self._source.close()
        self._keeper.close()
        if self._config.capture.pace == "real" and not self._stop.is_set():
            self._voice.finish(SETTLE_S)
        self._write_report()

    def _linger(self) -> None:
        """Go on syncing: until stopped, or with --exit-at-end until nothing is left to send or the time is up."""
        began_s = self._clock.monotonic_s()
        while not self._stop.is_set():
            self._presses.poll(self._time.now_s())
            waited_s = self._clock.monotonic_s() - began_s
            done = self._link is None or (self._outbox.counts().queued == 0 and self._models.is_settled)
            enough = done and (self._source is not None or waited_s >= SYNC_ONLY_S)
            if self._options.exit_at_end and (enough or waited_s >= self._options.linger_s):
                return
            self._stop.wait(LINGER_POLL_S)

    def _shut_down(self) -> None:
        """In the order in which things need each other. Each is safe where the start got no further, and none keeps
        the next from its turn by failing."""
        notify(STOPPING)
        self._walking = False
        steps: list[Callable[[], object]] = [
            self._guidance.stop,
            self._keeper.close,
            self._models.close,
            self._upkeep.close,
            self._voice.close,
            *(buttons.close for buttons in self._buttons),
            self._write_report,
            self._outbox.close,
            self._captions.close,
            self._forget_status,
        ]
        if self._source is not None:
            steps.insert(0, self._source.close)
        steps.insert(0, self._watch.close)
        if self._link is not None:
            steps.insert(-4, self._link.stop)  # before the report, which tells what was sent, and the outbox it reads
        with ExitStack() as stack:
            for step in reversed(steps):
                stack.callback(step)

    def _forget_status(self) -> None:
        (self.state_dir / status.NAME).unlink(missing_ok=True)

    def _listening(self, on: bool) -> None:
        self._guidance.post(policy.CorrectionListening(on))

    # --- told by guidance, keeper and voice, on their threads ---

    def said(self, spoken: Spoken) -> None:
        chunk = self._walk.chunk_id(self._recorder.sequence_at(spoken.seen_s))
        self._captions.show(spoken, chunk)
        self._report.said(spoken, chunk)

    def flagged(self, reason: str, t_s: float) -> None:
        self._moments.note(t_s, reason)

    def looked(self, version: str) -> None:
        self._models.looked(version)

    def failed(self, version: str, reason: str) -> None:
        self._models.failed(version, reason)

    def _sealed(self, parcel: Parcel) -> None:
        correction = not isinstance(parcel.record, ChunkRecord)
        self._report.sealed(parcel.name, correction=correction)
        if correction:
            self._voice.earcon("listened")

    def _tell_storage(self, text: str) -> None:
        """That moments were dropped happened, whatever comes after; the rest is how the storage is now."""
        self._guidance.tell(text, about=None if text == STORAGE_LOST else "storage")

    def _announce(self, text: str) -> None:
        """For upkeep, while the guiding thread is stuck in a picture."""
        now_s = self._time.now_s()
        self._voice.say(VoiceUtterance(OUT_OF_TURN, text, 2, earcon="state"))
        self.said(Spoken(OUT_OF_TURN, now_s, text, 2, "state", 1.0, seen_s=now_s))

    def _voice_trouble(self, why: str) -> None:
        if why:
            log.error("%s", why)
            self._captions.note(f"No voice: {why} Captions go on.", style="red")
        self._guidance.post(policy.VoiceLost() if why else policy.VoiceFound())

    # --- making the parts ---

    def _made_voice(self) -> Voice:
        return Voice(
            Phrases(Espeak(voice=self._config.voice.language), self.state_dir / "voice"),
            build.sink(self._config, self._time, self._clock),
            pace=build.pace(self._config),
            clock=self._clock,
            walk_now=self._time.now_s,
            on_trouble=self._voice_trouble,
        )

    def _made_guidance(self) -> Guidance:
        return Guidance(
            self._voice,
            self,
            settings=build.guidance_settings(self._config),
            clock=self._clock,
            walk_now=self._time.now_s,
            hurry=self._stop.is_set,
        )

    def _made_upkeep(self) -> Upkeep:
        facts = Facts(
            self._status, self._publish_status, self._online, self._sound_healthy, self._announce, self._progress
        )
        return Upkeep(facts, self._guidance, state_dir=self.state_dir, clock=self._clock)

    def _made_link(self) -> Link | None:
        if not self._admission.address:
            return None
        host, port = self._admission.place
        first = Status(online=True, agent_version=agent_version(), device_kind=self._kind)
        link = Link(
            host=host,
            port=port,
            device=self._name,
            outbox=self._outbox,
            clock=self._clock,
            status=first,
            tls=self._admission.context,
            on_state=lambda state: self._models.link_changed(state == "online"),
        )
        link.on("offer", lambda levels, payload: self._models.on_offer(payload))
        link.on("block", lambda levels, payload: self._models.on_block(levels, payload))
        self._renewal = self._admission.renewal(link, self.state_dir, self._clock)
        return link

    def _made_models(self, load: Loader | None, selftest: SelfTest | None) -> Models:
        guiding = self._config.guidance
        if guiding.model:
            mine = Permission(settings_allow(self._config))
            load = load or loader(execution=guiding.execution, permission=mine)
            return FixedModel(Path(guiding.model).expanduser(), self._guidance, load)
        permission = Permission.of(self._config, self._admission.trust(self.state_dir), self._name)
        load = load or loader(execution=guiding.execution, permission=permission)
        ports = ModelPorts(
            clock=self._clock,
            load=load,
            selftest=selftest or (lambda folder: check_golden(folder, execution=guiding.execution)),
            publish=self._publish,
            may_switch=lambda: guiding.switch_while_walking or not self._walking,
        )
        return OfferedModels(self.state_dir, self._guidance, ports, permission)

    def _publish(self, topic: str, payload: bytes) -> bool:
        """For the models: they are larger than any clip, so what holds clips back holds them back."""
        all_may = self._watch.decision.allowed == "all"
        return self._link is not None and all_may and self._link.publish(topic, payload) is not False

    def _may_send(self, decision: Decision) -> None:
        if self._link is not None:
            self._link.allow(decision.allowed)

    def _waits(self) -> tuple[str, ...]:
        server = "" if self._link is None else self._link.server_waits
        return tuple(text for text in (self._watch.decision.text, server) if text)

    # --- facts ---

    def _online(self) -> bool | None:
        without = False if self._admission.trouble else None
        return without if self._link is None else self._link.online

    def _sound_healthy(self) -> bool:
        if self._source is None or not self._walking:
            return True
        return all(part.healthy for part in self._source.health if part.kind == "sound")

    def _progress(self) -> object:
        """A new look; without a model, a new chunk; after the walk, time itself."""
        if not self._walking:
            return self._clock.monotonic_s()
        return self._guidance.progress_s if self._guidance.model_version else self._moments.chunks

    def _status(self) -> DeviceStatus:
        counts = self._outbox.counts()
        history = self._guidance.history
        troubles = (self._voice.trouble, self._keeper.trouble, self._admission.trouble, *self._source_troubles())
        return DeviceStatus(
            device=self._walk.device,
            kernel_boot=kernel_boot(),
            updated_s=self._clock.monotonic_s(),
            pid=getpid(),
            agent_version=agent_version(),
            uptime_s=self._clock.monotonic_s() - self._walk.began_s,
            source=self._config.capture.source,
            walking=self._walking,
            walk_s=self._time.now_s(),
            guidance=self._guidance_text(),
            model_version=self._guidance.model_version,
            model_state=self._models.state_text,
            last_said=history.last_guidance,
            looks=history.looks,
            chunks=self._moments.chunks,
            flagged=len(self._report.flagged) + len(self._report.corrections),
            not_kept=self._keeper.lost,
            online=bool(self._online()),
            broker=self._admission.address,
            queued=counts.queued,
            queued_bytes=counts.queued_bytes,
            failed=counts.failed,
            waits=self._waits(),
            troubles=tuple(trouble for trouble in troubles if trouble),
            offline="" if self._link is None else self._link.why_offline,
            device_kind=self._kind,
            look_p95_ms=self._guidance.look_p95_ms,
        )

    def _source_troubles(self) -> list[str]:
        build = self._source.health if self._source is not None and self._walking else ()
        return [f"{part.name}: {part.trouble}" for part in build if not part.healthy]

    def _guidance_text(self) -> str:
        if not self._guidance.model_version:
            return "no model"
        if not self._walking:
            return "ended"
        return "paused" if self._guidance.paused else "guiding"

    def _publish_status(self, found: DeviceStatus) -> None:
        if self._renewal is not None:
            self._renewal.tick()
        if self._link is not None:
            self._link.set_status(status.retained(found))

    def _greet(self, info: SourceInfo) -> None:
        model = self._guidance.model_version or "none: recording only"
        broker = self._admission.address or "none: flagged moments stay here"
        self._captions.note(f"Walk {self._walk.walk_id} from {info.name}. Model: {model}. Broker: {broker}.")
        if any(isinstance(buttons, Keys) and buttons.active for buttons in self._buttons):
            self._captions.note(KEYS_HELP, style="dim")

    def _write_report(self) -> None:
        if self._options.report is None:
            return
        try:
            self._report.write(self._options.report, self._guidance.history.heard, **self._figures())
        except OSError as error:
            log.error("The report %s cannot be written: %s", self._options.report, error)

    def _figures(self) -> dict[str, Any]:
        counts = self._outbox.counts()
        return {
            "source_name": "" if self._info is None else self._info.name,
            "model_version": self._guidance.model_version,
            "model_state": self._models.state_text,
            "duration_s": round(self._time.reached_s, 3),
            "chunks": self._moments.chunks,
            "looks": self._guidance.history.looks,
            "stopped": [asdict(stopped) for stopped in self._guidance.history.stopped],
            "frames_seen": self._frames_seen,
            "frames_dropped": 0 if self._source is None else self._source.frames_dropped,
            "not_kept": self._keeper.lost + self._keeper.held,
            "sync": {
                "queued": counts.queued,
                "merged": counts.merged,
                "failed": counts.failed,
                "sent_bytes": 0 if self._link is None else self._link.sent_bytes,
                "resent_bytes": 0 if self._link is None else self._link.resent_bytes,
            },
            "updates": [update_entry(update) for update in self._models.updates],
        }
