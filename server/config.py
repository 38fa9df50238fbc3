"""The settings of waycue-server: `<home>/waycue.toml`, checked once at start, then frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from server.access.settings import AccessSettings
from server.broker.settings import BrokerSettings
from server.consent.settings import ConsentSettings
from server.database import settings as database_settings
from server.database.settings import DatabaseSettings
from server.dataset.groups import SplitBy
from server.gate.settings import BudgetSettings, FloorSettings
from server.home_assistant.settings import HomeAssistantSection
from server.ingest.limits import LimitsSettings
from server.learn.settings import LearnSettings
from server.logs import LogSection
from server.metrics.settings import MetricsSection
from server.privacy.space_settings import SpaceSettings
from server.review import llm_settings
from server.review.llm_settings import LlmSettings
from server.speech.opening import check_language
from server.telling.settings import TellingSection
from server.web.reached import PageReach, TlsChoice, reach_of
from shared import atomic, languages, settings
from shared.errors import ConfigError
from shared.languages import Language

FILE = database_settings.SETTINGS_FILE
DEFAULT_WEB_PORT = 8080


@dataclass(frozen=True, slots=True)
class EnrolSection:
    """How devices are let in."""

    address: str = "0.0.0.0:8443"
    """HOST:PORT on which devices enrol. Empty = none can be added."""
    broker: str = ""
    """HOST:PORT of the broker, as devices are told it. Empty = the host under which they reached this server, with the
    port of `broker.address`."""
    certificate_days: Annotated[float, Meta(ge=1, le=3650)] = 90.0
    """Life of a device's certificate, 1 to 3650. A device renews it when a third is left."""
    announce: bool = True
    """Say in the network, by multicast DNS, that a waycue server is here: a device whose code names an old address
    finds it then. An address of this machine alone is never announced."""


@dataclass(frozen=True, slots=True)
class IngestSection:
    """Who takes in what devices send."""

    shared: bool = False
    """Several processes take in side by side: `run`, and `waycue-server ingest` beside it, each the devices of its
    share. The broker then keeps nothing for a server that is away; devices send it again."""
    lease_s: Annotated[float, Meta(ge=1, le=600)] = 10.0
    """With `shared`: after so many seconds without a sign of a process the others take its devices over, 1 to 600."""


@dataclass(frozen=True, slots=True)
class WebSection:
    """The review page."""

    address: str = "127.0.0.1:8080"
    """HOST:PORT that the page is served on. Beyond loopback it asks for accounts from its start on."""
    hosts: str = ""
    """Other names under which a browser may reach the page, separated by commas."""
    tls: TlsChoice = "auto"
    """TLS with a certificate of this server's own authority: on, off, or auto = on wherever others can reach the page,
    unless it is behind a proxy."""
    proxies: str = ""
    """Addresses of the proxies before the page, separated by commas: what they say about their clients
    (X-Forwarded-For, X-Forwarded-Proto) is believed. Empty = nobody's word is."""
    url: str = ""
    """Address under which people find the page, for the links that are printed. Empty = this machine's own."""


@dataclass(frozen=True, slots=True)
class SpeechSection:
    """How spoken corrections become words."""

    recogniser: Literal["auto", "pocketsphinx", "whisper", "both", "none"] = "auto"
    """auto (both where the extra server-whisper is installed, else pocketsphinx), pocketsphinx (embedded, with a
    grammar made from the vocabulary), whisper (needs a model), both, or none."""
    model: str = ""
    """For whisper and both: a model's name on the hub, a folder, or packaged (the extra server-whisper). For
    pocketsphinx in another language than English: a folder with an acoustic model of it and a dictionary."""
    language: str = "en"
    """Language in which wearers speak and type corrections: de, en or es."""
    languages: str = ""
    """Folder with languages of your own, one folder each. Empty = those that come along."""


@dataclass(frozen=True, slots=True)
class DatasetSection:
    """How moments become a dataset."""

    split_by: SplitBy = "walk"
    """What never both teaches and judges: a walk, a place or a wearer. It counts for walks that come from then on, and
    for what a person decides about walks."""


@dataclass(frozen=True, slots=True)
class ExportSection:
    """What may leave this server (`export --for others`)."""

    agreed: str = ""
    """Wearers who agreed that all their moments are handed on, separated by commas. A single moment may leave where its
    own `consent` is "share". Everything else stays."""
    licence: str = "unknown"
    """Licence that exports are under, as Hugging Face spells it ("cc-by-4.0"): it stands on their cards."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """All sections."""

    broker: BrokerSettings = field(default_factory=BrokerSettings)
    enrol: EnrolSection = field(default_factory=EnrolSection)
    ingest: IngestSection = field(default_factory=IngestSection)
    limits: LimitsSettings = field(default_factory=LimitsSettings)
    web: WebSection = field(default_factory=WebSection)
    access: AccessSettings = field(default_factory=AccessSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    speech: SpeechSection = field(default_factory=SpeechSection)
    dataset: DatasetSection = field(default_factory=DatasetSection)
    export: ExportSection = field(default_factory=ExportSection)
    consent: ConsentSettings = field(default_factory=ConsentSettings)
    space: SpaceSettings = field(default_factory=SpaceSettings)
    llm: LlmSettings = field(default_factory=LlmSettings)
    learn: LearnSettings = field(default_factory=LearnSettings)
    gate: FloorSettings = field(default_factory=FloorSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    log: LogSection = field(default_factory=LogSection)
    telling: TellingSection = field(default_factory=TellingSection)
    metrics: MetricsSection = field(default_factory=MetricsSection)
    homeassistant: HomeAssistantSection = field(default_factory=HomeAssistantSection)


TEMPLATE = """\
# Settings of waycue-server. Every setting is described in docs/settings.md; what is left out stays at its default.

[broker]
# address = "127.0.0.1:8883"

[enrol]
# address = "0.0.0.0:8443"     # devices enrol here; everything else goes through the broker

[ingest]
# shared = true      # more processes take in: waycue-server ingest

[limits]
# day_mb = 20000     # per device

[web]
# address = "0.0.0.0:8080"      # for others too, with TLS and accounts; by default this machine alone

[speech]
# recogniser = "both"      # needs the extra server-whisper

[llm]
# url = "http://127.0.0.1:8081/v1"     # proposes wordings where the rules find none; people decide

[gate]
# tier1_cases = 50     # held-out moments of things to stop for, before a model is offered to everybody

[budget]
# look_ms = 500        # what a look may take on a device

[learn]
# base = "starter"     # a demonstration model; for the field: "HuggingFaceTB/SmolVLM2-256M-Video-Instruct"
"""


def init(home: Path) -> bool:
    """Make `home` with its settings file, if it has none yet. Returns whether it was made. Raises: OSError."""
    if (home / FILE).exists():
        return False
    atomic.write_bytes(home / FILE, TEMPLATE.encode())
    return True


def load(home: Path, overrides: dict[str, Any] | None = None) -> ServerConfig:
    """The settings of an initialised home. Raises: ConfigError saying what to do."""
    if not (home / FILE).is_file():
        raise ConfigError(
            f"{home} is no waycue server yet.", hint=f"Make it one with: waycue-server --home {home} init"
        )
    config = settings.read(ServerConfig(), home / FILE, overrides)
    config.broker.host_port()
    database_settings.url_of(config.database)
    page_reach(config)
    for what, address in (("enrol.address", config.enrol.address), ("enrol.broker", config.enrol.broker)):
        if address:
            settings.address(address, what=what)
    if config.speech.recogniser == "whisper" and not config.speech.model:
        raise ConfigError(
            "speech.recogniser is whisper, but speech.model is empty.", hint='Write for example "openai/whisper-tiny".'
        )
    llm_settings.check(config.llm)
    language = spoken_language(config)
    if config.speech.recogniser in ("auto", "pocketsphinx") and language.tables is not None and not config.speech.model:
        raise ConfigError(
            f"pocketsphinx comes with a model of English, and speech.language is {config.speech.language!r}.",
            hint="Name a folder with one of that language in speech.model, or set speech.recogniser to whisper.",
        )
    check_language(config.speech.recogniser, config.speech.model, language)
    return config


def page_reach(config: ServerConfig) -> PageReach:
    """How the review page is reached. Raises: ConfigError where its settings do not go together."""
    web = config.web
    address = settings.address(web.address, what="web address", default_port=DEFAULT_WEB_PORT)
    return reach_of(address, tls=web.tls, proxies=web.proxies, names=web.hosts, url=web.url)


def spoken_language(config: ServerConfig) -> Language:
    """Of the wearers' corrections. Raises: ConfigError with the list of languages, or what this one lacks."""
    own = config.speech.languages
    return languages.load(config.speech.language, Path(own).expanduser() if own else None)
