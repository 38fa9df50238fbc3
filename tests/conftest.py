"""Fixtures that several areas share: the real outside parts, each in a child process of the test's own."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from server.broker.child import BrokerChild, find_mosquitto
from shared import bundle, file_lock
from tests.pulse import PulseChild, missing, rescan

if TYPE_CHECKING:
    from tests.homes import PostgresHomes
    from tests.postgres import PostgresChild
    from tests.secure import SecureSite

FULL = "starter-full"

# A busy machine is slow, which is no fault.
settings.register_profile("waycue", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("waycue")


def pytest_configure() -> None:
    """A shell starts background jobs with SIGINT and SIGQUIT ignored, and children inherit that: the Ctrl-C that
    several tests send to a child would do nothing. A handler is not inherited over exec, so children then start with
    the default.

    Importing and collecting make no garbage worth a collection: pytest_collection_finish turns the collector on."""
    gc.disable()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: a worker that began one last would let the other wait for it."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """What was imported and collected stays: a million objects, which the collector need not go through again and
    again. Doing so took a fifth of the tests' own processor time."""
    if "server.database.migrating" in sys.modules:  # else no test here has a home
        from tests import migrated

        migrated.install()
    gc.enable()
    _set_aside()


@pytest.hookimpl(trylast=True)  # once the fixtures of the file are gone
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Nor what the tests of a file imported: a training, which collects by itself, took eight times as long after
    thousands of other tests."""
    if nextitem is not None and nextitem.path != item.path:
        _set_aside()


def _set_aside() -> None:
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What must hold of SQLite and of PostgreSQL is marked `both_databases`, and runs on either; what takes long on
    the latter with `soak=True` in the soak."""
    marker = metafunc.definition.get_closest_marker("both_databases")
    if marker:
        late = [pytest.mark.soak] if marker.kwargs.get("soak") else []
        kinds = ["sqlite", pytest.param("postgresql", marks=late)]
        metafunc.parametrize("database", kinds, indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresChild]:
    """A running PostgreSQL: started once, because making its data takes a second."""
    from tests.postgres import MISSING, PostgresChild, installed

    if not installed():
        pytest.skip(MISSING)
    child = PostgresChild()
    child.start()
    try:
        yield child
    finally:
        child.remove()


@pytest.fixture(scope="session")
def postgres_homes(postgres: PostgresChild) -> PostgresHomes:
    """Which databases the homes have that are opened while a test runs on PostgreSQL."""
    from tests.homes import PostgresHomes

    return PostgresHomes(postgres)


@pytest.fixture(autouse=True)
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Which database homes have that are opened from now on: with PostgreSQL each gets one of its own, and settings
    that name it."""
    # To look at any other test: WAYCUE_TESTS_DATABASE=postgresql
    kind: str = getattr(request, "param", os.environ.get("WAYCUE_TESTS_DATABASE", "sqlite"))
    if kind == "sqlite":
        yield kind
        return
    homes: PostgresHomes = request.getfixturevalue("postgres_homes")
    from server.database import ending
    from server.database import settings as database_settings

    monkeypatch.setattr(database_settings, "of_home", homes.of_home)
    with ending.closed_at_the_end():  # as by a command: psycopg warns of a connection that is dropped
        yield kind
    homes.drop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerChild]:
    """A running Mosquitto on a free loopback port; stop(), kill() and start() keep the port."""
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    child = BrokerChild(tmp_path / "broker")
    child.start()
    try:
        yield child
    finally:
        child.stop()


@pytest.fixture
def secure_broker(tmp_path: Path) -> Iterator[SecureSite]:
    """A Mosquitto with mutual TLS, configured as in the field, and the server's door; `enrol` lets devices in."""
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    from tests.secure import secure_site  # brings the database along: only those who ask pay

    with secure_site(tmp_path / "secure") as site:
        yield site


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where the machine has one; else tmp_path.

    For tests that write durably very often: a killed process leaves the same files behind on either, and fsync is free.
    """
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(prefix="waycue-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def pulse_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulseChild]:
    """The PulseAudio daemon behind `pulse`: started once, because it takes a second."""
    if missing():
        pytest.skip(missing())
    child = PulseChild(tmp_path_factory.mktemp("pulse"))
    child.start()
    try:
        yield child
    finally:
        child.stop()


@pytest.fixture
def pulse(pulse_daemon: PulseChild, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseChild]:
    """A real sound system: this process and its children find it as the default speaker and microphone."""
    for name, value in pulse_daemon.env.items():
        monkeypatch.setenv(name, value)
    rescan()
    yield pulse_daemon
    pulse_daemon.thaw()
    monkeypatch.undo()
    rescan()


@pytest.fixture(scope="session")
def starter_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's folder with the shipped starter exported and registered as champion (about 40 s of processor time).

    It is made once, also where several processes run the tests: each then has a copy.
    Shared by the tests of a process: a test that changes anything copies it first.
    """
    common = _together(tmp_path_factory)
    made, home = common / "starter-made", tmp_path_factory.mktemp("starter") / "home"
    with file_lock.locked(common / "starter.lock"):
        if not made.exists():
            _make_starter(common / "starter-half")
            (common / "starter-half").rename(made)
        shutil.copytree(made, home)
    return home


@pytest.fixture(scope="session")
def starter_full(starter_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter's bundle in float32, out of which that of `starter_home` was quantised. Read only."""
    return _together(tmp_path_factory) / FULL


def _together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all processes of this run share."""
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return Path(os.environ.get("WAYCUE_TESTS_TOGETHER", common))  # of several runs at once: scripts/test


def _make_starter(home: Path) -> None:
    import torch

    from server.learn import bundles  # torch takes seconds to import: only those who ask pay

    for folder in (home, home.parent / FULL):
        shutil.rmtree(folder, ignore_errors=True)  # of a process that failed
    home.mkdir()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the model is too small to share, and threads that wait for a busy core cost minutes
    bundles.add_starter(home, progress=lambda text: _keep_full(home))
    torch.set_num_threads(threads)


def _keep_full(home: Path) -> None:
    """At each step: the float32 bundle lies where it was made only until all is done. To export it anew takes 10 s."""
    work, kept = home / "nights" / "starter" / "float", home.parent / FULL
    if (work / bundle.MANIFEST_NAME).exists() and not kept.exists():
        shutil.copytree(work, kept)


@pytest.fixture(scope="session")
def starter_bundle(starter_home: Path) -> Path:
    """The starter's bundle, as devices get it. Read only."""
    return next((starter_home / "models").glob("*/bundle"))
