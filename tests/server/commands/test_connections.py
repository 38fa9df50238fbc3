"""No command leaves a connection to the database open, whoever opened it and however the command ends."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from server.commands import main as commands
from server.commands.main import FAILED, INTERRUPTED, OK, USAGE, main
from server.releases.registry import Registry
from shared.errors import ConfigError, Refused
from tests.shared.bundle.bundles import contents, make_bundle

pytestmark = pytest.mark.both_databases


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """With one model."""
    home, bundle = tmp_path / "home", tmp_path / "m1"
    assert main(["--home", str(home), "init"]) == OK
    make_bundle(bundle, "m1", contents({"a.onnx": 500}))
    with closing(Registry(home)) as registry:
        registry.add(bundle)
    capsys.readouterr()
    return home


@pytest.fixture
def open_now() -> Iterator[set[int]]:
    """The connections that are open, of all that were opened since."""
    found = set[int]()

    def came(raw: object, _record: object) -> None:
        found.add(id(raw))

    def went(raw: object, _record: object) -> None:
        found.discard(id(raw))

    event.listen(Pool, "connect", came)
    event.listen(Pool, "close", went)
    yield found
    event.remove(Pool, "connect", came)
    event.remove(Pool, "close", went)


@pytest.mark.parametrize(
    "words",
    [
        ("models", "list"),
        ("models", "log"),
        ("models", "show", "m1"),
        ("models", "promote", "m1"),
        ("models", "rollback"),
        ("gate", "--explain", "m1"),
        ("adapters", "list"),
        ("adapters", "withdraw", "Ada"),
        ("evaluate", "m1", "."),
        ("try", "m1", "nothing.jpg"),
        ("rollout", "status"),
        ("devices", "list"),
        ("samples", "list"),
        ("stats",),
    ],
    ids=" ".join,
)
def test_after_a_command_no_connection_is_open(home: Path, open_now: set[int], words: tuple[str, ...]) -> None:
    assert main(["--home", str(home), *words]) in (OK, FAILED, USAGE)
    assert open_now == set()


def _returns() -> int:
    return OK


def _refuses() -> int:
    raise Refused("no")


def _is_wrong() -> int:
    raise ConfigError("wrong")


def _is_stopped() -> int:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("ends", "status"), [(_returns, OK), (_refuses, FAILED), (_is_wrong, USAGE), (_is_stopped, INTERRUPTED)]
)
def test_what_a_command_forgets_is_closed_however_it_ends(
    home: Path, open_now: set[int], monkeypatch: pytest.MonkeyPatch, ends: Callable[[], int], status: int
) -> None:
    left: list[Registry] = []

    def forgets(options: argparse.Namespace) -> int:
        left.append(Registry(options.home))
        assert left[0].champion() is None
        assert open_now
        return ends()

    module = commands._loaded("models")
    monkeypatch.setattr(module, "_log", forgets)
    assert main(["--home", str(home), "models", "log"]) == status
    assert open_now == set()


def test_a_server_in_the_same_process_keeps_its_own(home: Path, open_now: set[int]) -> None:
    with closing(Registry(home)) as registry:
        assert registry.champion() is None
        mine = set(open_now)
        assert main(["--home", str(home), "models", "list"]) == OK
        assert open_now == mine != set()
