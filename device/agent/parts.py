"""The parts of one agent, made from the settings and connected to each other. None is started here.

source ─→ walk loop ─→ guidance ─→ voice          look, decide, say (threads: guidance, voice)
             │    └─→ moments ─→ sealer ─→ outbox ─→ link     what was flagged (threads: sealer, link)
buttons ─────┘
models ←─ link                                    offers and blocks (thread: updates)
monitor                                           status, announcements, watchdog (thread: monitor)
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from rich.console import Console

from device import build
from device import config as settings
from device.agent.own_words import OwnWords, OwnWordsPorts
from device.agent.profile_choice import ProfileChoice
from device.boot import agent_version
from device.capture.recorder import Recorder
from device.capture.source import Source
from device.capture.walk_clock import WalkClock
from device.capture.worn import WornCamera
from device.config import Config
from device.controls.actions import Buttons
from device.controls.dispatch import Presses, PressPorts
from device.controls.retried import ANOTHER, COMES_BACK_S, LIGHT, REMOTE, SWITCH, TEXTS, RetriedButtons
from device.guidance.history import Spoken
from device.guidance.loop import Guidance
from device.health import how_are_you
from device.health.feed import SpokenTimes
from device.health.machine_kind import this_machine
from device.health.power.find import PowerPlaces, PowerSources
from device.health.power.i2c import I2cBus
from device.health.power.news import PowerNews
from device.health.power.watch import PowerWatch
from device.health.ration import RationedNews
from device.health.sight_told import SightTold
from device.health.walk_report import Captions, WalkReport
from device.identity.admission import Admission
from device.identity.identity import Identity
from device.identity.renew import Renewal
from device.moments import calling
from device.moments.blur import Veil
from device.moments.calling import HelpCalls, HelpPorts
from device.moments.collector import Moments, MomentsPorts, WalkId
from device.moments.recording import Recording
from device.moments.sealer import STORAGE_LOST, Parcel, Sealer
from device.outbox.late import LateOutbox
from device.profiles import ABOUT_PROFILE
from device.setup.runner import Setup
from device.sync.conditions import SyncDecision, SyncWatch
from device.sync.link import Link, LinkPorts, LinkSettings
from device.tactile.channel import LOST as NOT_FELT
from device.tactile.channel import FeltBuzz, Tactile
from device.tactile.patterns import buzz_of
from device.updates.late_models import LateModels
from device.updates.model_source import FixedModel, Loader, ModelPorts, Models, OfferedModels, SelfTest, loader
from device.updates.permission import Permission, settings_allow
from device.updates.slots import current_slot
from device.voice.espeak import Espeak
from device.voice.phrases import Phrases
from device.voice.reserve import SpeechInReserve
from device.voice.speakers import Speakers
from device.voice.voice import VOLUME_LEAST, Voice, VoiceUtterance
from device.voice.volume import KeptVolume
from shared import atomic, erasure, policy, topics
from shared.clock import Clock
from shared.guidance.events import SayNow
from shared.messages import ChunkRecord, CorrectionHeard, CorrectionRecord, EraseRecord, HelpRecord, Status, decode
from shared.runtime import check_golden

logger = logging.getLogger(__name__)

MOST_KEPT = 400  # more chunks and corrections than any stretch of time that is forgotten has
OUT_OF_TURN = 0  # the policy numbers its utterances from 1


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What one run is asked for, beside the settings."""

    report: Path | None = None
    captions: Path | None = None
    exit_at_end: bool = False
    linger_s: float = 30.0
    update_first_s: float = 0.0
    setup: bool = False
    """Look for a QR code from the start on, also where the device is enrolled."""


@dataclass(frozen=True, slots=True)
class AgentPorts:
    """What the agent is given from outside; None = as the settings say."""

    clock: Clock
    console: Console | None = None
    """Where captions go; None = nowhere."""
    load: Loader | None = None
    """How a bundle is loaded."""
    selftest: SelfTest | None = None
    """How a bundle is checked before use."""
    source: Source | None = None


class Parts:
    """All parts. Guidance, voice and sealer report to it, on their threads. stopping: set when the walk is to end.

    Nothing that the disk refuses is raised: without it the agent guides, and keeps what fits in memory.
    raises: ConfigError for settings that cannot be met
    """

    def __init__(self, config: Config, options: RunOptions, ports: AgentPorts, stopping: threading.Event) -> None:
        self.config = config
        self.clock = clock = ports.clock
        self.walking = False
        self._kept: dict[str, ChunkRecord | CorrectionRecord] = {}
        """What was sealed lately, but for what is in it: what is forgotten by its time is among it."""
        self.rounds = 0
        """Of the loop that reads the source."""
        self.waiting = 0
        """Records that wait for the server, as they were last counted: whoever asks must not wait for the disk."""
        self.setup: Setup | None = None
        """Made by the agent; it is told what was said."""
        self.is_replay = settings.is_replay(config)
        self.device_kind = this_machine()
        self.source = ports.source or build.source(config, clock)
        self.state_dir = settings.state_folder(config)
        with contextlib.suppress(OSError):  # each part that needs it says so
            atomic.make_dirs(self.state_dir)
        self.camera = WornCamera(config.capture)
        self.walk_clock = WalkClock(clock, stands_still=config.capture.pace == "fast")
        self.admission = Admission.of(config, self.state_dir, clock)
        self.walk = self._begun_walk()
        self.language, voice = settings.spoken_language(config)
        self.report = WalkReport(self.walk.walk_id, self.walk.device, config.capture.source, self.language.spoken)
        self.captions = Captions(file=options.captions, console=ports.console, words=self.language.spoken)
        self.buttons = self._made_buttons()
        self.tactile: Tactile | None = None
        self.voice = self._made_voice(voice)
        self.sight_told = SightTold(self.state_dir)
        self.profile = ProfileChoice(config, self.state_dir)
        listens = config.capture.pace == "real"  # nobody hears a replay that is as fast as possible
        self.guidance = Guidance(
            self.voice,
            self,
            settings=build.guidance_settings(config, self.profile.name),
            clock=clock,
            walk_now=self.walk_clock.now_s,
            hurry=stopping.is_set,
            introduction=self.sight_told.introduction if listens else lambda card: (),
            feel=self._feel,
        )
        guidance = self.guidance
        self.news = RationedNews(lambda text, about: guidance.tell(text, about=about), clock)
        self.tactile = self._made_tactile() if listens else None
        self.recorder = self._made_recorder()
        self.outbox = LateOutbox(self.state_dir / "outbox", key=self._sealing_key(self.admission.identity))
        try:
            self._connect(ports, stopping)
        except BaseException:
            self.outbox.close()
            raise

    def _connect(self, ports: AgentPorts, stopping: threading.Event) -> None:
        limit_bytes = self.config.flags.storage_mb * 1_000_000
        self.sealer = Sealer(
            self.outbox,
            announce=self._announce_storage,
            answer=self.guidance.tell,
            sealed=self._sealed,
            limit_bytes=limit_bytes,
            check=self.outbox.check,
        )
        self.own_words = self._made_own_words()
        hooks = MomentsPorts(
            self.own_words.keep, self.voice.earcon, self._listening, self.guidance.tell, lambda: self.camera.known_deg
        )
        self.moments = Moments(self.recorder, self.walk, self.guidance.history, hooks, self.config.flags)
        self.recording = Recording(self.moments, self.state_dir, self._announce_about)
        press_ports = PressPorts(
            lambda: self.walking,
            stopping.set,
            lambda: how_are_you.line(self.wellbeing()),
            self._next_profile,
            self._made_help_calls().ask,
        )
        self.presses = Presses(self.buttons, self.guidance, self.voice, (self.moments, self.recording), press_ports)
        self.models = self._made_models(ports)
        self.renewal: Renewal | None = None
        self.link = self._made_link()
        self.sync_watch = SyncWatch(self.config.sync, self._allow)
        self.power = self._made_power()

    def _made_help_calls(self) -> HelpCalls:
        help_ports = HelpPorts(
            self.sealer.store, self._send_now, lambda text: self.guidance.tell(text, urgent=True, about=calling.ABOUT)
        )
        calls = HelpCalls(self.walk, self.clock, help_ports)
        self.outbox.on_help = calls.answered
        return calls

    def _made_own_words(self) -> OwnWords:
        own_words_ports = OwnWordsPorts(
            self.sealer.store,
            self.outbox,
            lambda name: self.moments.is_last_correction(name),
            self._read_back,
            lambda text, about: self.news.tell(text, about=about),
        )
        return OwnWords(build.listen_plan(self.config), own_words_ports, self.clock)

    def _begun_walk(self) -> WalkId:
        owner = self.config.device
        return WalkId.begin(
            self.admission.device,
            self.clock,
            wearer=owner.wearer,
            consent=owner.consent,
            context=owner.context,
            own_clock=self.is_replay,
        )

    def _made_recorder(self) -> Recorder:
        blur = self.config.privacy.blur
        veil = Veil(self.guidance.history) if blur else None
        return Recorder(clips=self.config.capture.clips and not blur, veil=veil)

    def _sealing_key(self, known: Identity | None) -> X25519PublicKey | None:
        """What moments are encrypted to; None = they are not."""
        key = None if known is None or not self.config.privacy.encrypt else known.sealing_key
        logger.info("Moments are kept %s.", "unencrypted" if key is None else "encrypted for the server")
        return key

    def _made_buttons(self) -> list[Buttons]:
        build.check_buttons(self.config)
        texts = itertools.chain(TEXTS, itertools.repeat(ANOTHER))
        pins = build.pins(self.config, self.clock)
        retried = [RetriedButtons(pin, next(texts), self._announce_button) for pin in pins]
        inputs, switches = build.inputs(self.config, self.clock), build.switches(self.config)
        retried += [RetriedButtons(one, REMOTE, self._announce_button, most_s=COMES_BACK_S) for one in inputs]
        retried += [RetriedButtons(one, SWITCH, self._announce_button) for one in switches]
        light = build.light(self.config)
        self.kept_signs = build.kept_signs(self.config, lambda name: self.voice.earcon(name), light)
        retried += [] if light is None else [RetriedButtons(light, LIGHT, self._announce_button)]
        places = build.places(self.config, self.clock, self._announce_about)
        return [*build.buttons(self.config, self.walk_clock.now_s), *retried, *places]

    def _made_voice(self, name: str) -> Voice:
        self.phrases = Phrases(Espeak(voice=name), self.state_dir / "voice", spoken=self.language.spoken)
        self.spoken_times = SpokenTimes(self.clock, self.config.voice.words_per_minute)
        self.volume = KeptVolume(self.state_dir, setting=self.config.voice.volume, least=VOLUME_LEAST)
        sink = build.sink(self.config, self.walk_clock, self.clock)
        self.speakers = sink if isinstance(sink, Speakers) else None
        if build.is_only_felt(self.config):
            self.speakers = build.speakers(self.config, self.clock)
            sink = SpeechInReserve(sink, self.speakers, needed=self._is_not_felt, news=NOT_FELT)
        voice = Voice(
            self.phrases,
            sink,
            pace=replace(build.pace(self.config), volume=self.volume.now),
            clock=self.clock,
            walk_now=self.walk_clock.now_s,
            on_trouble=self._voice_trouble,
        )
        voice.on_volume = self.volume.changed
        voice.on_news = lambda text: self.guidance.tell(text, urgent=True, about=policy.VOICE)
        return voice

    def _made_tactile(self) -> Tactile | None:
        motors = build.motors(self.config)
        if motors is None:
            return None
        return Tactile(
            motors, self.clock, announce=lambda text: self.guidance.tell(text, about="vibration"), felt=self._felt
        )

    def _is_not_felt(self) -> bool:
        return self.tactile is not None and bool(self.tactile.trouble)

    def _made_models(self, ports: AgentPorts) -> Models:
        guiding, camera = self.config.guidance, self.camera
        if guiding.model:
            own = Permission(settings_allow(self.config))
            load = ports.load or loader(execution=guiding.execution, camera=camera, permission=own)
            return FixedModel(Path(guiding.model).expanduser(), self.guidance, load, retry=not self.is_replay)
        permission = Permission.of(self.config, self.admission.trust(self.state_dir), self.walk.device)
        model_ports = ModelPorts(
            clock=self.clock,
            load=ports.load or loader(execution=guiding.execution, camera=camera, permission=permission),
            selftest=ports.selftest or (lambda folder: check_golden(folder, execution=guiding.execution)),
            publish=self._publish,
            may_switch=lambda: guiding.switch_while_walking or not self.walking,
        )
        try:
            return OfferedModels(self.state_dir, self.guidance, model_ports, permission)
        except OSError as error:
            logger.error("Offers of models wait: %s", error)
        slot = current_slot(self.state_dir)
        kept = Models() if slot is None else FixedModel(slot, self.guidance, model_ports.load, retry=True)
        return LateModels(kept, lambda: OfferedModels(self.state_dir, self.guidance, model_ports, permission))

    def _made_power(self) -> PowerWatch:
        wanted = self.config.power
        sources = PowerSources(wanted.source, PowerPlaces(bus=I2cBus(wanted.i2c_bus)))
        return PowerWatch(sources, self.tell_power, clock=self.clock)

    def _made_link(self) -> Link | None:
        if not self.admission.address:
            return None
        host, port = self.admission.place
        link = Link(
            LinkSettings(host, port, self.walk.device, self.admission.context),
            LinkPorts(self.outbox, self.clock, lambda state: self.models.link_changed(state == "online")),
            status=Status(online=True, agent_version=agent_version(), device_kind=self.device_kind),
        )
        link.on("offer", lambda levels, payload: self.models.on_offer(payload))
        link.on("block", lambda levels, payload: self.models.on_block(levels, payload))
        link.on("heard", lambda levels, payload: self._server_heard(payload))
        self.renewal = self.admission.renewal(link, self.state_dir, self.clock)
        if self.renewal is not None:
            self.renewal.on_renewed = lambda identity: self.outbox.use_key(self._sealing_key(identity))
        return link

    # called by guidance

    def _feel(self, action: SayNow, taken_s: float | None) -> None:
        if self.tactile is None:
            return
        buzz = buzz_of(tier=action.speak.tier, why=action.speak.why, side=action.side)
        if buzz is not None:
            self.tactile.feel(buzz, taken_s)

    def said(self, spoken: Spoken) -> None:
        chunk = self.walk.chunk_id(self.recorder.sequence_at(spoken.seen_s))
        self.captions.show(spoken, chunk)
        self.report.said(spoken, chunk)
        self.sight_told.said(spoken.text)
        self.spoken_times.said(spoken.text, self.language.spoken(spoken.text))
        if self.setup is not None:
            self.setup.said(spoken.text)

    def flagged(self, reason: str, t_s: float) -> None:
        self.moments.note(t_s, reason)

    def _felt(self, felt: FeltBuzz) -> None:
        times = (felt.taken_s, felt.asked_s, felt.driven_s)
        self.report.felt(felt.buzz.side, felt.buzz.tier, times)

    def looked(self, version: str) -> None:
        self.models.looked(version)

    def failed(self, version: str, reason: str) -> None:
        self.models.failed(version, reason)

    # called by others

    def announce_at_once(self, text: str) -> None:
        """Without the guiding thread, which may be stuck in a picture."""
        now_s = self.walk_clock.now_s()
        self.voice.say(VoiceUtterance(OUT_OF_TURN, text, 2, earcon="state"))
        self.said(Spoken(OUT_OF_TURN, now_s, text, 2, "state", 1.0, seen_s=now_s))

    def battery_percent(self) -> int | None:
        """0 to 100; None = nobody knows."""
        percent = self.power.percent
        return None if percent is None else round(percent)

    def wellbeing(self) -> how_are_you.Wellbeing:
        """How the device is, for the wearer who asks, on the capture thread. It waits for nothing."""
        online = None if self.link is None else self.link.online
        recording, trouble = not self.recording.paused, self.sealer.trouble or ""
        return how_are_you.Wellbeing(self.battery_percent(), online, self.waiting, recording, trouble)

    def _sealed(self, parcel: Parcel) -> None:
        if isinstance(parcel.record, HelpRecord):
            return
        if isinstance(parcel.record, EraseRecord):
            wish = parcel.record
            gone = [name for name, record in self._kept.items() if erasure.covers(wish, record)]
            self.report.erase(dict.fromkeys((*gone, *wish.record_ids)))
            return
        self._kept[parcel.name] = replace(parcel.record, parts=(), extra={})
        if len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        correction = not isinstance(parcel.record, ChunkRecord)
        self.report.sealed(parcel.name, correction=correction)
        self.kept_signs.kept(parcel.record)
        if correction:
            self.voice.earcon("listened")
            self.own_words.sealed(parcel)

    def _send_now(self, payload: bytes) -> None:
        if self.link is not None:
            self.link.publish(topics.event(self.walk.device), payload)

    def _announce_about(self, text: str, about: str) -> None:
        self.guidance.tell(text, about=about)

    def _announce_button(self, text: str, about: str) -> None:
        self.news.tell(text, about=about)

    def _next_profile(self) -> None:
        guidance = self.guidance
        self.profile.next(guidance.wear, lambda text: guidance.tell(text, about=ABOUT_PROFILE))

    def tell_power(self, news: PowerNews) -> None:
        if news.urgent:
            self.guidance.tell(news.text, urgent=True, about=news.about)
        else:
            self.news.tell(news.text, about=news.about)

    def _announce_storage(self, text: str) -> None:
        """That moments were dropped is an event; the other texts are how the storage is now."""
        self.news.tell(text, about=None if text == STORAGE_LOST else "storage")

    def _voice_trouble(self, why: str) -> None:
        if why:
            logger.error("%s", why)
            self.captions.note(f"No voice: {why} Captions go on.", style="red")
        found = policy.VoiceFound(self.voice.back_with or policy.VOICE_BACK)
        self.guidance.post(policy.VoiceLost() if why else found)

    def _listening(self, on: bool) -> None:
        self.guidance.post(policy.CorrectionListening(on))

    def _server_heard(self, payload: bytes) -> None:
        self.own_words.server_heard(decode(CorrectionHeard, payload))

    def _read_back(self, text: str) -> None:
        """Words of a correction of this walk that was not discarded since are said to the wearer."""
        if self.config.voice.read_back:
            self.guidance.post(policy.WordsHeard(text))

    def _publish(self, topic: str, payload: bytes) -> bool:
        """For the models: they are larger than any clip, so what holds clips back holds them back."""
        all_may = self.sync_watch.decision.allowed == "all"
        return self.link is not None and all_may and self.link.publish(topic, payload)

    def _allow(self, decision: SyncDecision) -> None:
        if self.link is not None:
            self.link.allow(decision.allowed)
