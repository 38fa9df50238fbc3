"""The wheel holds all that git holds of the four packages, and a device needs no torch.

A Pi cannot hold torch, and would not learn so from a test that runs where torch is installed: the device's extra is
installed from the built wheel into a virtual environment of its own, and every device module is imported there.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.house.tree import CODE
from tests.paths import ROOT

FORBIDDEN = ("torch", "transformers", "peft", "fastapi", "sqlalchemy", "pocketsphinx", "onnxscript")
BESIDE = ("tests", "scripts", "benchmarks", "docs", "systemd")

IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
failed = {}
names = []
for package in ("device", "shared"):
    found = importlib.import_module(package)
    for module in pkgutil.walk_packages(found.__path__, package + "."):
        if module.name.endswith("__main__"):
            continue
        names.append(module.name)
        try:
            importlib.import_module(module.name)
        except Exception as error:
            failed[module.name] = repr(error)
print(json.dumps({"names": names, "failed": failed, "loaded": sorted(sys.modules)}))
"""

WHO_OWNS = """
import importlib.metadata, json
print(json.dumps(importlib.metadata.packages_distributions()))
"""


def run(*command: str | Path, cwd: Path, timeout_s: float = 60) -> str:
    """Run a command as on a bare machine: nothing of this checkout on the path."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout_s
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    run(*pip, "--wheel-dir", folder, ROOT, cwd=folder, timeout_s=120)
    (built,) = folder.glob("waycue-*.whl")
    return built


@pytest.fixture(scope="module")
def device_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the wheel's `[device]` extra and nothing else."""
    folder = tmp_path_factory.mktemp("device")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder, timeout_s=120)
    python = folder / "venv" / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet", "--prefer-binary", "--no-compile")
    run(*pip, "--constraint", ROOT / "constraints.txt", f"waycue[device] @ {wheel.as_uri()}", cwd=folder, timeout_s=400)
    return python


def source_files() -> set[str]:
    found = (path for package in CODE for path in (ROOT / package).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if path.suffix != ".pyc"}


def test_the_wheel_holds_every_file_of_the_four_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert sorted(source_files() - held) == []
    assert "shared/vocabulary.toml" in held


def test_the_wheel_holds_nothing_beside_them(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert tops - set(CODE) == {next(top for top in tops if top.endswith(".dist-info"))}
    assert tops.isdisjoint(BESIDE)


def test_the_wheel_brings_the_units_and_the_pins_that_install_and_upgrade_need(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for path in (*(ROOT / "systemd").rglob("*.*"), ROOT / "constraints.txt"):
            if path.is_file():
                assert archive.read(f"device/install/data/{path.relative_to(ROOT)}") == path.read_bytes()


def test_one_extra_leaves_out_the_onnxruntime_that_would_write_over_a_boards_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        name: {re.split("[<>=!~]", item)[0] for item in items}
        for name, items in project["optional-dependencies"].items()
    }
    assert extras["device"] - extras["device-jetson"] == {"onnxruntime"}
    assert extras["device-jetson"] < extras["device"]
    assert "onnxruntime" in extras["server"]
    assert extras["device-speech"] == {"pocketsphinx"}, "beside one of the two"
    assert "onnxruntime" not in {re.split("[<>=!~]", item)[0] for item in project["dependencies"]}


def test_the_wheel_carries_its_licence_and_both_commands(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        scripts = next(archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert "waycue-device = device.commands.main:main" in scripts
    assert "waycue-server = server.commands.main:main" in scripts


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestDeviceAlone:
    """What the `[device]` extra alone can do."""

    def test_torch_and_the_web_framework_are_absent(self, device_python: Path, tmp_path: Path) -> None:
        owners = json.loads(run(device_python, "-c", WHO_OWNS, cwd=tmp_path))
        assert sorted(set(owners) & set(FORBIDDEN)) == []

    def test_every_device_and_shared_module_can_be_imported(self, device_python: Path, tmp_path: Path) -> None:
        reported = json.loads(run(device_python, "-c", IMPORT_EVERYTHING, cwd=tmp_path, timeout_s=120))
        assert reported["failed"] == {}
        assert "device.agent" in reported["names"]
        assert "shared.runtime" in reported["names"]
        assert sorted(set(reported["loaded"]) & set(FORBIDDEN)) == []

    def test_the_command_explains_itself(self, device_python: Path, tmp_path: Path) -> None:
        text = run(device_python.parent / "waycue-device", "--help", cwd=tmp_path)
        assert "run" in text
        assert "selftest" in text
        assert "status" in text

    def test_no_other_distribution_owns_the_top_level_names(self, device_python: Path, tmp_path: Path) -> None:
        owners = json.loads(run(device_python, "-c", WHO_OWNS, cwd=tmp_path))
        assert {name: owners.get(name) for name in CODE} == {name: ["waycue"] for name in CODE}

    def test_the_installed_set_is_consistent(self, device_python: Path, tmp_path: Path) -> None:
        assert "No broken requirements" in run(device_python, "-m", "pip", "check", cwd=tmp_path)


def test_no_distribution_of_the_whole_set_owns_the_top_level_names() -> None:
    owners = importlib.metadata.packages_distributions()
    assert {name: sorted(set(owners.get(name, [])) - {"waycue"}) for name in CODE} == {name: [] for name in CODE}


@pytest.mark.parametrize("command", ["waycue-device", "waycue-server"])
def test_the_console_scripts_are_installed(command: str, tmp_path: Path) -> None:
    assert "usage:" in run(Path(sys.executable).parent / command, "--help", cwd=tmp_path)
