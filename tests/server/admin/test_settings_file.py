"""Settings as a form: each has its meaning and bounds, a change is checked and written whole, comments stay."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest

from server import config
from server.admin.settings_file import SettingsFile, as_text
from server.config import ServerConfig
from shared.errors import ConfigError, Refused


@pytest.fixture
def file(tmp_path: Path) -> SettingsFile:
    config.init(tmp_path)
    return SettingsFile(tmp_path / config.FILE, running=ServerConfig(), check=config.load)


def test_every_setting_has_its_meaning_its_kind_and_its_bounds(file: SettingsFile) -> None:
    groups = {group.name: group for group in file.groups()}
    assert list(groups) == [item.name for item in dataclasses.fields(ServerConfig)]
    assert all(group.meaning for group in groups.values())
    lines = {f"{line.section}.{line.name}": line for group in groups.values() for line in group.lines}
    assert [name for name, line in lines.items() if not line.meaning] == []
    assert (lines["learn.frames"].kind, lines["learn.frames"].least, lines["learn.frames"].most) == ("whole", 1, 2)
    assert lines["speech.recogniser"].choices == ("auto", "pocketsphinx", "whisper", "both", "none")
    assert lines["broker.tls"].kind == "switch"
    assert lines["budget.kinds"].kind == "tables"
    assert [name for name, line in lines.items() if line.waits or line.is_set] == []
    locked = {name for name, line in lines.items() if line.locked}
    assert locked == {
        "access.client_secret_file",
        "broker.reload",
        "database.password_file",
        "database.url",
        "budget.kinds",
        "homeassistant.password_file",
        "llm.key_file",
        "metrics.token_file",
    }


def test_a_command_and_the_places_of_secrets_are_not_changed_from_a_page(file: SettingsFile) -> None:
    for section, name, value in (("broker", "reload", "touch /tmp/x"), ("llm", "key_file", "/etc/shadow")):
        assert file.change(section, {name: value}, seen=file.mark()) == ()
        assert getattr(getattr(config.load(file._path.parent), section), name) == ""


@pytest.mark.parametrize(
    ("section", "name", "text", "value"),
    [
        ("learn", "epochs", "3.5", 3.5),
        ("learn", "decoder_bits", "4", 4),
        ("learn", "base", 'a "quoted" name', 'a "quoted" name'),
        ("web", "hosts", "waycue.example.org", "waycue.example.org"),
        ("enrol", "announce", "false", False),
        ("log", "level", "debug", "debug"),
    ],
)
def test_a_change_is_what_the_server_reads(
    file: SettingsFile, section: str, name: str, text: str, value: object
) -> None:
    home = file._path.parent
    assert file.change(section, {name: text}, seen=file.mark()) == (name,)
    assert getattr(getattr(config.load(home), section), name) == value
    assert "# Settings of waycue-server." in file._path.read_text()
    assert file.change(section, {name: text}, seen=file.mark()) == ()
    file.change(section, {name: as_text(getattr(getattr(ServerConfig(), section), name))}, seen=file.mark())
    set_now = [line for line in file._path.read_text().splitlines() if line.startswith(f"{name} =")]
    assert set_now == [], "the default stands nowhere"


@pytest.mark.parametrize(
    ("section", "values", "reason"),
    [
        ("learn", {"frames": "3"}, "It must be 1 to 2"),
        ("learn", {"frames": "many"}, "a whole number"),
        ("learn", {"epochs": "0"}, "more than 0"),
        ("learn", {"preset": "best"}, "Use one of"),
        ("web", {"address": "every:where"}, "HOST:PORT"),
        ("speech", {"recogniser": "whisper"}, "speech.model is empty"),
        ("broker", {"tls": "false", "address": "192.168.1.9:1883"}, "broker"),
    ],
)
def test_what_the_server_would_refuse_is_not_written(
    file: SettingsFile, section: str, values: dict[str, str], reason: str
) -> None:
    before = file._path.read_bytes()
    with pytest.raises(ConfigError, match=reason) as found:
        file.change(section, values, seen=file.mark())
    assert file._path.read_bytes() == before
    assert "waycue-settings" not in str(found.value), "no place of this machine"


def test_of_two_changes_at_once_the_second_is_told(file: SettingsFile) -> None:
    seen, results = file.mark(), list[str]()

    def change(value: str) -> None:
        try:
            file.change("learn", {"new_rows_least": value}, seen=seen)
            results.append("written")
        except Refused:
            results.append("refused")

    threads = [threading.Thread(target=change, args=(value,)) for value in ("31", "32")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["refused", "written"]


def test_who_may_read_the_file_stays_as_it_was_and_a_restart_is_asked_for(file: SettingsFile) -> None:
    file._path.chmod(0o600)
    file.change("enrol", {"announce": "false"}, seen=file.mark())
    file.change("learn", {"new_rows_least": "40"}, seen=file.mark())
    assert file._path.stat().st_mode & 0o777 == 0o600
    waits = [f"{line.section}.{line.name}" for group in file.groups() for line in group.lines if line.waits]
    assert waits == ["enrol.announce"]
