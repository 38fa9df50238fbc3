"""This code opens a home and a device's state that older code wrote, and its commands print no less about them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from server.database.bodies import unpack
from server.dataset.folder import FOLDERS
from tests.compatibility.commands import device_answers, exported, exported_records, server_answers

Rows = dict[str, list[dict[str, Any]]]


def test_an_old_home_is_whole_and_every_command_prints_no_less(old: Path, answers: dict[str, Any]) -> None:
    before = database(old / "home")
    now = server_answers(old / "home")
    assert now["check"]["printed"]["well"]
    for told in (now, answers["server"]):  # its file grows with each table of a later version
        assert told["stats"]["storage_bytes"].pop("database") > 0
    assert now["keys"].pop("sealing") is None, "made by the first server that knows of it, and not by a look"
    assert of_then(now, answers["server"]) == answers["server"]
    after = of_then(database(old / "home"), before)  # without columns that came since
    assert after == before, "commands that only read must not change the database"


def test_an_old_dataset_is_exported_to_the_same_files_and_no_fewer(
    old: Path, answers: dict[str, Any], tmp_path: Path
) -> None:
    now = exported(old / "home", tmp_path)
    assert {name: now[name] | files for name, files in answers["exported"].items()} == now


def test_an_old_device_state_opens_and_every_command_prints_no_less(old: Path, answers: dict[str, Any]) -> None:
    now = device_answers(old / "device" / "state", old / "device" / "device.toml")
    assert now["selftest"]["printed"]["ok"], "the model in use loads and passes its golden pictures"
    assert of_then(now, answers["device"]) == answers["device"]


def test_sealed_records_are_exported_to_the_same_bytes(old: Path, answers: dict[str, Any], tmp_path: Path) -> None:
    now = exported_records(old / "device" / "state", old / "device" / "device.toml", tmp_path)
    assert now == answers["exported records"]


def of_then(now: Any, then: Any) -> Any:
    """What is printed now without the fields that nobody knew then: a script that reads the others goes on."""
    if isinstance(now, dict) and isinstance(then, dict):
        return {key: of_then(value, then[key]) for key, value in now.items() if key in then}
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        return [of_then(*pair) for pair in zip(now, then, strict=True)]
    return now


def database(home: Path) -> Rows:
    """The rows of every table, by the names of their columns, without the one that holds the schema's version."""
    with sqlite3.connect(home / "waycue.sqlite") as connection:
        listed = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        names = sorted(name for (name,) in listed if name not in ("alembic_version", "sqlite_sequence"))
        connection.row_factory = sqlite3.Row
        rows = {name: [_row(row) for row in connection.execute(f'SELECT * FROM "{name}"')] for name in names}  # noqa: S608
    connection.close()
    return rows


def _row(row: sqlite3.Row) -> dict[str, Any]:
    """Bodies, hashes and paths as what they say: how they lie there is the version's own."""
    found = {name: _said(name, row[name]) for name in row.keys()}  # noqa: SIM118
    if "file" in found and found["path"] is None:
        folder, suffix = FOLDERS[found["kind"]]
        found["path"] = f"{folder}/{found['sha256']}{suffix}"
    return found


def _said(name: str, value: Any) -> Any:
    if name == "sha256" and isinstance(value, bytes):
        return value.hex()
    return json.loads(unpack(value)) if _is_json(value) else value


def _is_json(value: object) -> bool:
    return isinstance(value, bytes) or (isinstance(value, str) and value.startswith("{"))
