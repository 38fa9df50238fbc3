"""What watches over a running server and tells of it: pages for admins, messages to people, metrics, Home Assistant.

Nothing of it is needed for taking in moments or for reviewing them: what fails here is logged, and tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from server import config as server_config
from server.admin import storage
from server.admin.gathered import WatchedHome
from server.admin.nights import NightControl
from server.admin.reckoned import Reckoned
from server.admin.settings_file import SettingsFile
from server.broker import files as broker_files
from server.broker.room import BrokerRoom
from server.broker.settings import BrokerSettings
from server.config import ServerConfig
from server.database.store import Store
from server.dataset import help_calls
from server.dataset.folder import Dataset
from server.home_assistant import entities
from server.home_assistant import link as home_assistant
from server.home_assistant.link import HomeAssistantLink
from server.identity import reached
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from server.identity.claims import Claims
from server.ingest.limits import MB
from server.metrics import settings as metrics_settings
from server.metrics.collected import MetricSources, ServerMetrics
from server.privacy.plans import DeletionKind, PlanCounts
from server.releases.registry import Registry
from server.releases.rollouts import Rollouts
from server.telling import look, loop
from server.telling.loop import Telling, TellingWays
from server.telling.push import PushWay
from server.telling.step import NewsItem
from server.web.admin_desk import AdminDesk
from shared.background import Background
from shared.clock import Clock

STORAGE_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Watch:
    """All that watches over one server."""

    desk: AdminDesk
    telling: Telling
    config: ServerConfig

    def start(self, stack: ExitStack) -> None:
        """Begin; the stack ends it. Raises: ConfigError for settings of Home Assistant that cannot be."""
        self._begin(stack, loop.LOOK_S, self.telling.tick, "telling", loop.LEFT_AFTER_S)
        self._begin(stack, STORAGE_EVERY_S, lambda: _note_storage(self.desk), "storage")
        stack.callback(self.desk.nights.close)
        stack.callback(self.desk.reckoned.close)
        section = self.config.homeassistant
        if section.broker:
            watched = self.desk.watched
            link = HomeAssistantLink(section, lambda: entities.wanted(watched.devices(), prefix=section.prefix))
            link.start()
            stack.callback(link.stop)
            self._begin(stack, home_assistant.EVERY_S, link.round, "home assistant")

    def counted(self, what: DeletionKind, name: str) -> PlanCounts | None:
        """What the deletion of a walk or a wearer comes to; None while it is counted."""
        found: PlanCounts | None = self.desk.reckoned.get("deletion", f"{what} {name}").value
        return found

    @staticmethod
    def _begin(
        stack: ExitStack, every_s: float, call: Callable[[], object], name: str, left_after_s: float = 10.0
    ) -> None:
        background = Background.every(every_s, call, name=name)
        background.start()
        stack.callback(background.close, left_after_s)


def watch(
    registry: Registry, dataset: Dataset, config: ServerConfig, clock: Clock, broker_reached: Callable[[], bool]
) -> Watch:
    """For the home of a registry. Raises: ConfigError, such as for a token that is too short; OSError."""
    home, store = registry.home, registry.store
    certificates = Certificates(
        store, Authority.make(home, clock=clock), clock=clock, days=config.enrol.certificate_days
    )
    watched = WatchedHome(
        store,
        registry,
        Claims(certificates),
        clock,
        config.broker.address,
        broker_reached,
        config.space,
        config.limits.free_mb * MB,
        lambda enrolled: _broker_room(home, config.broker, enrolled),
    )
    push = PushWay(home, store, clock, config.telling)
    telling = Telling(
        home,
        lambda: _look(watched),
        clock,
        link=config.telling.link,
        ways=TellingWays(push=push),
        called=partial(_called, store),
    )
    desk = AdminDesk(
        watched=watched,
        dataset=dataset,
        reckoned=Reckoned(store, clock),
        rollouts=Rollouts(registry, clock=clock),
        nights=NightControl(home, store),
        settings=settings_file(home, config),
        telling=telling,
        push=push,
        metrics=ServerMetrics(MetricSources(store, watched.devices, broker_reached, clock.utc_s, watched.outlook)),
        enrolment_address=lambda: reached.enrolment_address(None, config.enrol.address),
        may_enrol=config.broker.tls and bool(config.enrol.address),
        metrics_token=metrics_settings.token_of(config.metrics),
    )
    return Watch(desk, telling, config)


def _broker_room(home: Path, settings: BrokerSettings, enrolled: int) -> BrokerRoom | None:
    return broker_files.look(settings.files(home), enrolled, queued=settings.queued) if settings.tls else None


def settings_file(home: Path, running: ServerConfig) -> SettingsFile:
    """The settings as the page changes them. running: what the server was started with"""
    return SettingsFile(home / server_config.FILE, running=running, check=server_config.load)


def _called(store: Store) -> int:
    with store.reading() as connection:
        return help_calls.newest(connection)


def _look(watched: WatchedHome) -> tuple[NewsItem, ...]:
    now_utc = watched.clock.utc_s()
    devices, ends = watched.devices(), watched.ends()
    return look.items(look.gathered(watched.store, devices, ends, now_utc=now_utc, disk=watched.outlook()))


def _note_storage(desk: AdminDesk) -> None:
    used = desk.reckoned.fresh("storage")
    if used is not None:
        storage.noted(desk.watched.store, used, day=_day(desk.watched.clock))


def _day(clock: Clock) -> str:
    return datetime.fromtimestamp(clock.utc_s(), UTC).date().isoformat()
