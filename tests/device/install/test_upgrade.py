"""`waycue-device upgrade`, with real environments and a real pip; what it installs is a small stand-in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pip
import pytest

from device.commands.main import main
from device.install import upgrade
from device.install.programs import ProgramFailed
from device.install.upgrade import Upgrade, UpgradeRefused
from device.install.versions import Versions
from shared.errors import ConfigError
from tests.device.install.roots import needs_root

MAIN = """
import json, pathlib, sys
VERSION, TROUBLE, INSTALLS = {version!r}, {trouble!r}, {installs!r}
if sys.argv[1] == "selftest":
    checks = [{{"name": "speech", "ok": not TROUBLE, "found": TROUBLE or "fine", "do": ""}}]
    print(json.dumps({{"checks": checks}}))
elif sys.argv[1] == "install":
    print(f"units of {{VERSION}}")
    sys.exit(0 if INSTALLS else 1)
"""


def make_wheel(folder: Path, version: str, *, trouble: str = "", installs: bool = True, requires: str = "") -> Path:
    """A distribution `waycue` of which `python -m device` answers as told."""
    path = folder / f"waycue-{version}-py3-none-any.whl"
    info = f"waycue-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: waycue\nVersion: {version}\nProvides-Extra: device\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        "device/__init__.py": "",
        "device/__main__.py": MAIN.format(version=version, trouble=trouble, installs=installs),
        "device/install/data/constraints.txt": "",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with version 1 in it."""
    folder = tmp_path_factory.mktemp("made")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True, timeout=120)
    (packages,) = folder.glob("env/lib/python*/site-packages")
    (packages / "pip").symlink_to(Path(pip.__file__).parent)  # the very pip, without unpacking it
    command = [str(folder / "env/bin/python"), "-I", "-m", "pip", "install", "--quiet", "--no-index"]
    subprocess.run([*command, str(make_wheel(folder, "1.0"))], check=True, timeout=120)
    return folder / "env"


@pytest.fixture
def prefix(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(upgrade, "USER", "nobody at all")
    shutil.copytree(made, tmp_path / "opt" / "waycue", symlinks=True)
    return tmp_path / "opt" / "waycue"


def version_of(environment: Path) -> str:
    code = "from importlib.metadata import version; print(version('waycue'))"
    done = subprocess.run([environment / "bin/python", "-I", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_without_a_network_nothing_has_changed_and_nothing_is_left_behind(prefix: Path, tmp_path: Path) -> None:
    needs = make_wheel(tmp_path, "2.0", requires="not-there-at-all>=3")
    with pytest.raises(ProgramFailed, match="not-there-at-all"):
        Upgrade(prefix, say=print).to(needs, start=False)
    assert not prefix.is_symlink()
    assert version_of(prefix) == "1.0"
    assert list(prefix.with_name("waycue.versions").iterdir()) == []


def test_a_newer_version_takes_over_a_worse_one_does_not_and_back_undoes_it(prefix: Path, tmp_path: Path) -> None:
    told: list[str] = []
    change = Upgrade(prefix, say=told.append)
    half = prefix.with_name("waycue.versions") / "2"  # of an upgrade that was interrupted
    half.mkdir(parents=True)
    (half / "half").touch()
    with pytest.raises(UpgradeRefused, match="no voice"):
        change.to(make_wheel(tmp_path, "2.0", trouble="no voice"), start=False)
    assert not prefix.is_symlink()
    assert version_of(prefix) == "1.0"
    change.to(make_wheel(tmp_path, "2.0"), start=False)
    assert version_of(prefix) == "2.0"
    assert prefix.is_symlink()
    assert not (prefix / "half").exists()
    assert "units of 2.0" in told
    for expected in ("1.0", "2.0"):
        change.back(start=False)
        assert version_of(prefix) == expected


@pytest.mark.soak
def test_a_version_whose_units_cannot_be_installed_is_taken_back(prefix: Path, tmp_path: Path) -> None:
    change = Upgrade(prefix, say=print)
    for expected in ("1.0", "3.0"):
        with pytest.raises(UpgradeRefused, match="taken back"):
            change.to(make_wheel(tmp_path, "2.0", installs=False), start=False)
        assert version_of(prefix) == expected
        former = Versions(prefix).former
        assert former is None or version_of(former) == "1.0"
        if expected == "1.0":
            change.to(make_wheel(tmp_path, "3.0"), start=False)


@pytest.mark.soak
def test_the_same_version_from_other_files_is_installed_and_old_files_are_gone(prefix: Path, tmp_path: Path) -> None:
    (gone,) = prefix.glob("lib/python*/site-packages/device/__init__.py")
    gone.with_name("left_over.py").touch()  # not pip's: it stays
    change = Upgrade(prefix, say=print)
    change.to(make_wheel(tmp_path, "1.0"), start=False)
    change.to(make_wheel(tmp_path, "3.0"), start=False)
    assert version_of(prefix) == "3.0"
    left = {path.name for path in prefix.with_name("waycue.versions").iterdir() if path.name.isdigit()}
    assert len(left) == 2


def test_what_is_wrong_before_and_after_keeps_nothing_back() -> None:
    assert upgrade.worse_than({"model": "none", "speech": ""}, {"model": "none", "speech": "", "disk": ""}) == []
    assert upgrade.worse_than({"model": ""}, {"model": "torn"}) == ["model: torn"]
    assert upgrade.worse_than({"model": ""}, {"selftest": "does not start"}) == ["selftest: does not start"]


@pytest.mark.parametrize("text", ["/nowhere.whl", "/etc", "/etc/passwd"])
def test_what_is_no_source_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="neither a wheel nor a checkout"):
        upgrade.source_of(text)


def test_a_damaged_wheel_or_one_of_another_project_is_refused(tmp_path: Path) -> None:
    torn = tmp_path / "waycue-2.0-py3-none-any.whl"
    torn.write_bytes(b"PK\x03\x04")
    other = tmp_path / "other-1.0-py3-none-any.whl"
    with zipfile.ZipFile(other, "w") as wheel:
        wheel.writestr("other.py", "")
    whole = make_wheel(tmp_path, "3.0").read_bytes()
    bent = tmp_path / "waycue-3.1-py3-none-any.whl"
    with zipfile.ZipFile(bent, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("device/install/data/constraints.txt", "numpy==2.1\n" * 200)
    data = bytearray(bent.read_bytes())
    data[80:90] = b"\xff" * 10  # inside the compressed text
    bent.write_bytes(data)
    cut = tmp_path / "waycue-3.2-py3-none-any.whl"
    cut.write_bytes(whole[: len(whole) // 2])
    for path in (torn, other, bent, cut):
        with pytest.raises(ConfigError, match="no wheel of waycue"):
            upgrade.pins_of(path)


def test_a_checkout_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    with pytest.raises(ConfigError, match="no checkout of waycue"):
        upgrade.pins_of(upgrade.source_of(str(tmp_path)))


def test_where_nothing_tells_what_it_was_installed_from_it_asks() -> None:
    code = "import sys; from device.install import upgrade; sys.path[:] = []; print(upgrade._came_from())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("None\n", 0), done.stderr


@needs_root
def test_without_a_former_version_back_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "waycue/bin").mkdir(parents=True)
    (tmp_path / "waycue/bin/waycue-device").touch()
    assert main(["upgrade", "--back", "--prefix", str(tmp_path / "waycue")]) == 2
    assert "no former version" in capsys.readouterr().err


def test_the_prefix_is_whole_at_every_step_of_a_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each call that changes names, what the units start is there."""
    prefix = tmp_path / "waycue"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/waycue-device").touch()
    versions = Versions(prefix)
    seen: list[bool] = []
    real = os.replace

    def replace(source: str, target: str) -> None:
        real(source, target)
        seen.append((prefix / "bin/waycue-device").exists())

    monkeypatch.setattr("os.replace", replace)
    for _ in range(3):
        new = versions.fresh()
        shutil.copytree(versions.current, new)
        versions.use(new)
        assert versions.current == new
        versions.forget_older()
    assert seen
    assert all(seen)
    assert json.dumps(sorted(path.name for path in (tmp_path / "waycue.versions").iterdir())) == '["3", "4", "former"]'
