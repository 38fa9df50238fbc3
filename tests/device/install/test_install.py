"""`waycue-device install` on the root folder of a machine: all that a device needs, once, and all of it undone."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from device import config as settings
from device.commands.install import LOCK
from device.commands.main import main
from device.install import environment, machine, manifest, services
from shared import file_lock
from shared.errors import ConfigError
from tests.device.install.roots import GROUPS, make_root, needs_root, tree

pytestmark = needs_root
UNITS = "etc/systemd/system"


def install(root: Path, *flags: str) -> int:
    return main(["install", "--root", str(root), "--no-start", *flags])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "root")


def test_one_command_makes_account_folders_units_rules_and_limits(root: Path) -> None:
    assert install(root) == 0
    made = tree(root)
    owner = machine.account(root, "waycue")
    assert owner is not None
    assert made["var/lib/waycue-device"] == f"0700 {owner.uid}"
    assert made[f"{UNITS}/multi-user.target.wants/waycue-device.service"] == f"→ /{UNITS}/waycue-device.service"
    assert made[f"{UNITS}/multi-user.target.wants/waycue-sentinel.service"] == f"→ /{UNITS}/waycue-sentinel.service"
    assert "RuntimeWatchdogSec=1min" in made["etc/systemd/system.conf.d/10-waycue-watchdog.conf"]
    assert "SystemMaxUse=100M" in made["etc/systemd/journald.conf.d/10-waycue.conf"]
    assert 'GROUP="i2c"' in made["etc/udev/rules.d/70-waycue.rules"]
    config = settings.load(root / "etc/waycue/device.toml", {})
    assert config.device.state == "/var/lib/waycue-device"


def test_a_second_run_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(root)
    before = tree(root)
    capsys.readouterr()
    assert install(root) == 0
    assert capsys.readouterr().out == "Nothing to change.\n"
    assert tree(root) == before


def test_only_groups_that_the_machine_has_are_named(root: Path, tmp_path: Path) -> None:
    bare = make_root(tmp_path / "bare", groups=GROUPS)
    for each in (root, bare):
        install(each)
    full = (root / UNITS / "waycue-device.service.d/groups.conf").read_text()
    assert "SupplementaryGroups=gpio i2c input render" in full
    assert not (bare / UNITS / "waycue-device.service.d/groups.conf").exists()
    assert set(machine.groups(bare)) == {*GROUPS, "waycue"}
    assert machine.groups(root)["gpio"] == ("waycue",)
    assert 'KERNEL=="gpiochip*", GROUP="waycue"' in (bare / "etc/udev/rules.d/70-waycue.rules").read_text()


@pytest.mark.parametrize(("version", "grows"), [(249, False), (252, False), (254, True), (257, True)])
def test_pauses_grow_where_systemd_knows_how(tmp_path: Path, version: int, grows: bool) -> None:
    root = make_root(tmp_path / "root", systemd=version)
    install(root)
    assert (root / UNITS / "waycue-device.service.d/restart-pauses.conf").exists() == grows


def test_another_place_of_the_environment_is_in_the_units(root: Path) -> None:
    (root / "opt/waycue").rename(root / "opt/wc-2")
    assert install(root, "--prefix", "/opt/wc-2") == 0
    for name in ("waycue-device.service", "waycue-sentinel.service"):
        text = (root / UNITS / name).read_text()
        assert "ExecStart=/opt/wc-2/bin/" in text
        assert "/opt/waycue/" not in text


@pytest.mark.parametrize(
    "prefix", ["opt/waycue", "/home/anna/waycue", f"{Path('/root')}/waycue", "/opt/way cue", "/opt/nothing"]
)
def test_a_place_that_the_service_cannot_start_from_is_refused(root: Path, prefix: str) -> None:
    before = tree(root)
    assert install(root, "--prefix", prefix) == 2
    assert {**tree(root), "run/waycue-install.lock": ""} == {**before, "run/waycue-install.lock": ""}


@pytest.mark.parametrize("old", [False, True])
def test_the_account_may_join_the_network_of_a_set_up_code(root: Path, old: bool) -> None:
    """A service may not, unless polkit is told; an old polkit knows no rules in JavaScript."""
    if old:
        (root / "etc/polkit-1/localauthority").mkdir(parents=True)
    install(root)
    rules = (root / "etc/polkit-1/rules.d/50-waycue-network.rules").read_text()
    actions = set(re.findall(r"org\.freedesktop\.NetworkManager\.[\w.-]+", rules))
    assert 'subject.user === "waycue"' in rules
    entry = root / "etc/polkit-1/localauthority/50-local.d/waycue-network.pkla"
    assert entry.exists() == old
    if old:
        read = ConfigParser()
        read.read(entry)
        (section,) = read.sections()
        assert set(read[section]["Action"].split(";")) == actions
        assert (read[section]["Identity"], read[section]["ResultAny"]) == ("unix-user:waycue", "yes")
    main(["uninstall", "--root", str(root), "--purge"])
    assert (root / "etc/polkit-1").exists() == old


def test_settings_of_a_person_are_never_written_over(root: Path) -> None:
    (root / "etc/waycue").mkdir()
    own = root / "etc/waycue/device.toml"
    own.write_text("# mine\n")
    install(root)
    assert own.read_text() == "# mine\n"
    main(["uninstall", "--root", str(root)])
    assert own.read_text() == "# mine\n"


def test_a_unit_that_a_person_edited_is_kept_beside_the_new_one(root: Path) -> None:
    install(root)
    unit = root / UNITS / "waycue-device.service"
    ours = unit.read_text()
    unit.write_text("# mine\n")
    install(root)
    assert unit.read_text() == ours
    assert unit.with_name("waycue-device.service.before").read_text() == "# mine\n"


def test_a_masked_unit_stays_masked(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / UNITS).mkdir(parents=True)
    (root / UNITS / "waycue-sentinel.service").symlink_to("/dev/null")
    assert install(root) == 0
    assert os.readlink(root / UNITS / "waycue-sentinel.service") == "/dev/null"
    assert "masked" in capsys.readouterr().out
    assert services.unmasked(root / UNITS) == ("waycue-device.service",)
    main(["uninstall", "--root", str(root)])
    assert os.readlink(root / UNITS / "waycue-sentinel.service") == "/dev/null"


def test_uninstall_removes_what_install_made_and_nothing_else(root: Path) -> None:
    before = tree(root)
    (root / "etc/systemd").mkdir()
    (root / "etc/systemd/journald.conf").write_text("[Journal]\n")
    install(root)
    (root / "var/lib/waycue-device/outbox").mkdir()
    assert main(["uninstall", "--root", str(root)]) == 0
    left = tree(root)
    assert {name for name in left if name not in before} == {
        "etc/systemd",
        "etc/systemd/journald.conf",
        "etc/waycue",
        "etc/waycue/device.toml",
        "etc/waycue/install.json",
        "run/waycue-install.lock",
        "var/lib/waycue-device",
        "var/lib/waycue-device/outbox",
    }
    assert main(["uninstall", "--root", str(root), "--purge"]) == 0
    assert {name for name in tree(root) if name not in before} == {
        "etc/systemd",
        "etc/systemd/journald.conf",
        "run/waycue-install.lock",
    }
    assert machine.account(root, "waycue") is None


def test_an_account_that_was_there_before_is_not_removed(root: Path) -> None:
    with open(root / "etc/passwd", "a") as passwd, open(root / "etc/group", "a") as group:
        passwd.write("waycue:x:801:801::/var/lib/waycue:/usr/sbin/nologin\n")
        group.write("waycue:x:801:\n")
    install(root)
    assert (root / "var/lib/waycue-device").stat().st_uid == 801
    main(["uninstall", "--root", str(root), "--purge"])
    assert machine.account(root, "waycue") == machine.Account(801, 801)


def test_an_account_under_which_a_server_runs_too_is_not_removed(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(root)
    (root / "var/lib/waycue").mkdir()
    assert main(["uninstall", "--root", str(root), "--purge"]) == 0
    assert machine.account(root, "waycue") is not None
    assert "left alone: account waycue" in capsys.readouterr().out


def test_moments_of_an_account_that_was_made_anew_are_its_own_again(root: Path) -> None:
    install(root)
    state = root / "var/lib/waycue-device"
    (state / "outbox").mkdir()
    (state / "outbox/moment").touch()
    outside = root / "etc/waycue/device.toml"
    (state / "link").symlink_to(outside)
    for path in (state, state / "outbox", state / "outbox/moment"):
        os.chown(path, 4711, 4711)
    assert install(root) == 0
    owner = machine.account(root, "waycue")
    assert owner is not None
    assert {path.lstat().st_uid for path in (state, *state.rglob("*"))} == {owner.uid}
    assert outside.stat().st_uid == 0


def test_a_root_that_is_read_only_is_named_with_the_next_step(root: Path) -> None:
    here = "import sys; from device.commands.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = shlex.join([sys.executable, "-c", here, "install", "--root", str(root), "--no-start"])
    etc = shlex.quote(str(root / "etc"))
    script = f"mount --bind {etc} {etc} && mount -o remount,ro,bind {etc} || exit 99; exec {arguments}"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=60)
    if done.returncode in (1, 99) and "waycue" not in done.stderr:
        pytest.skip(f"nothing can be mounted read-only here: {done.stderr}")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert "remount,rw" in done.stderr
    assert "Traceback" not in done.stderr


def environment_at(folder: Path, python: Path) -> Path:
    """What `python -m venv` leaves, as far as it is looked at."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/waycue-device").touch(0o755)
    (folder / "bin/python").symlink_to(python)
    package = folder / "lib/python3.11/site-packages/device"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    return folder


def test_an_environment_whose_python_lies_in_a_home_is_refused(tmp_path: Path) -> None:
    """As uv and pyenv make them: the service would not find its program, and the device were silent."""
    home = tmp_path / "home"
    (home / "python").mkdir(parents=True)
    (home / "python/python3.11").touch(0o755)
    tmp_path.chmod(0o755)
    made = environment_at(tmp_path / "opt", home / "python/python3.11")
    with pytest.raises(ConfigError, match=r"Its Python is .* services see nothing"):
        environment.check(machine.HOST, made, hidden=(str(home),))
    (tmp_path / "link").symlink_to(environment_at(home / "env", Path("/usr/bin/env")))
    with pytest.raises(ConfigError, match=r"lies in .* services see nothing"):
        environment.check(machine.HOST, tmp_path / "link", hidden=(str(home),))


def test_an_environment_that_only_its_owner_may_read_is_refused(tmp_path: Path) -> None:
    """As a umask of 077 makes it."""
    (top,) = [path for path in tmp_path.parents if path.parent == Path(tempfile.gettempdir())]
    made = environment_at(tmp_path / "opt", Path("/usr/bin/env"))
    before = {path: path.stat().st_mode for path in (top, *tmp_path.parents, tmp_path) if path.is_relative_to(top)}
    try:
        for path in before:
            path.chmod(0o755)
        environment.check(machine.HOST, made, hidden=())
        for path, mode in ((made, 0o700), (made / "bin/waycue-device", 0o700), (made / "lib", 0o700)):
            kept = path.stat().st_mode
            path.chmod(mode)
            with pytest.raises(ConfigError, match="chmod -R"):
                environment.check(machine.HOST, made, hidden=())
            path.chmod(kept)
    finally:
        for path, mode in before.items():
            path.chmod(mode)


def test_where_nothing_was_installed_uninstall_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["uninstall", "--root", str(root)]) == 2
    assert "Nothing was installed here" in capsys.readouterr().err


def test_a_dry_run_says_all_and_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(root)
    assert install(root, "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)["changes"]
    assert tree(root) == before
    assert install(root, "--json") == 0
    assert json.loads(capsys.readouterr().out)["changes"] == told


def test_without_root_it_says_what_to_type(root: Path) -> None:
    code = "import os; from device.commands.main import main; os.seteuid(65534); raise SystemExit(main())"
    command = [sys.executable, "-c", code, "install", "--root", str(root)]
    root.parent.chmod(0o755)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "needs root" in done.stderr
    assert "sudo" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("changes", [1, 3, 9])
def test_interrupted_anywhere_the_next_run_completes_it(root: Path, changes: int) -> None:
    command = [sys.executable, "-m", "device", "install", "--root", str(root), "--no-start"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(changes):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    assert "Traceback" not in error
    assert install(root) == 0
    whole = make_root(root.parent / "whole")
    install(whole)
    assert tree(root) == tree(whole)
    made = manifest.read(root)
    assert made is not None
    assert made.complete
    assert main(["uninstall", "--root", str(root), "--purge"]) == 0


def test_two_at_once_are_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with file_lock.locked(root / LOCK.lstrip("/")):
        assert install(root) == 1
    assert "at work here" in capsys.readouterr().err


def test_what_is_no_root_of_a_machine_is_refused(tmp_path: Path) -> None:
    assert main(["install", "--root", str(tmp_path)]) == 2


def test_a_damaged_manifest_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(root)
    (root / "etc/waycue/install.json").write_text("{")
    assert install(root) == 2
    assert "install.json" in capsys.readouterr().err
