"""A home and a device's state that older code left are opened by this code, which says the same about them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from tests.compatibility.asked import carried_away, device_answers, exported, server_answers

Rows = dict[str, list[tuple[Any, ...]]]


def test_a_home_is_whole_and_says_what_it_said(old: Path, answers: dict[str, Any]) -> None:
    before = database(old / "home")
    found = server_answers(old / "home")
    assert found["check"]["said"]["well"]
    assert found == answers["server"]
    after = database(old / "home")
    assert {name: after[name] for name in before} == before, "to ask changes nothing"


def test_a_dataset_is_exported_file_by_file_as_before(old: Path, answers: dict[str, Any], tmp_path: Path) -> None:
    assert exported(old / "home", tmp_path) == answers["exported"]


def test_a_device_state_says_what_it_said(old: Path, answers: dict[str, Any]) -> None:
    found = device_answers(old / "device" / "state", old / "device" / "device.toml")
    assert found["selftest"]["said"]["ok"], "the model in use loads, and sees what it must see"
    assert found == answers["device"]


def test_sealed_records_are_carried_away_byte_by_byte(old: Path, answers: dict[str, Any], tmp_path: Path) -> None:
    found = carried_away(old / "device" / "state", old / "device" / "device.toml", tmp_path)
    assert found == answers["carried away"]


def database(home: Path) -> Rows:
    """Every table but the one that names the version of the schema."""
    with sqlite3.connect(home / "waycue.sqlite") as connection:
        listed = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        names = sorted(name for (name,) in listed if name not in ("alembic_version", "sqlite_sequence"))
        found = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}  # noqa: S608
    connection.close()
    return found
