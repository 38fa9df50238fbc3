"""Signing on the server: what is written, when it is signed anew, and what is refused."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest

from server.releases.metadata_folder import KEPT, LIFE_DAYS
from server.releases.signing import ROLES, Release
from shared.clock import ManualClock
from shared.errors import ConfigError, Refused, Transient
from shared.floor import BUILT_UTC_S
from shared.signed_files import LIMITS_BYTES, limit_bytes
from tests.trust.stage import DAY_S, NOW_S, Device, Server, target


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "home")


def versions(server: Server) -> dict[str, int]:
    return {status.role: status.version for status in server.release.status()}


def test_a_server_without_keys_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="init"):
        Release(tmp_path, clock=ManualClock(epoch_s=NOW_S))


def test_making_it_again_changes_nothing(server: Server) -> None:
    before = server.files(), server.release.root_json()
    again = Server(server.home)
    assert (again.files(), again.release.root_json()) == before


def test_no_secret_can_be_read_by_others(server: Server) -> None:
    keys = [*server.home.glob("release/keys/*"), *server.home.glob("root-key/*")]
    assert len(keys) == 5
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    assert {path.parent.stat().st_mode & 0o777 for path in keys} == {0o700}


def test_the_same_targets_again_change_nothing(server: Server) -> None:
    targets = [target("m1"), target("m2", 2, percent=10, devices=("ben", "anna"))]
    assert server.release.publish(targets)
    before = server.files()
    assert not server.release.publish(targets[::-1])
    assert not server.release.publish([targets[0], target("m2", 2, percent=10, devices=("anna", "ben"))])
    assert server.files() == before


@pytest.mark.parametrize(
    "changed", [target("m1", 2), target("m1", percent=99), target("m1", devices=("anna",)), target("m2")]
)
def test_any_change_of_a_target_is_signed(changed: object, server: Server) -> None:
    server.publish(target("m1"))
    assert server.release.publish([changed])  # type: ignore[list-item]  # a Target, which parametrize hides


def test_versions_rise_and_are_at_least_the_time(server: Server) -> None:
    first = versions(server)
    server.publish(target("m1"))
    second = versions(server)
    server.clock.sleep(DAY_S)
    server.publish(target("m2"))
    third = versions(server)
    for role in ROLES:
        assert NOW_S <= first[role] < second[role] < third[role]
        assert third[role] >= NOW_S + DAY_S


def test_a_home_from_an_old_backup_can_still_publish(server: Server, tmp_path: Path) -> None:
    backup = {path: path.read_bytes() for path in server.home.rglob("release/metadata/*")}
    device = Device(tmp_path / "device", server.release.root_json())
    for order in range(1, 20):
        device.check(server.publish(target("m1", order)), "m1")
    for path in server.home.rglob("release/metadata/*"):
        path.unlink()
    for path, data in backup.items():
        path.write_bytes(data)
    server.clock.sleep(3600)
    device.check(server.publish(target("m2")), "m2")


def test_signatures_are_renewed_at_half_of_their_life(server: Server) -> None:
    server.publish(target("m1"))
    before = versions(server)
    server.clock.sleep(LIFE_DAYS["timestamp"] / 2 * DAY_S)
    assert not server.release.refresh()
    server.clock.sleep(1)
    assert server.release.refresh()
    after = versions(server)
    assert [role for role in ROLES if after[role] > before[role]] == ["timestamp"]
    server.clock.sleep((LIFE_DAYS["snapshot"] / 2 - LIFE_DAYS["timestamp"] / 2) * DAY_S)
    assert server.release.publish([target("m1")])  # publishing renews as well
    assert [role for role in ROLES if versions(server)[role] > after[role]] == ["snapshot", "timestamp"]
    server.clock.sleep(LIFE_DAYS["targets"] / 2 * DAY_S)
    assert server.release.refresh()
    assert versions(server)["targets"] > before["targets"]


def test_a_server_that_looks_after_itself_for_two_years_never_lets_metadata_expire(
    server: Server, tmp_path: Path
) -> None:
    device = Device(tmp_path / "device", server.release.root_json())
    server.publish(target("m1"))
    for _ in range(2 * 52):
        for clock in (server.clock, device.clock):
            clock.sleep(7 * DAY_S)
        server.release.refresh()
        device.check(server.files(), "m1")


def test_old_generations_are_removed_but_not_at_once(server: Server) -> None:
    for order in range(1, 10):
        server.publish(target("m1", order))
    names = [path.name for path in (server.home / "release" / "metadata").glob("*.targets.json")]
    assert len(names) == KEPT


def test_a_clock_before_this_software_signs_nothing(server: Server, tmp_path: Path) -> None:
    server.clock.epoch_s = BUILT_UTC_S - 1
    with pytest.raises(Transient, match="clock"):
        server.publish(target("m1"))
    with pytest.raises(Transient, match="timedatectl"):
        Release.make(tmp_path / "other", clock=ManualClock(epoch_s=0.0))
    assert not (tmp_path / "other" / "root-key").exists()


def test_a_clock_after_the_roots_end_signs_nothing(server: Server) -> None:
    server.clock.epoch_s += 3653 * DAY_S
    with pytest.raises(Transient, match="clock is wrong"):
        server.publish(target("m1"))
    server.clock.epoch_s -= 3653 * DAY_S
    server.publish(target("m1"))


@pytest.mark.parametrize(
    ("targets", "why"),
    [
        ([target("m1"), target("m1", 2)], "twice"),
        ([target("m1", percent=101)], "percent"),
        ([target("m1", order=-1)], "order"),
        ([target("../m1")], "manifest"),
    ],
)
def test_what_no_device_would_accept_is_not_signed(targets: list[object], why: str, server: Server) -> None:
    before = server.files()
    with pytest.raises(Refused, match=why):
        server.release.publish(targets)  # type: ignore[arg-type]  # Targets, which parametrize hides
    assert server.files() == before


def test_more_devices_than_fit_are_refused_and_the_most_that_may_be_named_fit(server: Server) -> None:
    everyone = tuple(f"device-{number}" for number in range(10_000))
    named = [target(f"m{number}", number, percent=0, devices=everyone) for number in range(5)]
    assert server.release.publish(named)
    name = next(name for name in server.files() if name.endswith("targets.json"))
    assert len(server.files()[name]) < LIMITS_BYTES["targets"]
    with pytest.raises(Refused, match="percentage"):
        server.release.publish([*named, target("m6", 6, percent=0, devices=everyone)])
    with pytest.raises(Refused, match="devices"):
        server.release.publish([target("m1", devices=(*everyone, "one-more"))])


def test_no_name_of_a_device_is_published(server: Server) -> None:
    server.publish(target("m1", percent=0, devices=("annas-stick",)))
    assert b"annas-stick" not in b"".join(server.files().values())


def test_every_published_file_has_a_name_that_devices_know(server: Server) -> None:
    server.release.renew_root(server.root_key)
    for file, data in server.release.files():
        assert file.size_bytes == len(data) <= limit_bytes(file.name)


@pytest.mark.parametrize("name", ["timestamp.json", "*.snapshot.json", "*.targets.json"])
@pytest.mark.parametrize("damage", ["removed", "emptied", "altered"])
def test_damaged_metadata_is_signed_anew(name: str, damage: str, server: Server, tmp_path: Path) -> None:
    device = Device(tmp_path / "device", server.release.root_json())
    device.check(server.publish(target("m1")), "m1")
    for path in (server.home / "release" / "metadata").glob(name):
        if damage == "removed":
            path.unlink()
        else:
            path.write_bytes(b"" if damage == "emptied" else path.read_bytes().replace(b"2026-", b"2030-"))
    server.clock.sleep(2)
    restarted = Server(server.home, now_s=server.clock.utc_s())
    device.check(restarted.publish(target("m1")), "m1")


def test_a_damaged_root_is_named(server: Server) -> None:
    path = server.home / "release" / "metadata" / "1.root.json"
    path.write_bytes(b"{}")
    with pytest.raises(ConfigError, match=r"1\.root\.json"):
        server.release.refresh()


def test_a_key_that_others_can_read_is_not_used(server: Server) -> None:
    key = next(server.home.glob("release/keys/timestamp.*.pem"))
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        server.publish(target("m1"))


def test_a_lost_key_is_named_and_rotating_replaces_it(server: Server) -> None:
    next(server.home.glob("release/keys/timestamp.*.pem")).unlink()
    with pytest.raises(ConfigError, match="timestamp"):
        server.publish(target("m1"))
    server.release.rotate(("timestamp",), server.root_key)
    server.publish(target("m1"))


def test_only_the_root_key_makes_a_root(server: Server, tmp_path: Path) -> None:
    other = Server(tmp_path / "other")
    for key in (other.root_key, next(server.home.glob("release/keys/targets.*.pem"))):
        with pytest.raises(Refused, match="not the root key"):
            server.release.rotate(("targets",), key)
    (tmp_path / "no.pem").write_text("-----BEGIN PRIVATE KEY-----")
    (tmp_path / "no.pem").chmod(0o600)
    with pytest.raises(ConfigError, match="PEM"):
        server.release.renew_root(tmp_path / "no.pem")
    with pytest.raises(ConfigError, match="no key"):
        server.release.renew_root(tmp_path / "nowhere.pem")
    assert len(server.files()) == 3


def test_a_replaced_root_key_is_worth_nothing(server: Server) -> None:
    old = server.root_key
    server.release.rotate(("root",), old)
    with pytest.raises(Refused, match="not the root key"):
        server.release.renew_root(old)
    server.release.renew_root(server.root_key)


def test_the_root_key_may_be_away_in_daily_use(server: Server) -> None:
    away = server.root_key.read_bytes()
    for path in (server.home / "root-key").iterdir():
        path.unlink()
    (server.home / "root-key").rmdir()
    again = Server(server.home)
    again.publish(target("m1"))
    again.clock.sleep(100 * DAY_S)
    assert again.release.refresh()
    assert {status.role: status.key_here for status in again.release.status()}["root"] is False
    stick = server.home.parent / "stick.pem"
    stick.write_bytes(away)
    stick.chmod(0o600)
    again.release.rotate(("snapshot",), stick)


def test_no_key_and_nothing_of_one_is_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        server.release.rotate(("targets", "root"), server.root_key)
        server.publish(target("m1"))
    for path in [*server.home.glob("release/keys/*.pem"), *server.home.glob("root-key/*.pem")]:
        assert path.read_text().splitlines()[1] not in caplog.text


def test_two_that_publish_at_once_do_not_mix(server: Server, tmp_path: Path) -> None:
    """The server renews while a person runs `keys`: each has a Release of its own."""
    device = Device(tmp_path / "device", server.release.root_json())
    others = [Release(server.home, clock=server.clock) for _ in range(3)]
    failed: list[BaseException] = []

    def work(release: Release, name: str) -> None:
        try:
            for order in range(1, 15):
                release.publish([target(name, order)])
                {file.name: data for file, data in release.files()}
        except BaseException as error:  # noqa: BLE001 (a thread's top: the test tells)
            failed.append(error)

    threads = [threading.Thread(target=work, args=(one, f"m{number}")) for number, one in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    files = server.files()
    targets = json.loads(next(data for name, data in files.items() if name.endswith("targets.json")))
    (path,) = targets["signed"]["targets"]
    device.check(files, path.split("/")[1])


def test_a_root_that_names_no_key_is_named_as_damaged(server: Server) -> None:
    path = max(server.home.glob("release/metadata/*.root.json"))
    root = json.loads(path.read_bytes())
    root["signed"]["roles"]["timestamp"]["keyids"] = [1.5]
    path.write_text(json.dumps(root))
    with pytest.raises(ConfigError, match="damaged"):
        server.publish(target("m1"))


@pytest.mark.parametrize("changed", [{"version": 7}, {"meta": {}}])
def test_a_snapshot_that_is_not_what_its_name_says_is_signed_anew(server: Server, changed: dict[str, object]) -> None:
    server.publish(target("m1"))
    path = max(server.home.glob("release/metadata/*.snapshot.json"))
    snapshot = json.loads(path.read_bytes())
    snapshot["signed"] |= changed
    path.write_text(json.dumps(snapshot))
    assert server.release.refresh()
    assert path.name not in {entry.name for entry, _ in server.release.files()}


def test_targets_that_cannot_be_signed_again_are_named(server: Server) -> None:
    server.publish(target("m1"))
    path = max(server.home.glob("release/metadata/*.targets.json"))
    targets = json.loads(path.read_bytes())
    next(iter(targets["signed"]["targets"].values()))["custom"] = {"percent": 1.5}
    path.write_text(json.dumps(targets))
    with pytest.raises(ConfigError, match="changed by hand"):
        server.release.refresh(force=True)
