"""What `waycue-server run` does about a device's status."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from server import run
from server.config import ServerConfig
from server.database.store import open_store
from server.ingest.ingest import Ingest
from server.ingest.leases import Leases
from server.ingest.share import Share
from server.releases.offers import Offers
from server.releases.registry import Registry
from shared import messages, mqtt, topics
from shared.clock import ManualClock
from shared.messages import Status
from shared.topics import Reply
from tests.link.depot import Depot

DEVICE = "pi-1"


class Ear:
    """What a share subscribes to."""

    def __init__(self) -> None:
        self.heard: set[str] = set()

    def hear(self, filters: Sequence[str]) -> None:
        self.heard |= set(filters)

    def unhear(self, filters: Sequence[str]) -> None:
        self.heard -= set(filters)

    def do(self, work: Callable[[], list[Reply]]) -> None:
        work()


def test_a_device_is_heard_also_where_its_status_cannot_be_written(tmp_path: Path) -> None:
    """Who came while the database was away was met by nobody, and what it sent went to nobody."""

    def put_statuses(_statuses: Mapping[str, Status]) -> None:
        raise OSError("the database is away")

    with (
        closing(open_store(tmp_path)) as store,
        closing(Ingest(tmp_path / "incoming", Depot(tmp_path / "depot"), restores=False)) as ingest,
    ):
        share, ear = Share(ingest, Leases(store, ManualClock(), "waycue-server", lease_s=10.0)), Ear()
        share.link = ear
        share.round()
        offers = Offers(Registry(tmp_path, store=store), clock=ManualClock())
        link = run._link(ServerConfig(), None, ingest, share, offers, put_statuses)
        status = Status(online=True)
        link.on_message(mqtt.MessageReceived(topics.status(DEVICE), messages.encode(status), 1, 1))
        link._hand_on({DEVICE: status})
        assert link.counters["handler_errors"] == 1
    assert ear.heard == set(topics.intake(DEVICE))
