"""`waycue-server broker config`, and what `run` refuses."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from server.broker.child import BrokerChild, free_port
from server.commands.main import main


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["--home", str(tmp_path / "home"), "init"]) == 0
    capsys.readouterr()
    return tmp_path / "home"


def test_what_it_writes_a_broker_starts_from(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert main(["--home", str(home), "broker", "config", "--address", f"127.0.0.1:{port}"]) == 0
    assert str(home / "broker" / "mosquitto.conf") in capsys.readouterr().out
    with BrokerChild(tmp_path / "log", secure=home / "broker") as broker:
        assert broker.port == port
        assert b"Error" not in broker.log.read_bytes()
    assert stat.S_IMODE((home / "broker" / "broker.key").stat().st_mode) == 0o600


def test_another_folder_and_further_names(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "etc"
    command = ["--home", str(home), "broker", "config", "--out", str(out), "--host", "broker.example.org"]
    assert main(command) == 0
    assert f"cafile {out}/ca.crt\n" in (out / "mosquitto.conf").read_text()
    assert "listener 8883 0.0.0.0\n" in (out / "mosquitto.conf").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["broker", "config", "--address", "a b"], "HOST:PORT"),
        (["broker", "config", "--plugin", "/no/such/plugin.so"], "apt install mosquitto"),
        (["broker", "config", "--user", "nobody-at-all"], "no account"),
        (["run", "--plain", "--broker", "192.168.1.10:1883"], "without TLS"),
        (["run", "--plain", "--broker", "broker.example.org"], "without TLS"),
        (["run", "--plain", "--broker", "0.0.0.0:1883"], "without TLS"),
    ],
)
def test_wrong_use_is_refused_with_what_to_do(
    arguments: list[str], said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(home), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_settings_cannot_take_tls_away_from_another_machine_either(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "waycue.toml"
    file.write_text(file.read_text().replace("[broker]\n", '[broker]\ntls = false\naddress = "10.0.0.1:1883"\n'))
    assert main(["--home", str(home), "run"]) == 2
    assert "without TLS" in capsys.readouterr().err


def test_a_home_without_authority_says_what_to_do(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "ca" / "ca.crt").unlink()
    assert main(["--home", str(home), "broker", "config"]) == 2
    assert "init" in capsys.readouterr().err
