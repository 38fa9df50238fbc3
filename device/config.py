"""The settings of waycue-device: one TOML file, checked once at start, then frozen.

Order: the defaults here, the file, the command line. An unknown section or key is an error with a hint at the nearest
known one: a setting with a slip in its name must not silently stay at its default.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from device import profiles
from device.capture.open import check_source
from device.capture.settings import CaptureSettings
from device.profiles import ProfileSettings
from device.voice.espeak import FASTEST_WPM, SLOWEST_WPM
from shared import languages, settings, topics
from shared.errors import ConfigError
from shared.languages import Language
from shared.runtime import Execution

KeptSound = Literal["presses", "all", "none"]


@dataclass(frozen=True, slots=True)
class DeviceSection:
    name: str = ""
    """Its name on the network: lower-case letters, digits and hyphens. Empty = as enrolled, or from the host name."""
    wearer: str = ""
    """Who wears it, as the server knows them."""
    consent: str = "own-device"
    """What the wearer agreed to for flagged moments; travels with each. "share" = they may be handed on (`export --for
    others`)."""
    context: str = ""
    """A note that travels with each flagged moment, such as the route."""
    state: str = ""
    """Folder for the outbox, models and phrases. Empty = $STATE_DIRECTORY, or ~/.local/state/waycue-device."""


@dataclass(frozen=True, slots=True)
class BrokerSection:
    address: str = ""
    """HOST:PORT of the MQTT broker. Empty = as given at enrolment; without either, flagged moments wait on the device.
    A broker on another machine needs an enrolled device."""


@dataclass(frozen=True, slots=True)
class VoiceSection:
    speech: str = "speakers"
    """speakers (silent in a replay as fast as possible), none (captions only), or a file to write into: NAME.wav."""
    output: str = ""
    """Part of the name, or the number, of the sound output. Empty = the best that is connected; HDMI comes last."""
    server: str = ""
    """Where the sound server is, as PULSE_SERVER has it, such as unix:/run/user/1000/pulse/native. Empty = that of this
    user."""
    stereo: Literal["auto", "off"] = "auto"
    """auto: where the output has two channels, sounds come from the side of what they are about. off: from both."""
    language: str = "en-us"
    """Language of everything that is said: de, en or es, or a voice of espeak-ng that speaks it, such as es-419 or
    en-gb-x-rp (see `espeak-ng --voices`)."""
    languages: str = ""
    """Folder with languages of your own, one folder each. Empty = those that come along."""
    words_per_minute: Annotated[int, Meta(ge=SLOWEST_WPM, le=FASTEST_WPM)] = 190
    """Speaking rate, 120 to 400."""
    warning_words_per_minute: Annotated[int, Meta(ge=SLOWEST_WPM, le=FASTEST_WPM)] = 165
    """Warnings are never spoken faster than this, 120 to 400."""
    earcons: bool = True
    """A short sound before warnings and state changes, and in answer to the button."""
    read_back: bool = True
    """Whether is said what the server, or the device, understood of a correction."""
    volume: Annotated[float, Meta(ge=0.1, le=1)] = 1.0
    """Loudness of the voice, 0.1 to 1. Warnings are never quieter than half."""


@dataclass(frozen=True, slots=True)
class TactileSection:
    """Guidance as vibration, beside speech or instead of it."""

    motors: Literal["none", "gpio", "drv2605"] = "none"
    """gpio: motors on pins. drv2605: haptic drivers on I2C."""
    left: str = ""
    """Pin (GPIO12) or bus (/dev/i2c-1) of the motor on the left. Empty = none: the other one is felt for both sides."""
    right: str = ""
    """The same for the one on the right."""
    strength: Annotated[float, Meta(ge=0.1, le=1)] = 1.0
    """How strong, 0.1 to 1. Warnings are never weaker than half."""


@dataclass(frozen=True, slots=True)
class GuidanceSection:
    """What it says, and how often it looks."""

    model: str = ""
    """Folder of a model bundle to use. Empty = the one that the server offered last."""
    allow_demo_model: bool = False
    """Let a demonstration model guide a real walk. Only in a safe place, with a sighted companion."""
    allow_trial_model: bool = False
    """Let a model on trial that `model` names, or that nobody signed, guide a real walk. Only with a sighted companion.
    Of what is offered to an enrolled device, its server's signed word decides."""
    looks_per_s: Annotated[float, Meta(ge=0.5, le=15)] = 4.0
    """Pictures looked at each second, 0.5 to 15."""
    skip_unchanged: bool = False
    """Whether the model leaves out pictures that did not change, for half a second at most, while it sees nothing. It
    spares a device that stands or lies still; a chest that walks or breathes changes nearly every picture."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 2
    """Processor threads of the model. Leave a core to the recorder: 3 on a Pi's four cores."""
    cores: str = ""
    """Cores that the model may run on, counted from 0, such as "1-3" or "2,3". Empty = any."""
    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    """What the encoders run on: cuda or tensorrt on a Jetson with its own onnxruntime. The decoder stays on cpu."""
    verbosity: Literal["warnings", "obstacles", "all"] = "all"
    """warnings: only what to stop for. obstacles: also what is in or beside the way. all: landmarks too."""
    words_per_minute_max: Annotated[int, Meta(ge=0, le=400)] = 60
    """Most words a minute about obstacles and landmarks; warnings always come through."""
    repeat_after_s: Annotated[float, Meta(ge=1, le=600)] = 10.0
    """The same thing at the same side is not said again before this."""
    profile: str = ""
    """Named set of settings to begin with, which a press changes (see `profiles`). Empty = none."""
    profiles: Mapping[str, ProfileSettings] = field(default_factory=dict)
    """Own profiles, or others of the packaged ones' names: tables [guidance.profiles.NAME]."""
    weak_side: Literal["none", "left", "right"] = "none"
    """The side on which the wearer sees or notices less: what is there is said first, and a look earlier."""
    lead: Literal["early", "normal", "late"] = "normal"
    """early: warnings at the first look, sooner and more often wrong. late: obstacles and landmarks only when near."""
    confirmations: bool = False
    """Whether to say that the way goes on, such as "Keep straight, sidewalk ahead.", at most every 20 s."""
    tick_every_s: float = 0.0
    """A soft tick this often while it sees and says nothing, 2 to 60. 0 = none."""
    say_clear: bool = False
    """Whether "path is clear" may be said. Off: silence and the cane are safer."""
    trial_classes: bool = False
    """Whether things are named of which nobody measured on real pictures how often the model is right about them. Only
    with a sighted companion."""
    hazard_above: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Score above which a hazard counts as seen, 0 to 1. Not set = as calibrated for the model."""
    speak_above: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Confidence that worded guidance needs, 0 to 1. Not set = as calibrated for the model."""
    flag_below: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Confidence below which a moment is kept for review, 0 to 1. Not set = as calibrated for the model."""
    switch_while_walking: bool = False
    """Whether an updated model may take over in mid-walk. Off: while the wearer stands still, or at the next start."""

    @property
    def execution(self) -> Execution:
        """How the model runs. Raises: ConfigError for cores that are no list of numbers."""
        return Execution.of(threads=self.threads, cores=self.cores, provider=self.provider)


@dataclass(frozen=True, slots=True)
class FlagsSection:
    """Which moments are kept for review."""

    predecessors: Annotated[int, Meta(ge=0, le=30)] = 1
    """Chunks of 2 s kept before a flagged one, 0 to 30."""
    audit_share: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """Share of all chunks kept at random, 0 to 1: the only unbiased view of accuracy."""
    low_confidence_share: Annotated[float, Meta(ge=0, le=1)] = 0.2
    """Most chunks kept because the model was unsure, as a share of all, 0 to 1."""
    storage_mb: Annotated[int, Meta(ge=10, le=10_000_000)] = 4000
    """Most megabytes of kept moments on the device: about 12,000. What the server has is deleted first, unsent last."""
    longest_correction_s: Annotated[float, Meta(ge=1, le=28)] = 20.0
    """A spoken correction ends by itself after this, 1 to 28."""


@dataclass(frozen=True, slots=True)
class CorrectionsSection:
    """How spoken corrections become words."""

    transcribe: Literal["server", "device"] = "server"
    """device: it listens itself, and reads back without a network. Needs the extra device-speech; a hot or slow board
    leaves it to the server."""
    model: str = ""
    """Folder with an acoustic model of the wearer's language and a dictionary. Empty = English, which comes along."""


@dataclass(frozen=True, slots=True)
class PrivacySection:
    """What others may notice of recording and read of a moment, and where nothing is recorded."""

    encrypt: bool = True
    """Whether moments are encrypted on the card, for the server alone, once it has named its key: at enrolment, or with
    a renewed certificate. Off: whoever has the card has the moments that were not sent yet."""
    blur: bool = False
    """Whether heads and number plates are made unrecognisable before a moment is kept, by what the model's detector
    sees, which misses some. Without a detector the whole picture is. No clips are kept then."""
    kept_sound: KeptSound = "presses"
    """When a short sound says that a moment is kept: presses (where the wearer pressed for it), all, none."""
    kept_light: str = ""
    """Pin of a light that is on for half a second whenever a moment is kept. Empty = none."""
    pause_at: tuple[str, ...] = ()
    """Names of Wi-Fi networks: while the device is connected to one, nothing is recorded. Guidance goes on."""


@dataclass(frozen=True, slots=True)
class SyncSection:
    on_metered: Literal["all", "small", "none"] = "small"
    """What goes over a connection that costs by the megabyte: all, small (no clips, no models), or none."""
    hot_c: Annotated[float, Meta(ge=40, le=110)] = 75.0
    """No clips and no models while the board is at least so many °C, 40 to 110; again 5 °C below."""
    too_hot_c: Annotated[float, Meta(ge=40, le=120)] = 82.0
    """Nothing at all from here on, hot_c to 120."""


@dataclass(frozen=True, slots=True)
class PowerSection:
    """Where the battery's charge is read."""

    source: Literal["auto", "none", "power-supply", "max1704x", "ina219", "pisugar3"] = "auto"
    """auto: the first that answers. power-supply: what the kernel knows. none: nothing is asked. The others are
    chips of UPS HATs on an I2C bus."""
    i2c_bus: Annotated[int, Meta(ge=0, le=31)] = 1
    """Number of that bus; 1 is on the pins of a Raspberry Pi, 7 on those of a Jetson Orin Nano."""


@dataclass(frozen=True, slots=True)
class ButtonsSection:
    keys: bool = True
    """Keys of the terminal: space flags, c corrects, d discards the correction, r repeats, m mutes, + and - change the
    volume, s tells what it sees, a what is ahead, h how it is, p pauses recording, f forgets five minutes, u opens the
    set-up, q quits."""
    pin: str = ""
    """Pin of a push button, as gpiozero names it (GPIO17). Empty = none."""
    press: str = "flag, correct"
    """What a short, a long and a double press of it do: flag, correct, repeat, mute, louder, quieter, sees, ahead,
    status, pause, forget, discard, setup, or - for nothing."""
    repeat_pin: str = ""
    """Pin of a second push button. Empty = none."""
    repeat_press: str = "repeat, mute"
    """What its presses do, in the same way."""
    pins: tuple[str, ...] = ()
    """More push buttons, each as "GPIO22: ahead, status"."""
    input: str = ""
    """Headset, presenter or pedal: its name, or its path under /dev/input/by-id. The rest of the system no longer gets
    its keys. Empty = none."""
    input_keys: tuple[str, ...] = ()
    """What its keys do, each as "playpause: flag, correct, discard". Empty = the usual keys of such devices."""
    pause_switch: str = ""
    """Pin of a switch that pauses recording while it is on, or the name of a switch of `input`. Empty = none."""
    hold_s: Annotated[float, Meta(ge=0.1, le=5)] = 0.6
    """A press longer than this is a long one."""
    double_s: Annotated[float, Meta(ge=0.1, le=2)] = 0.4
    """Two presses at most so far apart are a double one. Where that means anything, a short press waits so long."""
    script: str = ""
    """File with presses for a replay, one JSON object a line. Empty = none."""


@dataclass(frozen=True, slots=True)
class SentinelSection:
    """The process beside the agent that says when guidance stopped."""

    when: Literal["live", "always", "never"] = "live"
    """live: with a camera. always: also a replay in real time. never: nothing says that the agent died. Only where
    voice.speech is speakers."""
    output: str = ""
    """Its own way out: an ALSA output such as plughw:1, or part of a card's name. Empty = as voice.output, else the
    system's default."""
    heartbeat_every_s: float = 0.0
    """A soft tick this often while guidance lives, 1 to 60. 0 = none."""


@dataclass(frozen=True, slots=True)
class SetupSection:
    """Letting the device in by a QR code before its camera."""

    at_start: Literal["new", "never"] = "new"
    """new: codes are looked for while the device is not enrolled, and neither a model nor a broker is set. never: only
    after a press, or with --setup."""


@dataclass(frozen=True, slots=True)
class Config:
    device: DeviceSection = field(default_factory=DeviceSection)
    capture: CaptureSettings = field(default_factory=CaptureSettings)
    broker: BrokerSection = field(default_factory=BrokerSection)
    voice: VoiceSection = field(default_factory=VoiceSection)
    tactile: TactileSection = field(default_factory=TactileSection)
    guidance: GuidanceSection = field(default_factory=GuidanceSection)
    flags: FlagsSection = field(default_factory=FlagsSection)
    corrections: CorrectionsSection = field(default_factory=CorrectionsSection)
    privacy: PrivacySection = field(default_factory=PrivacySection)
    sync: SyncSection = field(default_factory=SyncSection)
    power: PowerSection = field(default_factory=PowerSection)
    buttons: ButtonsSection = field(default_factory=ButtonsSection)
    sentinel: SentinelSection = field(default_factory=SentinelSection)
    setup: SetupSection = field(default_factory=SetupSection)


def load(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read and check the settings. overrides: "section.key" → value, from the command line; None values are ignored.

    raises: ConfigError naming the setting, what is wrong and what to write instead
    """
    config = settings.read(Config(), path, overrides)
    check(config)
    return config


def check(config: Config) -> None:
    """Values that have a type but no sense. Raises: ConfigError."""
    if config.device.name and not topics.DEVICE_NAME.match(config.device.name):
        raise ConfigError(
            f"device.name is {config.device.name!r}.", hint="Use 1 to 32 lower-case letters, digits and hyphens."
        )
    if config.guidance.tick_every_s:
        settings.within("guidance.tick_every_s", config.guidance.tick_every_s, 2, 60)
    _check_words(config)
    profiles.check(config.guidance.profile, config.guidance.profiles)
    spoken_language(config)
    _check_tactile(config.tactile)
    if config.sentinel.heartbeat_every_s:
        settings.within("sentinel.heartbeat_every_s", config.sentinel.heartbeat_every_s, 1, 60)
    config.guidance.execution.check()
    config.capture.camera.check_ground()
    settings.within("sync.too_hot_c", config.sync.too_hot_c, config.sync.hot_c, 120)
    if config.broker.address:
        settings.address(config.broker.address)
    if config.capture.pace == "fast" and not config.capture.source.startswith("replay:"):
        raise ConfigError("capture.pace is fast, which is for a replay.", hint="Leave it out, or use replay:FILE.")
    if config.buttons.script and not config.capture.source.startswith("replay:"):
        raise ConfigError("buttons.script is for a replay.", hint="Leave it out, or use replay:FILE as the source.")


def _check_tactile(wanted: TactileSection) -> None:
    if wanted.motors == "none":
        return
    example = "GPIO12" if wanted.motors == "gpio" else "/dev/i2c-1"
    if not (wanted.left or wanted.right):
        raise ConfigError(
            f"tactile.motors is {wanted.motors}, and no motor is named.", hint=f'Write left = "{example}".'
        )
    for name, place in (("left", wanted.left), ("right", wanted.right)):
        if place and place.startswith("/") != (wanted.motors == "drv2605"):
            raise ConfigError(
                f"tactile.{name} is {place!r}, which is none of {wanted.motors}.", hint=f"Write for example {example}."
            )
    if wanted.left == wanted.right:
        raise ConfigError(f"tactile.left and tactile.right are both {wanted.left!r}.", hint="Leave one of them out.")


SILENT = {"speakers": "the sound card", "none": "captions only"}
NO_MODEL_WORD = 'Leave it empty ("") for the model that the server offered last, or name a folder.'


def _check_words(config: Config) -> None:
    """Text that is a name or a file unless it is one of a few words: a slip in one must not silence a walk."""
    speech, output = config.voice.speech, config.voice.output
    settings.refuse_near("voice.speech", speech, SILENT)
    if speech not in SILENT and not speech.lower().endswith(".wav"):
        raise ConfigError(
            f"voice.speech is {speech!r}.", hint="Use speakers, none, or a file whose name ends with .wav."
        )
    by_name = 'Leave it empty ("") for the system\'s default. To be silent: voice.speech = "none".'
    words = ("none", "off", "default", "speakers", "speaker", "auto")
    settings.refuse_near("voice.output", output, {}, instead=dict.fromkeys(words, by_name))
    settings.refuse_near(
        "capture.microphone",
        config.capture.microphone,
        {"": "", "default": "the system's default", "none": "record without sound"},
        instead={"off": "Did you mean none?", "no": "Did you mean none?", "auto": "Did you mean default?"},
    )
    models = ("none", "default", "auto", "server", "starter", "demo", "off")
    settings.refuse_near("guidance.model", config.guidance.model, {}, instead=dict.fromkeys(models, NO_MODEL_WORD))
    check_source(config.capture.source)


def spoken_language(config: Config) -> tuple[Language, str]:
    """(language, voice of espeak-ng). Raises: ConfigError with the list of languages, or what this one lacks."""
    own = config.voice.languages
    return languages.chosen(config.voice.language, Path(own).expanduser() if own else None)


def device_name(config: Config) -> str:
    """The configured name, or one made from the host name."""
    if config.device.name:
        return config.device.name
    plain = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:32].strip("-")
    return plain or "waycue"


def is_replay(config: Config) -> bool:
    """A recording is played: nobody walks by what is said."""
    return config.capture.source.startswith("replay:")


def state_folder(config: Config) -> Path:
    """Where this device keeps what must survive a restart. It need not exist yet."""
    if config.device.state:
        return Path(config.device.state).expanduser()
    service = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if service:
        return Path(service)
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "waycue-device"
