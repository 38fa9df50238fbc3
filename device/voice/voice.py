"""The voice: one utterance at a time, begun at once where its phrase is ready, cut at once when told.

    say() ── phrase in RAM ──────────────→ sink
       └──── else → worker → espeak-ng ──→ sink        never on the caller's thread: rendering takes time, and may hang

What it promises:

1. Every say() is answered by exactly one UtteranceEnded, whatever happens: cut, a missing speech program, a sound card
   that is gone. Without sound an utterance "lasts" as long as it would have taken, so that captions keep their pace.
2. Trouble is reported once when it begins and once when all of it is over (`on_trouble`). A sound card that is gone is
   noticed within 3 s, also while nothing is said, and tried again at once, where another may take its place, and then
   every RETRY_S.
3. A warning whose phrase is not ready yet is heard as its earcon at once. What could only be rendered after its
   `expires_s` is not said any more.
4. Threads: all methods may be called from any thread.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from device.voice import earcons
from device.voice.earcons import SPEECH_RATE_HZ
from device.voice.espeak import FASTEST_WPM, SLOWEST_WPM, Samples
from device.voice.phrases import Phrases, fixed_phrases, prerender
from device.voice.sinks import Sink, Timeline, UtteranceEnded, VoiceEvent, softened
from shared.background import Background
from shared.clock import Clock
from shared.errors import ConfigError, MediaError
from shared.sides import Side

logger = logging.getLogger(__name__)

RETRY_S = 2.0
QUIET_S = 1.0  # of a pause, before the sound card is opened again on purpose: that takes a moment of it
WATCH_S = 0.5  # how often the sound card is looked after
DUCKED = 0.35  # -9 dB: half as loud to the ear
WARNING_LEAST = 0.5  # of full loudness: whatever the wearer's own volume, a warning must be heard in traffic
VOLUME_LEAST, VOLUME_STEP = 0.1, 0.1
POLL_S = 0.05
OPEN_TIMEOUT_S = 3.0  # a sound card that hangs while it is opened must not keep the agent from starting
JOIN_S = 8.0  # longer than one rendering may take


@dataclass(frozen=True, slots=True)
class SpeechRate:
    """How fast is spoken, in words a minute."""

    words_per_minute: int = 190
    """Outdoors 180 to 200 suits most; experienced listeners use 300 and more."""
    warning_words_per_minute: int = 165
    """Tier 1 is spoken no faster than this, whatever the wearer's own rate."""
    earcons: bool = True
    """A short sound before each warning and each state change."""
    volume: float = 1.0
    """Loudness of speech and earcons, 0.1 to 1. Warnings are never quieter than half."""

    def __post_init__(self) -> None:
        for name in ("words_per_minute", "warning_words_per_minute"):
            if not SLOWEST_WPM <= getattr(self, name) <= FASTEST_WPM:
                raise ConfigError(f"voice.{name} is {getattr(self, name)}; it must be {SLOWEST_WPM} to {FASTEST_WPM}.")
        if not VOLUME_LEAST <= self.volume <= 1.0:
            raise ConfigError(f"voice.volume is {self.volume}; it must be {VOLUME_LEAST} to 1.")

    def of(self, tier: int) -> int:
        return min(self.words_per_minute, self.warning_words_per_minute) if tier == 1 else self.words_per_minute


@dataclass(frozen=True, slots=True)
class VoiceUtterance:
    """Something to say."""

    number: int
    text: str
    tier: int
    earcon: str | None = None
    """Name of the sound before it."""
    expires_s: float = math.inf
    """Monotonic time after which it is not begun any more."""
    side: Side | None = None
    """Where what it is about is; None = it is about no place."""


class Voice:
    """See the module's promises. `phrases` None = nothing can be rendered: captions only."""

    def __init__(
        self,
        phrases: Phrases | None,
        sink: Sink,
        *,
        pace: SpeechRate,
        clock: Clock,
        walk_now: Callable[[], float],
        on_trouble: Callable[[str], None],
    ) -> None:
        """on_trouble: what keeps it from being heard; "" = it is heard again"""
        self._phrases = phrases
        self._sink = sink
        self._mute_line = Timeline(walk_now, clock)
        self._pace = pace
        self._clock = clock
        self._on_trouble = on_trouble
        self.on_news: Callable[[str], None] = lambda text: None
        """An announcement about the sound output, which is heard all the same."""
        self.on_volume: Callable[[float], None] = lambda volume: None
        """The volume that the wearer has set by button."""
        self.back_with = ""
        """Why it was lost, to be said when it is back; "" = not known."""
        self._jobs: queue.SimpleQueue[VoiceUtterance | None] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._wanted: int | None = None
        """The utterance that is being rendered or played."""
        self._lead_s = 0.0
        """How long the earcon before its words lasts."""
        self._heard: list[VoiceEvent] = []
        self._troubles: dict[str, str] = {}
        self._retry_at_s = self._reopened_by_s = self._watched_s = self._spoke_s = 0.0
        self._volume = pace.volume
        self._ducked = False
        self._tier = 2
        """Of what is being said."""
        self._open = False
        self._reopening = False
        """On purpose: what is said meanwhile waits for it."""
        self._tried = threading.Event()
        self._settled = threading.Condition()
        self._unsettled = 0
        self._speech = Background(self._work, name="voice", wake=lambda: self._jobs.put(None))
        self._stop = self._speech.stopping
        self._threads = [self._speech]

    def start(self, *, extra_phrases: tuple[str, ...] = ()) -> None:
        """Open the sink and begin to prepare the fixed phrases, urgent ones first. Trouble is reported, not raised."""
        if self._phrases is not None and not self._sink.silent:
            fixed = fixed_phrases()
            wanted = [(text, self._pace.of(tier)) for text, tier in fixed if tier == 1]
            wanted += [(text, self._pace.of(2)) for text in extra_phrases]
            wanted += [(text, self._pace.of(tier)) for text, tier in fixed if tier > 1]
            self._threads.append(Background(lambda: self._prepare(wanted), name="voice phrases"))
        for thread in self._threads:
            thread.start()
        self._tried.wait(OPEN_TIMEOUT_S)

    def say(self, utterance: VoiceUtterance) -> None:
        """Begin to say it; returns at once. What was being said is cut."""
        with self._lock:
            if self._wanted is not None:
                self.cut(self._wanted)
            self._wanted, self._tier = utterance.number, utterance.tier
            if self._phrases is None or not self._is_heard_soon:
                self._pretend(utterance)
                return
            ready = self._phrases.ready(utterance.text, self._pace.of(utterance.tier))
            if ready is not None and self._open:
                self._play(utterance, ready)
                return
            if utterance.tier == 1 and utterance.earcon and self._open:
                self.earcon(utterance.earcon, side=utterance.side)
                utterance = replace(utterance, earcon=None)
        with self._settled:
            self._unsettled += 1
        self._jobs.put(utterance)

    @property
    def _is_heard_soon(self) -> bool:
        return not self._sink.silent and (self._open or self._reopening)

    def cut(self, number: int) -> None:
        """Silence within 50 ms, where this utterance is still the one being said."""
        with self._lock:
            self._gather()
            if self._wanted == number:
                self._safely(self._sink.cut)
                self._mute_line.cut()
                self._gather()
                self._end(number)  # where it was still being rendered, nobody else would

    def earcon(self, name: str, *, side: Side | None = None) -> None:
        """Answer a button with a sound, over speech if need be."""
        if self._pace.earcons:
            self._mix(name, side)

    def beat(self) -> None:
        """The tick that says that guidance is alive. Whoever wants it has asked for it: also without other earcons."""
        self._mix("heartbeat")

    def duck(self, *, on: bool) -> None:
        """Speak everything but warnings quietly from now on, or as loud as ever; also what is being said."""
        with self._lock:
            self._ducked = on
            self._adjust()

    def change_volume(self, by: float) -> float:
        """Louder or quieter; a tone as loud as that answers, a low one at the bounds. Returns the new volume, 0.1 to
        1."""
        with self._lock:
            before = self._volume
            self._volume = round(min(1.0, max(VOLUME_LEAST, before + by)), 2)
            self._adjust()
        self._mix("volume" if self._volume != before else "refused")
        self.on_volume(self._volume)
        return self._volume

    def poll(self) -> list[VoiceEvent]:
        """What was heard since the last poll, in order."""
        with self._lock:
            self._gather()
            heard, self._heard = self._heard, []
            return heard

    def settle(self, timeout_s: float = JOIN_S) -> bool:
        """Wait until all that was said has begun: a replay as fast as possible must not run ahead of its voice."""
        with self._settled:
            return self._settled.wait_for(lambda: self._unsettled == 0, timeout_s)

    def finish(self, timeout_s: float) -> None:
        """Wait until what is being said has been said."""
        waited_s = 0.0
        while self._wanted is not None and waited_s < timeout_s and not self._stop.wait(POLL_S):
            waited_s += POLL_S
            with self._lock:
                self._gather()

    @property
    def works(self) -> bool:
        """What is said now is heard, as far as the sound output tells, or soon: an output that is opened again on
        purpose has a moment for it. It waits for no lock."""
        return (self._open and self._sink.is_alive) or self._clock.monotonic_s() < self._reopened_by_s

    @property
    def trouble(self) -> str:
        """What keeps the voice from being heard; "" = nothing."""
        return " ".join(list(self._troubles.values()))

    def close(self) -> None:
        """Stop speaking and let go of the sound card. May be called again."""
        if self._stop.is_set():
            return
        for thread in self._threads:
            thread.close(JOIN_S)
        with self._lock:
            self._safely(self._sink.close)

    def _work(self) -> None:
        self.open_sink()
        self._tried.set()
        while True:
            try:
                job = self._jobs.get(timeout=WATCH_S)
            except queue.Empty:
                self._look_after_sink()
                continue
            if job is None:
                return
            if self._clock.monotonic_s() >= self._watched_s + WATCH_S:
                self._look_after_sink()  # however much there is to say
            try:
                self._render_and_play(job)
            except Exception:
                logger.exception("The voice could not say %r", job.text)
                with self._lock:
                    self._end(job.number)
            finally:
                with self._settled:
                    self._unsettled -= 1
                    self._settled.notify_all()

    def _render_and_play(self, utterance: VoiceUtterance) -> None:
        assert self._phrases is not None
        samples: Samples | None = None
        if self._wanted == utterance.number:
            try:
                samples = self._phrases.get(utterance.text, self._pace.of(utterance.tier))
                self._mend("speech program")
            except MediaError as error:
                self._complain("speech program", str(error))
        with self._lock:
            if self._wanted != utterance.number:
                return
            if self._clock.monotonic_s() > utterance.expires_s:
                logger.warning("%r came too late to be said.", utterance.text)
                self._end(utterance.number)
            else:
                self._play(utterance, samples)

    def _play(self, utterance: VoiceUtterance, samples: Samples | None) -> None:
        if samples is None:
            self._pretend(utterance)
            return
        lead = self._lead(utterance)
        sound = samples if lead is None else earcons.before(lead, samples)
        self._lead_s = 0.0 if lead is None else len(lead) / SPEECH_RATE_HZ
        self._adjust()
        if not self._safely(lambda: self._sink.play(utterance.number, sound)):
            self._pretend(utterance)

    def _lead(self, utterance: VoiceUtterance) -> Samples | None:
        """The sound before its words. Where nothing can come from a side, words alone say the direction."""
        name, stereo = utterance.earcon, self._sink.channels == 2
        if not name or not self._pace.earcons or (name == earcons.DIRECTION and not (stereo and utterance.side)):
            return None
        return earcons.earcon(name, utterance.side if stereo else None)

    def _mix(self, name: str, side: Side | None = None) -> None:
        with self._lock:
            if self._open:
                sound = earcons.earcon(name, side if self._sink.channels == 2 else None)
                self._safely(lambda: self._sink.mix(softened(sound, self._volume)))

    def _adjust(self) -> None:
        """Tell the sink how loud what is being said is to be."""
        if self._tier == 1:
            gain = max(self._volume, WARNING_LEAST)
        else:
            gain = self._volume * (DUCKED if self._ducked else 1.0)
        self._safely(lambda: self._sink.loudness(gain))

    def _safely(self, use_sink: Callable[[], None]) -> bool:
        """Whether the sink took it. A sound card that is gone or a full disk must not end a caller's work."""
        try:
            use_sink()
        except (MediaError, OSError) as error:
            self._broke(str(error))
            return False
        return True

    def _broke(self, why: str) -> None:
        self._open = False
        self._retry_at_s = 0.0  # another output may take over at once
        self._complain("sound output", why)

    def _pretend(self, utterance: VoiceUtterance) -> None:
        """Let an utterance that nobody hears take its time."""
        words = len(utterance.text.split())
        silence = np.zeros(SPEECH_RATE_HZ * 60 * words // self._pace.of(utterance.tier), np.int16)
        self._mute_line.play(utterance.number, silence)

    def _gather(self) -> None:
        for heard in [*self._sink.poll(), *self._mute_line.poll()]:
            if isinstance(heard, UtteranceEnded):
                self._end(heard.utterance)
            else:
                self._heard.append(replace(heard, lead_s=self._lead_s))

    def _end(self, number: int) -> None:
        if self._wanted == number:
            self._wanted = None
            self._spoke_s = self._clock.monotonic_s()
            self._heard.append(UtteranceEnded(number))

    def _prepare(self, wanted: list[tuple[str, int]]) -> None:
        assert self._phrases is not None
        count = prerender(self._phrases, wanted, self._stop)
        logger.info("%d of %d phrases are ready to be said at once", count, len(wanted))

    def _look_after_sink(self) -> None:
        """Headphones are unplugged while nothing is said, too: the next warning must find them again."""
        self._watched_s = self._clock.monotonic_s()
        if self._open:
            self._sink.watch()
        with self._lock:
            if self._open and not self._sink.is_alive:
                self._broke("The sound output is gone. Plug the headphones in again.")
            due = self._is_to_be_opened()
        if due:
            self.open_sink()

    def _is_to_be_opened(self) -> bool:
        """Broken, or better opened again while nothing is said; under the lock."""
        now_s = self._clock.monotonic_s()
        if not self._open:
            return now_s >= self._retry_at_s
        pauses = self._wanted is None and now_s >= self._spoke_s + QUIET_S
        if not (pauses or self._sink.silent) or not self._sink.wants_reopen:
            return False
        self._open, self._reopening, self._reopened_by_s = False, True, now_s + OPEN_TIMEOUT_S
        return True

    def open_sink(self) -> None:
        """The worker does so first. Not under the lock: a sound card may take long, and say() must not wait for it."""
        try:
            self._sink.open()
            self._open, self._reopening, self._reopened_by_s = True, False, 0.0
            self._found(self._sink.news())
        except (MediaError, OSError) as error:
            self._reopening = False
            self._retry_at_s, self._reopened_by_s = self._clock.monotonic_s() + RETRY_S, 0.0
            self._complain("sound output", str(error))

    def _found(self, news: str) -> None:
        self.back_with = news
        if self._sink.was_lost and not self._troubles:  # between two rounds, and opened again for another reason
            self._complain("sound output", "The sound output was lost; another one is used.")
        if self._troubles:
            self._mend("sound output")
        elif news:
            self.on_news(news)

    def _complain(self, what: str, why: str) -> None:
        if not self._troubles:
            self.back_with = ""  # what was said of an earlier trouble
        if self._troubles.get(what) != why:
            self._troubles[what] = why
            self._on_trouble(why)

    def _mend(self, what: str) -> None:
        if self._troubles.pop(what, None) is not None and not self._troubles:
            self._on_trouble("")
