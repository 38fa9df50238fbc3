"""The units are what systemd accepts, and they start the public commands with flags that exist."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device.commands.main import USAGE
from device.health import sentinel_keeper
from device.sentinel import board
from device.sentinel.main import SWITCHED_OFF
from device.sentinel.main import parser as sentinel_parser
from server.broker import files
from server.broker.child import find_mosquitto
from server.broker.settings import FOLDER
from server.database import store
from server.identity import authority
from server.releases import signing
from tests import paths
from tests.docs.pages import page

UNITS = paths.ROOT / "systemd"
NAMES = (
    "waycue-device.service", "waycue-server.service", "waycue-retrain.service", "waycue-sentinel.service",
    "waycue-broker.service", "waycue-retrain.timer",
)  # fmt: skip
SERVICES = NAMES[:5]
OURS = NAMES[:4]
OF_USER = ("waycue-device.service", "waycue-sentinel.service")
WITH_RUNTIME = NAMES[:3]
"""Those that load onnxruntime."""
"""Those that start a command of this distribution; the broker is Mosquitto."""
SENTINEL = "waycue-sentinel.service"
COMMANDS = Path(sys.executable).parent


def read(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys have capitals
    unit.read(UNITS / name, encoding="utf-8")
    return unit


def started_by(name: str) -> list[str]:
    return shlex.split(read(name)["Service"]["ExecStart"])


@pytest.mark.parametrize("name", WITH_RUNTIME)
def test_each_of_our_services_keeps_onnxruntime_from_reporting(name: str) -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in shlex.split(read(name)["Service"]["Environment"])


def test_the_folder_holds_these_units_and_no_others() -> None:
    assert sorted(path.name for path in UNITS.iterdir() if path.suffix in (".service", ".timer")) == sorted(NAMES)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    # verify insists that the program exists; /opt/waycue is not on this machine, so a copy names the command in .venv.
    for name in NAMES:
        text = (UNITS / name).read_text(encoding="utf-8")
        text = text.replace("/opt/waycue/bin/", f"{COMMANDS}/").replace(
            "/usr/sbin/mosquitto", find_mosquitto() or "/bin/true"
        )
        (tmp_path / name).write_text(text, encoding="utf-8")
    paths = [str(tmp_path / name) for name in NAMES]
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if "waycue" in line]
    assert (done.returncode, said) == (0, [])


EXPOSED_AT_MOST = 3.0
has_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@has_analyze
@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_exposed_little_and_the_docs_say_how_little(name: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze reads no unit that is not installed (250 does)")
    found = re.search(rf"Overall exposure level for {re.escape(name)}: (\d+\.\d)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSED_AT_MOST
    written = re.search(rf"^\| `{re.escape(name)}` \| (\d+\.\d) \|", page("operations.md"), re.MULTILINE)
    assert written is not None
    assert abs(float(written[1]) - float(found[1])) <= 0.3  # versions of systemd weigh differently


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_bounded_in_memory_tasks_and_files_and_leaves_no_core(name: str) -> None:
    service = read(name)["Service"]
    assert {"MemoryMax", "TasksMax", "LimitNOFILE"} <= set(service)
    assert service["LimitCORE"] == "0"  # a core of the agent holds pictures and sound
    assert "MemoryHigh" not in service


@pytest.mark.parametrize("name", sorted(path.name for path in UNITS.glob("*.service")))
def test_a_priority_is_one_among_all_services_however_the_kernel_groups_processes(name: str) -> None:
    """Of a session of its own Nice says nothing to others where autogroups are on (sched(7)); a weight does."""
    service = read(name)["Service"]
    assert ("Nice" in service) == ("CPUWeight" in service)
    if "Nice" in service:
        step = 1.25  # of the weight, for one of nice (sched(7))
        assert int(service["CPUWeight"]) == pytest.approx(100 * step ** -int(service["Nice"]), rel=0.05, abs=1)


@pytest.mark.parametrize("name", ["waycue-device.service", "waycue-retrain.service"])
def test_a_unit_that_needs_devices_keeps_them_with_every_systemd(name: str) -> None:
    # With systemd 249 ProtectClock= implies DeviceAllow=char-rtc, and with that a ban on all other devices.
    # DeviceAllow= names classes, and a kernel without the camera's driver does not know its class yet.
    assert not {"ProtectClock", "DeviceAllow", "PrivateDevices", "DevicePolicy"} & set(read(name)["Service"])


def test_the_sentinel_may_open_a_sound_card_that_the_kernel_learns_of_after_its_start() -> None:
    """A class by its name is looked up in /proc/devices at the start, and lets nothing through where it is missing."""
    assert read("waycue-sentinel.service")["Service"]["DeviceAllow"] == "char-116 rw"  # SNDRV_MAJOR, sound/core.h


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units_of_a_users_session(tmp_path: Path) -> None:
    for name in OF_USER:
        text = (UNITS / "user" / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("/opt/waycue/bin/", f"{COMMANDS}/"), encoding="utf-8")
    command = ["systemd-analyze", "--user", "verify", *(str(tmp_path / name) for name in OF_USER)]
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, env=os.environ | runtime, capture_output=True, text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if "waycue" in line]
    assert (done.returncode, said) == (0, [])


def test_the_units_of_a_users_session_differ_from_the_systems_only_in_what_a_session_is() -> None:
    """Watchdog, restarts, the command and the board are the same; accounts and shields are the system's."""
    kept = (
        "Type",
        "NotifyAccess",
        "WatchdogSec",
        "TimeoutAbortSec",
        "Restart",
        "RestartSec",
        "RestartPreventExitStatus",
    )
    for name in OF_USER:
        system, session = read(name)["Service"], read(f"user/{name}")["Service"]
        assert {key: session.get(key) for key in kept} == {key: system.get(key) for key in kept}
        assert not {"User", "Nice", "OOMScoreAdjust", "ProtectSystem"} & set(session)
        assert session["RuntimeDirectory"] == system["RuntimeDirectory"]
        assert read(f"user/{name}")["Unit"]["StartLimitIntervalSec"] == "0"
    agent = shlex.split(read("user/waycue-device.service")["Service"]["ExecStart"])
    assert agent == started_by("waycue-device.service")
    named = shlex.split(read(f"user/{SENTINEL}")["Service"]["ExecStart"])
    assert named[named.index("--board") + 1] == f"%t/waycue-device/{board.NAME}"
    assert named[named.index("--speech") + 1] == f"%h/.local/state/waycue-device/{sentinel_keeper.FOLDER}"
    assert sentinel_parser().parse_args(named[3:]).user is True


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
def test_systemd_accepts_the_account() -> None:
    command = ["systemd-sysusers", "--dry-run", str(UNITS / "waycue.sysusers.conf")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", OURS)
def test_each_service_starts_a_command_that_this_distribution_installs(name: str) -> None:
    assert (COMMANDS / Path(started_by(name)[0]).name).is_file()


@pytest.mark.parametrize("name", OURS)
def test_the_command_line_of_each_service_is_understood(name: str) -> None:
    program, *arguments = started_by(name)
    command = [str(COMMANDS / Path(program).name), *arguments, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for flag in (item for item in arguments if item.startswith("--")):
        both = done.stdout + subprocess.run([command[0], "--help"], capture_output=True, text=True, timeout=120).stdout
        assert re.search(rf"{re.escape(flag)}\b", both), f"{flag} is not in the help of {program}"


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_runs_without_privileges_and_writes_only_its_own_state(name: str) -> None:
    service = read(name)["Service"]
    assert service["User"] == "waycue"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["RuntimeDirectoryMode" if name == SENTINEL else "StateDirectoryMode"] == "0700"


def test_the_broker_runs_from_the_folder_that_is_written_for_it_and_sees_nothing_else_of_the_server() -> None:
    service = read("waycue-broker.service")["Service"]
    state = f"/var/lib/{service['StateDirectory']}"
    conf = started_by("waycue-broker.service")[-1]
    assert conf == f"{state}/{FOLDER}/{files.CONF}"
    hidden = service["InaccessiblePaths"].split()
    kept = (
        authority.FOLDER,
        signing.FOLDER,
        signing.ROOT_KEY_FOLDER,
        "dataset",
        "models",
        "incoming",
        "quarantine",
        "nights",
        store.DATABASE_NAME,
        f"{store.DATABASE_NAME}-wal",
        f"{store.DATABASE_NAME}-shm",
    )
    assert {f"-{state}/{name}" for name in kept} <= set(hidden)


@pytest.mark.parametrize("name", ["waycue-server.service", "waycue-broker.service"])
def test_a_crash_loop_ends(name: str) -> None:
    unit = read(name)
    assert unit["Service"]["Restart"] == "on-failure"
    assert int(unit["Unit"]["StartLimitBurst"]) * int(unit["Service"]["RestartSec"]) < int(
        unit["Unit"]["StartLimitIntervalSec"]
    )


def test_the_device_is_watched() -> None:
    service = read("waycue-device.service")["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) <= 10


@pytest.mark.parametrize("name", ["waycue-device.service", SENTINEL])
def test_systemd_never_gives_up_what_the_wearer_walks_with(name: str) -> None:
    unit = read(name)
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Service"]["Restart"] in ("always", "on-failure")


def test_settings_that_cannot_be_read_are_not_tried_for_ever() -> None:
    assert int(read("waycue-device.service")["Service"]["RestartPreventExitStatus"]) == USAGE


def test_the_sentinel_starts_before_the_agent_and_outlives_it_under_pressure() -> None:
    agent, sentinel = read("waycue-device.service"), read(SENTINEL)
    assert SENTINEL in agent["Unit"]["After"].split()
    assert SENTINEL in agent["Unit"]["Wants"].split()
    assert "BindsTo" not in sentinel["Unit"]
    assert int(sentinel["Service"]["OOMScoreAdjust"]) < int(agent["Service"]["OOMScoreAdjust"])
    assert sentinel["Service"]["PrivateNetwork"] == "yes"
    assert sentinel["Service"]["RestrictAddressFamilies"] == "AF_UNIX"


def test_both_find_the_board_and_the_sentences_in_the_same_place() -> None:
    agent, sentinel = read("waycue-device.service")["Service"], read(SENTINEL)["Service"]
    named = started_by(SENTINEL)
    assert named[named.index("--board") + 1] == f"/run/{agent['RuntimeDirectory']}/{board.NAME}"
    assert named[named.index("--speech") + 1] == f"/var/lib/{agent['StateDirectory']}/{sentinel_keeper.FOLDER}"
    assert named[named.index("--unit") + 1] == "waycue-device.service"
    for service in (agent, sentinel):  # one of the two stopped must not take the folder away from the other
        assert (service["RuntimeDirectory"], service["RuntimeDirectoryPreserve"]) == ("waycue-device", "yes")


def test_a_sentinel_that_is_switched_off_stays_off() -> None:
    service = read(SENTINEL)["Service"]
    assert int(service["RestartPreventExitStatus"]) == int(service["SuccessExitStatus"]) == SWITCHED_OFF


def test_the_retrain_is_caught_up_after_a_night_switched_off() -> None:
    assert read("waycue-retrain.timer")["Timer"]["Persistent"] == "true"
