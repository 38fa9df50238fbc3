"""From the settings to the parts of an agent that come in several kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from device.capture.open import open_source
from device.capture.source import Source
from device.capture.walk_clock import WalkClock
from device.config import Config
from device.controls.buttons import ButtonAction, Buttons, Keys, PinButton, Script
from device.guidance.loop import GuidanceSettings
from device.tactile.drv2605 import Drv2605
from device.tactile.gpio import PinMotor
from device.tactile.motors import Motors
from device.voice.output_list import OutputList, use_server
from device.voice.sinks import Sink, Timeline, WavFile
from device.voice.speakers import Speakers
from device.voice.voice import SpeechRate
from shared.clock import Clock
from shared.policy import PolicySettings
from shared.sides import Side


def source(config: Config, clock: Clock) -> Source | None:
    """Raises: ConfigError."""
    return None if config.capture.source == "none" else open_source(config.capture, clock=clock)


def sink(config: Config, time: WalkClock, clock: Clock) -> Sink:
    """As fast as possible there is no time to listen: the sound card is left alone then."""
    speech = config.voice.speech
    if speech == "speakers" and config.capture.pace == "real":
        return speakers(config, clock)
    if speech in ("speakers", "none"):
        return Timeline(time.now_s, clock)
    return Timeline(time.now_s, clock, file=WavFile(Path(speech).expanduser()), walk_end=lambda: time.reached_s)


def speakers(config: Config, clock: Clock) -> Speakers:
    """The sound card that the settings name, or the best of what is connected."""
    use_server(config.voice.server)
    output, stereo = config.voice.output, config.voice.stereo == "auto"
    if output.isdigit():
        return Speakers(clock, device=int(output), stereo=stereo)
    return Speakers(clock, outputs=OutputList(clock, wanted=output), stereo=stereo)


def is_only_felt(config: Config) -> bool:
    """Whether speech is off and guidance is felt."""
    return config.voice.speech == "none" and config.tactile.motors != "none" and config.capture.pace == "real"


def motors(config: Config) -> Motors | None:
    """None = there are none."""
    wanted = config.tactile
    if wanted.motors == "none":
        return None
    kind = PinMotor if wanted.motors == "gpio" else Drv2605
    named = {Side.LEFT: wanted.left, Side.RIGHT: wanted.right}
    return Motors({side: kind(place) for side, place in named.items() if place}, strength=wanted.strength)


def buttons(config: Config, walk_now: Callable[[], float]) -> list[Buttons]:
    """Raises: ConfigError."""
    wanted, hold_s = config.buttons, config.buttons.hold_s
    sources: list[Buttons] = []
    if wanted.script:
        sources.append(Script.load(Path(wanted.script).expanduser()))
    if wanted.keys:
        sources.append(Keys(walk_now))
    if wanted.pin:
        sources.append(PinButton(wanted.pin, walk_now, hold_s=hold_s))
    if wanted.repeat_pin:
        actions = {"short": ButtonAction.REPEAT, "long": ButtonAction.MUTE}
        sources.append(PinButton(wanted.repeat_pin, walk_now, hold_s=hold_s, **actions))
    return sources


def guidance_settings(config: Config) -> GuidanceSettings:
    guiding = config.guidance
    names = ("hazard_above", "speak_above", "flag_below")
    pinned = frozenset(name for name in names if getattr(guiding, name) is not None)
    fast, policy = config.capture.pace == "fast", policy_settings(config)
    return GuidanceSettings(policy, looks_per_s=guiding.looks_per_s, wait_for_looks=fast, pinned=pinned)


def policy_settings(config: Config) -> PolicySettings:
    """What of [guidance] has the name of a figure of the policy, where it is set."""
    values = {field.name: getattr(config.guidance, field.name, None) for field in fields(PolicySettings)}
    return PolicySettings(**{name: value for name, value in values.items() if value is not None})


def pace(config: Config) -> SpeechRate:
    voice = config.voice
    return SpeechRate(voice.words_per_minute, voice.warning_words_per_minute, voice.earcons, voice.volume)
