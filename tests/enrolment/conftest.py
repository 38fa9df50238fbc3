"""A server that lets devices in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from device.identity import enrol as enrolling
from device.identity.identity import Identity
from server.database.store import Store, open_store
from server.identity.authority import Authority
from server.identity.certificates import Certificates
from server.identity.claims import Claims
from server.identity.enrol_http import EnrolmentService
from shared import atomic
from shared.clock import ManualClock, SystemClock
from shared.floor import ClockFloor
from tests.enrolment.quick import ROOT


@dataclass(frozen=True, slots=True)
class Desk:
    """book, certificates: without the network; address: where devices ask."""

    clock: ManualClock
    store: Store
    certificates: Certificates
    book: Claims
    address: tuple[str, int]
    folder: Path

    @property
    def server(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def enrol(
        self, code: str, device: str = "pi-1", *, server: str = "", step: atomic.Step = atomic.no_step
    ) -> Identity:
        """As `waycue-device enroll` on the one device of this test."""
        clock = SystemClock()
        invitation = enrolling.Invitation(server or self.server, code, device)
        floor = ClockFloor(self.state, clock)
        return enrolling.enrol(self.state, invitation, clock=clock, floor=floor, crash_point=step)

    @property
    def state(self) -> Path:
        return self.folder / "device"


@pytest.fixture(scope="session")
def fresh_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a database and an authority: copied, it saves each test the migrations."""
    home = tmp_path_factory.mktemp("fresh") / "home"
    open_store(home).close()
    Authority.make(home, clock=SystemClock())
    return home


@pytest.fixture
def desk(tmp_path: Path, fresh_home: Path) -> Iterator[Desk]:
    clock = ManualClock(epoch_s=SystemClock().utc_s())
    shutil.copytree(fresh_home, tmp_path / "home")
    store = open_store(tmp_path / "home")
    authority = Authority(tmp_path / "home", clock=clock)
    certificates = Certificates(store, authority, clock=clock)
    book = Claims(certificates, root=lambda: ROOT)
    service = EnrolmentService(book, address=("127.0.0.1", 0), broker=":8883", clock=SystemClock())
    address = service.start()
    yield Desk(clock, store, certificates, book, address, tmp_path)
    service.stop()
    store.close()
