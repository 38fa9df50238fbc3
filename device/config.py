"""The settings of waycue-device: one TOML file, checked once at start, then frozen.

Order: the defaults here, the file, the command line. An unknown section or key is an error with a hint at the nearest
known one: a setting with a slip in its name must not silently stay at its default.
"""

from __future__ import annotations

import difflib
import os
import re
import socket
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from device.voice.espeak import FASTEST_WPM, SLOWEST_WPM
from shared import topics
from shared.errors import ConfigError

DEFAULT_PORT = 1883


@dataclass(frozen=True, slots=True)
class DeviceSection:
    """Who this device is."""

    name: str = ""
    """Its name on the network: lower-case letters, digits and hyphens. Empty = from the host name."""
    wearer: str = ""
    """Who wears it, as the server knows them."""
    consent: str = "own-device"
    """What the wearer agreed to for flagged moments; travels with each."""
    context: str = ""
    """A note that travels with each flagged moment, such as the route."""
    state: str = ""
    """Folder for the outbox, models and phrases. Empty = $STATE_DIRECTORY, or ~/.local/state/waycue-device."""


@dataclass(frozen=True, slots=True)
class CaptureSection:
    """Where pictures and sound come from."""

    source: str = "camera:0"
    """replay:FILE, camera:INDEX (or /dev/videoN, or a GStreamer pipeline), picamera2, or none: sync and update only."""
    pace: Literal["real", "fast"] = "real"
    """Of a replay: as it was recorded, or as fast as guidance can look."""
    microphone: str = "default"
    """Name or number of the microphone of a camera; none = record without sound."""
    width_px: int = 640
    """Width asked of the camera."""
    height_px: int = 480
    """Height asked of the camera."""
    fps: float = 15.0
    """Pictures a second asked of the camera."""
    rotate_deg: int = 0
    """Turns the camera's picture clockwise: 0, 90, 180 or 270."""
    clips: bool = True
    """Whether flagged chunks come with a short video; off saves a third of a Pi's processor."""


@dataclass(frozen=True, slots=True)
class BrokerSection:
    """The way to the server."""

    address: str = ""
    """HOST:PORT of the MQTT broker. Empty = no server: flagged moments wait on the device."""


@dataclass(frozen=True, slots=True)
class VoiceSection:
    """How it speaks."""

    speech: str = "speakers"
    """speakers, none (captions only), or a WAV file to write the speech into."""
    output: str = ""
    """Name or number of the sound output. Empty = the system's default."""
    language: str = "en-us"
    """Voice of espeak-ng (see `espeak-ng --voices`)."""
    words_per_minute: int = 190
    """Speaking rate, 120 to 400."""
    warning_words_per_minute: int = 165
    """Warnings are never spoken faster than this, 120 to 400."""
    earcons: bool = True
    """A short sound before warnings and state changes, and in answer to the button."""


@dataclass(frozen=True, slots=True)
class GuidanceSection:
    """What it says, and how often it looks."""

    model: str = ""
    """Folder of a model bundle to use. Empty = the one that the server offered last."""
    allow_demo_model: bool = False
    """Let a demonstration model guide a real walk. Only in a safe place, with a sighted companion."""
    looks_per_s: float = 4.0
    """Pictures looked at each second, 0.5 to 15."""
    threads: int = 2
    """Processor threads of the model."""
    verbosity: Literal["warnings", "obstacles", "all"] = "all"
    """warnings: only what to stop for. obstacles: also what is in or beside the way. all: landmarks too."""
    words_per_minute_max: int = 60
    """Most words a minute about obstacles and landmarks; warnings always come through."""
    repeat_after_s: float = 10.0
    """The same thing at the same side is not said again before this."""
    say_clear: bool = False
    """Whether "path is clear" may be said. Off: silence and the cane are safer."""
    hazard_above: float | None = None
    """Score above which a hazard counts as seen, 0 to 1. Not set = as calibrated for the model."""
    speak_above: float | None = None
    """Confidence that worded guidance needs, 0 to 1. Not set = as calibrated for the model."""
    flag_below: float | None = None
    """Confidence below which a moment is kept for review, 0 to 1. Not set = as calibrated for the model."""
    switch_while_walking: bool = True
    """Whether an updated model may take over between two looks of a walk. Off: at the next start."""


@dataclass(frozen=True, slots=True)
class FlagsSection:
    """Which moments are kept for review."""

    predecessors: int = 1
    """Chunks of 2 s kept before a flagged one, 0 to 30."""
    audit_share: float = 0.05
    """Share of all chunks kept at random, 0 to 1: the only unbiased view of accuracy."""
    low_confidence_share: float = 0.2
    """Most chunks kept because the model was unsure, as a share of all, 0 to 1."""
    longest_correction_s: float = 20.0
    """A spoken correction ends by itself after this, 1 to 28."""


@dataclass(frozen=True, slots=True)
class ButtonsSection:
    """What the wearer presses."""

    keys: bool = True
    """Keys of the terminal: space flags, c begins and ends a correction, r repeats, m mutes, q quits."""
    pin: str = ""
    """Pin of a push button, as gpiozero names it (GPIO17): short press flags, long press corrects. Empty = none."""
    hold_s: float = 0.6
    """A press longer than this is a correction."""
    script: str = ""
    """File with presses for a replay, one JSON object a line. Empty = none."""


@dataclass(frozen=True, slots=True)
class Config:
    """All sections."""

    device: DeviceSection = field(default_factory=DeviceSection)
    capture: CaptureSection = field(default_factory=CaptureSection)
    broker: BrokerSection = field(default_factory=BrokerSection)
    voice: VoiceSection = field(default_factory=VoiceSection)
    guidance: GuidanceSection = field(default_factory=GuidanceSection)
    flags: FlagsSection = field(default_factory=FlagsSection)
    buttons: ButtonsSection = field(default_factory=ButtonsSection)


def load(path: Path | None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read and check the settings. overrides: "section.key" → value, from the command line; None values are ignored.

    raises: ConfigError naming the setting, what is wrong and what to write instead
    """
    raw: dict[str, Any] = {} if path is None else _parse(path)
    where = str(path or "the command line")
    config = Config()
    sections = {item.name: item for item in fields(Config)}
    for name, table in raw.items():
        if name not in sections:
            raise ConfigError(f"{where}: there is no section [{name}].", hint=_nearest(name, sections))
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: {name} must be a section.", hint=f"Write [{name}] on a line of its own.")
        config = replace(config, **{name: _section(getattr(config, name), table, f"{where}: {name}")})
    for dotted, value in (overrides or {}).items():
        if value is not None:
            name, key = dotted.split(".")
            config = replace(
                config, **{name: _section(getattr(config, name), {key: value}, "the command line: " + name)}
            )
    check(config)
    return config


def check(config: Config) -> None:
    """Values that have a type but no sense. Raises: ConfigError."""
    if config.device.name and not topics.DEVICE_NAME.match(config.device.name):
        raise ConfigError(
            f"device.name is {config.device.name!r}.", hint="Use 1 to 32 lower-case letters, digits and hyphens."
        )
    _within("voice.words_per_minute", config.voice.words_per_minute, SLOWEST_WPM, FASTEST_WPM)
    _within("voice.warning_words_per_minute", config.voice.warning_words_per_minute, SLOWEST_WPM, FASTEST_WPM)
    _within("guidance.looks_per_s", config.guidance.looks_per_s, 0.5, 15)
    _within("guidance.threads", config.guidance.threads, 1, 64)
    _within("guidance.words_per_minute_max", config.guidance.words_per_minute_max, 0, 400)
    _within("guidance.repeat_after_s", config.guidance.repeat_after_s, 1, 600)
    for name in ("hazard_above", "speak_above", "flag_below"):
        value = getattr(config.guidance, name)
        if value is not None:
            _within(f"guidance.{name}", value, 0, 1)
    _within("flags.predecessors", config.flags.predecessors, 0, 30)
    _within("flags.audit_share", config.flags.audit_share, 0, 1)
    _within("flags.low_confidence_share", config.flags.low_confidence_share, 0, 1)
    _within("flags.longest_correction_s", config.flags.longest_correction_s, 1, 28)
    _within("buttons.hold_s", config.buttons.hold_s, 0.1, 5)
    if config.broker.address:
        broker_address(config.broker.address)
    if config.capture.pace == "fast" and not config.capture.source.startswith("replay:"):
        raise ConfigError("capture.pace is fast, which is for a replay.", hint="Leave it out, or use replay:FILE.")
    if config.buttons.script and not config.capture.source.startswith("replay:"):
        raise ConfigError("buttons.script is for a replay.", hint="Leave it out, or use replay:FILE as the source.")


def broker_address(text: str) -> tuple[str, int]:
    """(host, port) of HOST, HOST:PORT or [IPV6]:PORT. Raises: ConfigError."""
    found = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\[\]\s]+)(?::([0-9]{1,5}))?", text)
    port = int(found[2] or DEFAULT_PORT) if found else 0
    if found is None or not 0 < port < 65536:
        raise ConfigError(f"The broker address {text!r} is not HOST:PORT.", hint="Write for example 192.168.1.10:1883.")
    return found[1].strip("[]"), port


def device_name(config: Config) -> str:
    """The configured name, or one made from the host name."""
    if config.device.name:
        return config.device.name
    plain = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:32].strip("-")
    return plain or "waycue"


def state_folder(config: Config) -> Path:
    """Where this device keeps what must survive a restart. It need not exist yet."""
    if config.device.state:
        return Path(config.device.state).expanduser()
    service = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if service:
        return Path(service)
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "waycue-device"


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The settings {path} cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The settings {path} are not TOML: {error}.", hint='Write for example: name = "anna"'
        ) from None


def _section(section: Any, table: Mapping[str, Any], where: str) -> Any:
    hints = get_type_hints(type(section))
    for key, value in table.items():
        if key not in hints:
            raise ConfigError(f"{where}.{key} is no setting.", hint=_nearest(key, hints))
        section = replace(section, **{key: _typed(hints[key], value, f"{where}.{key}")})
    return section


def _typed(hint: Any, value: Any, where: str) -> Any:
    """`value` as the field's type; an integer will do for a float."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"{where} is {value!r}.", hint=f"Use one of: {', '.join(get_args(hint))}.")
        return value
    kinds = [kind for kind in get_args(hint) if kind is not type(None)] if _is_union(hint) else [hint]
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) in kinds:
        return value
    wanted = {"str": "text in quotes", "int": "a whole number", "float": "a number", "bool": "true or false"}
    raise ConfigError(f"{where} is {value!r}.", hint=f"It must be {wanted[kinds[0].__name__]}.")


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{name} is {value}.", hint=f"It must be {least:g} to {most:g}.")


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(known)}."
