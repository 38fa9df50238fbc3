"""From the settings to the parts of an agent that come in several kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from device import profiles
from device.capture.open import open_source
from device.capture.source import Source
from device.capture.walk_clock import WalkClock
from device.config import Config, is_replay, spoken_language
from device.controls.actions import Buttons
from device.controls.bindings import Binding, binding, named
from device.controls.buttons import Keys, Script
from device.controls.evdev import InputKeys, is_switch
from device.controls.keynames import key_codes
from device.controls.pins import PinKey, PinLight, PinSwitch
from device.controls.places import Places
from device.controls.pressed import PressedKeys
from device.guidance.loop import GuidanceSettings
from device.moments.kept_signs import KeptSigns
from device.tactile.drv2605 import Drv2605
from device.tactile.gpio import PinMotor
from device.tactile.motors import Motors
from device.transcription.listening import ListenPlan
from device.voice.output_list import OutputList, use_server
from device.voice.sinks import Sink, Timeline, WavFile
from device.voice.speakers import Speakers
from device.voice.voice import SpeechRate
from shared.clock import Clock
from shared.errors import ConfigError
from shared.policy import PolicySettings
from shared.sides import Side


def listen_plan(config: Config) -> ListenPlan | None:
    """How corrections are listened to here; None = not at all."""
    if config.corrections.transcribe != "device":
        return None
    language, _ = spoken_language(config)
    return ListenPlan(language.code, config.voice.languages, config.corrections.model)


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
    """What needs no device: a script, and the terminal. Raises: ConfigError."""
    wanted = config.buttons
    sources: list[Buttons] = []
    if wanted.script:
        sources.append(Script.load(Path(wanted.script).expanduser()))
    if wanted.keys:
        sources.append(Keys(walk_now))
    return sources


def check_buttons(config: Config) -> None:
    """What presses do, of every button: a slip is found at the start. Raises: ConfigError."""
    wanted = config.buttons
    binding(wanted.press, "buttons.press")
    binding(wanted.repeat_press, "buttons.repeat_press")
    named(wanted.pins, "buttons.pins")
    key_codes(named(wanted.input_keys, "buttons.input_keys"))
    if is_switch(wanted.pause_switch) and not wanted.input:
        raise ConfigError(
            f"buttons.pause_switch is {wanted.pause_switch!r}, a switch of an input device.",
            hint="Name the device with buttons.input, or a pin such as GPIO23.",
        )


def pins(config: Config, clock: Clock) -> list[Buttons]:
    """Buttons and switches on pins, the first two by their own settings. Raises: ConfigError."""
    wanted = config.buttons
    found = [
        _pin(config, clock, pin, binding(presses, f"buttons.{setting}"), setting=name)
        for pin, presses, setting, name in (
            (wanted.pin, wanted.press, "press", "buttons.pin"),
            (wanted.repeat_pin, wanted.repeat_press, "repeat_press", "buttons.repeat_pin"),
        )
        if pin
    ]
    more = named(wanted.pins, "buttons.pins").items()
    return found + [_pin(config, clock, pin, one, setting="buttons.pins") for pin, one in more]


def light(config: Config) -> PinLight | None:
    """The light that says that a moment is kept."""
    return PinLight(config.privacy.kept_light) if config.privacy.kept_light else None


def kept_signs(config: Config, earcon: Callable[[str], None], light: PinLight | None) -> KeptSigns:
    """How it is told that a moment is kept."""
    return KeptSigns(config.privacy.kept_sound, earcon, *([] if light is None else [light.flash]))


def places(config: Config, clock: Clock, announce: Callable[[str, str], None]) -> list[Buttons]:
    """Places where nothing is recorded. A replay was recorded elsewhere: there are none."""
    named_places = () if is_replay(config) else config.privacy.pause_at
    return [Places(named_places, clock, announce)] if named_places else []


FIRST_KEYS = ("playpause", "play", "playcd", "pausecd", "media", "enter", "space")
SECOND_KEYS = ("previoussong", "pageup", "left")
USUAL_KEYS = (
    *(f"{key}: ahead, status" for key in ("nextsong", "pagedown", "right")),
    "volumeup: louder",
    "volumedown: quieter",
)


def input_keys(config: Config) -> dict[str, Binding]:
    """What the keys of `buttons.input` do. Raises: ConfigError."""
    wanted = config.buttons
    if wanted.input_keys:
        return named(wanted.input_keys, "buttons.input_keys")
    usual = [f"{key}: {wanted.press}" for key in FIRST_KEYS] + [f"{key}: {wanted.repeat_press}" for key in SECOND_KEYS]
    return named([*usual, *USUAL_KEYS], "buttons.input_keys")


def inputs(config: Config, clock: Clock, *, root: Path = Path("/")) -> list[Buttons]:
    """An input device with its keys, and what it has of switches. Raises: ConfigError."""
    wanted = config.buttons
    if not wanted.input:
        return []
    keys, switch = input_keys(config), wanted.pause_switch if is_switch(wanted.pause_switch) else ""
    source = InputKeys(wanted.input, [*keys, *([switch] if switch else [])], clock.monotonic_s, root=root)
    return [PressedKeys(source, keys, clock.monotonic_s, hold_s=wanted.hold_s, double_s=wanted.double_s, switch=switch)]


def switches(config: Config) -> list[Buttons]:
    """A switch on a pin."""
    pin = config.buttons.pause_switch
    return [PinSwitch(pin)] if pin and not is_switch(pin) else []


def _pin(config: Config, clock: Clock, pin: str, one: Binding, *, setting: str) -> Buttons:
    wanted, key = config.buttons, PinKey(pin, clock.monotonic_s, setting=setting)
    return PressedKeys(key, {"": one}, clock.monotonic_s, hold_s=wanted.hold_s, double_s=wanted.double_s)


def guidance_settings(config: Config, profile: str = "") -> GuidanceSettings:
    """profile: the name of the one that is worn; "" = none"""
    guiding = config.guidance
    names = ("hazard_above", "speak_above", "flag_below")
    pinned = frozenset(name for name in names if getattr(guiding, name) is not None)
    fast, policy = config.capture.pace == "fast", policy_settings(config, profile)
    return GuidanceSettings(
        policy,
        looks_per_s=guiding.looks_per_s,
        wait_for_looks=fast,
        pinned=pinned,
        skip_unchanged=guiding.skip_unchanged,
    )


def policy_settings(config: Config, profile: str = "") -> PolicySettings:
    """What of [guidance] has the name of a figure of the policy, where it is set, and the profile's over it."""
    values = {field.name: getattr(config.guidance, field.name, None) for field in fields(PolicySettings)}
    own = PolicySettings(**{name: value for name, value in values.items() if value is not None})
    return profiles.worn(own, profiles.known(config.guidance.profiles).get(profile))


def pace(config: Config) -> SpeechRate:
    voice = config.voice
    return SpeechRate(voice.words_per_minute, voice.warning_words_per_minute, voice.earcons, voice.volume)
