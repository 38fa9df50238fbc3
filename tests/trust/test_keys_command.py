"""`waycue-server init` and `waycue-server keys`, as a person uses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from server.commands.keys import problems
from server.commands.main import main
from server.releases.signing import RoleStatus

DAY_S = 86_400.0


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["--home", str(tmp_path / "home"), "init"]) == 0
    capsys.readouterr()
    return tmp_path / "home"


def keys(home: Path, *words: str) -> int:
    return main(["--home", str(home), "keys", *words])


def test_init_names_the_root_key_and_says_to_carry_it_away(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (key,) = (home / "root-key").glob("*.pem")
    assert main(["--home", str(home), "init"]) == 0
    reported = capsys.readouterr().out
    assert f"Move the root key away from this machine, to a USB stick in a drawer: {key}" in reported
    assert "PRIVATE" not in reported
    key.unlink()
    assert main(["--home", str(home), "init"]) == 0
    assert "root key" not in capsys.readouterr().out


def test_init_makes_the_keys_and_says_where_the_root_key_belongs(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keys(home, "status") == 0
    reported = capsys.readouterr().out
    assert [line.split()[0] for line in reported.splitlines()[:4]] == ["root", "targets", "snapshot", "timestamp"]
    assert "USB stick" in reported
    assert "USB stick" in (home / "root-key" / "READ-ME-FIRST.txt").read_text()


def test_the_status_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys(home, "status", "--json") == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["well"] is True
    assert [role["role"] for role in reported["roles"]] == ["root", "targets", "snapshot", "timestamp"]
    assert "PRIVATE" not in json.dumps(reported)


def test_keys_are_rotated_and_the_root_renewed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (old,) = (home / "root-key").glob("*.pem")
    stick = home.parent / "stick.pem"
    old.rename(stick)
    assert keys(home, "rotate", "targets", "snapshot", "timestamp", "--root-key", str(stick)) == 0
    assert keys(home, "renew-root", "--root-key", str(stick)) == 0
    assert keys(home, "rotate", "root", "--root-key", str(stick)) == 0
    assert "root-key" in capsys.readouterr().out
    (new,) = (home / "root-key").glob("*.pem")
    assert keys(home, "renew-root", "--root-key", str(stick)) == 1
    assert "not the root key" in capsys.readouterr().err
    assert keys(home, "renew-root", "--root-key", str(new)) == 0
    assert keys(home, "status") == 0


def test_the_key_that_moments_are_sealed_to_is_shown_and_changed_and_older_ones_are_kept(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def status() -> Any:
        assert keys(home, "status", "--json") == 0
        found = json.loads(capsys.readouterr().out)["sealing"]
        return found

    assert status() is None, "none yet"
    assert keys(home, "rotate-sealing") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Devices encrypt")]
    first = status()
    assert first["key_id"] in line
    assert keys(home, "rotate-sealing") == 0
    assert first["key_id"] in capsys.readouterr().out
    second = status()
    assert second["key_id"] != first["key_id"]
    assert first["key_id"] in second["older"]
    assert keys(home, "status") == 0
    assert f"sealing    {second['key_id']}" in capsys.readouterr().out


def test_refresh_signs_anew(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (home / "release" / "metadata" / "timestamp.json").read_bytes()
    assert keys(home, "refresh") == 0
    assert (home / "release" / "metadata" / "timestamp.json").read_bytes() != before


def test_a_missing_key_is_said_and_is_the_exit_status(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    next((home / "release" / "keys").glob("targets.*")).unlink()
    assert keys(home, "status") == 1
    assert "keys rotate targets" in capsys.readouterr().out


def test_a_home_from_before_signed_releases_says_what_to_do(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "release").rename(home / "elsewhere")
    assert keys(home, "status") == 2
    assert "init" in capsys.readouterr().err


def test_what_ends_soon_is_a_problem_while_there_is_time() -> None:
    def at(role: str, days: float, *, here: bool = True) -> RoleStatus:
        return RoleStatus(role, "k", 1, days * DAY_S, here)

    assert list(problems([at("root", 91, here=False), at("timestamp", 1)], 0.0)) == []
    (root,) = problems([at("root", 89)], 0.0)
    assert "renew-root" in root
    (ended,) = problems([at("timestamp", -1)], 0.0)
    assert "has ended" in ended
