"""The settings of waycue-server: `<home>/waycue.toml`, checked once at start, then frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from server.learn.settings import LearnSettings
from shared import atomic, settings
from shared.errors import ConfigError

FILE = "waycue.toml"
DEFAULT_WEB_PORT = 8080


@dataclass(frozen=True, slots=True)
class BrokerSection:
    """The MQTT broker that devices reach."""

    address: str = "127.0.0.1:1883"
    """HOST:PORT of the broker."""


@dataclass(frozen=True, slots=True)
class WebSection:
    """The review page."""

    address: str = "127.0.0.1:8080"
    """HOST:PORT that the page is served on. Loopback by default: it has no accounts yet."""
    hosts: str = ""
    """Other names under which a browser may reach the page, separated by commas."""


@dataclass(frozen=True, slots=True)
class SpeechSection:
    """How spoken corrections become words."""

    recogniser: Literal["pocketsphinx", "whisper", "none"] = "pocketsphinx"
    """pocketsphinx (embedded, with a grammar made from the vocabulary), whisper (needs a model), or none."""
    model: str = ""
    """For whisper: a model's name on the hub, or a folder."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """All sections."""

    broker: BrokerSection = field(default_factory=BrokerSection)
    web: WebSection = field(default_factory=WebSection)
    speech: SpeechSection = field(default_factory=SpeechSection)
    learn: LearnSettings = field(default_factory=LearnSettings)


TEMPLATE = """\
# Settings of waycue-server. Every setting is described in docs/settings.md; what is left out stays at its default.

[broker]
# address = "127.0.0.1:1883"

[web]
# address = "127.0.0.1:8080"

[speech]
# recogniser = "pocketsphinx"

[learn]
# base = "starter"     # a demonstration model; for the field: "HuggingFaceTB/SmolVLM2-256M-Video-Instruct"
"""


def init(home: Path) -> bool:
    """Make `home` with its settings file, if it has none yet. Returns whether it was made. Raises: OSError."""
    if (home / FILE).exists():
        return False
    atomic.write_bytes(home / FILE, TEMPLATE.encode())
    return True


def load(home: Path, overrides: dict[str, str | None] | None = None) -> ServerConfig:
    """The settings of an initialised home. Raises: ConfigError saying what to do."""
    if not (home / FILE).is_file():
        raise ConfigError(
            f"{home} is no waycue server yet.", hint=f"Make it one with: waycue-server --home {home} init"
        )
    config = settings.read(ServerConfig(), home / FILE, overrides)
    settings.address(config.broker.address)
    settings.address(config.web.address, what="web address", default_port=DEFAULT_WEB_PORT)
    settings.within("learn.new_rows_least", config.learn.new_rows_least, 1, 1_000_000)
    settings.within("learn.steps", config.learn.steps, 1, 1_000_000)
    settings.within("learn.rank", config.learn.rank, 1, 1024)
    settings.within("learn.threads", config.learn.threads, 1, 256)
    if config.speech.recogniser == "whisper" and not config.speech.model:
        raise ConfigError(
            "speech.recogniser is whisper, but speech.model is empty.", hint='Write for example "openai/whisper-tiny".'
        )
    return config
