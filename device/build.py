"""From the settings to the parts of an agent that come in several kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from device.capture.open import open_source
from device.capture.source import Source
from device.capture.walk_clock import WalkTime
from device.config import Config
from device.controls.buttons import ButtonAction, Buttons, Keys, PinButton, Script
from device.guidance.loop import GuidanceSettings
from device.moments.flags import FlagSettings
from device.sync.conditions import Rules
from device.voice.sinks import Sink, Timeline, WavFile
from device.voice.speakers import Speakers
from device.voice.voice import SpeechRate
from shared.clock import Clock
from shared.policy import PolicySettings


def source(config: Config, clock: Clock) -> Source | None:
    """Raises: ConfigError."""
    capture = config.capture
    if capture.source == "none":
        return None
    microphone = None if capture.microphone == "none" else capture.microphone
    return open_source(
        capture.source,
        pace=capture.pace,
        clock=clock,
        microphone=microphone,
        width_px=capture.width_px,
        height_px=capture.height_px,
        fps=capture.fps,
        rotate_deg=capture.rotate_deg,
    )


def sink(config: Config, time: WalkTime, clock: Clock) -> Sink:
    """As fast as possible there is no time to listen: the sound card is left alone then."""
    speech = config.voice.speech
    if speech == "speakers" and config.capture.pace == "real":
        output = config.voice.output
        return Speakers(clock, device=int(output) if output.isdigit() else output or None)
    if speech in ("speakers", "none"):
        return Timeline(time.now_s, clock)
    return Timeline(time.now_s, clock, file=WavFile(Path(speech).expanduser()), walk_end=lambda: time.reached_s)


def buttons(config: Config, walk_now: Callable[[], float]) -> list[Buttons]:
    """Raises: ConfigError."""
    found: list[Buttons] = []
    if config.buttons.script:
        found.append(Script.load(Path(config.buttons.script).expanduser()))
    if config.buttons.keys:
        found.append(Keys(walk_now))
    pin, repeat_pin, hold_s = config.buttons.pin, config.buttons.repeat_pin, config.buttons.hold_s
    if pin:
        found.append(PinButton(pin, walk_now, hold_s=hold_s))
    if repeat_pin:
        actions = {"short": ButtonAction.REPEAT, "long": ButtonAction.MUTE}
        found.append(PinButton(repeat_pin, walk_now, hold_s=hold_s, **actions))
    return found


def guidance_settings(config: Config) -> GuidanceSettings:
    guiding = config.guidance
    names = ("hazard_above", "speak_above", "flag_below")
    pinned = frozenset(name for name in names if getattr(guiding, name) is not None)
    return GuidanceSettings(
        policy_settings(config),
        looks_per_s=guiding.looks_per_s,
        wait_for_looks=config.capture.pace == "fast",
        pinned=pinned,
    )


def policy_settings(config: Config) -> PolicySettings:
    guiding, standard = config.guidance, PolicySettings()

    def of(wish: float | None, otherwise: float) -> float:
        return otherwise if wish is None else wish

    return PolicySettings(
        verbosity=guiding.verbosity,
        words_per_minute_max=guiding.words_per_minute_max,
        lead=guiding.lead,
        confirmations=guiding.confirmations,
        tick_every_s=guiding.tick_every_s,
        repeat_after_s=guiding.repeat_after_s,
        say_clear=guiding.say_clear,
        hazard_above=of(guiding.hazard_above, standard.hazard_above),
        speak_above=of(guiding.speak_above, standard.speak_above),
        flag_below=of(guiding.flag_below, standard.flag_below),
    )


def pace(config: Config) -> SpeechRate:
    voice = config.voice
    return SpeechRate(voice.words_per_minute, voice.warning_words_per_minute, voice.earcons, voice.volume)


def flag_settings(config: Config) -> FlagSettings:
    return FlagSettings(config.flags.predecessors, config.flags.audit_share, config.flags.low_confidence_share)


def sync_rules(config: Config) -> Rules:
    return Rules(config.sync.on_metered, config.sync.hot_c, config.sync.too_hot_c)
