"""Who may import whom: the contracts in pyproject.toml are kept, and they would notice if they were not."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.tree import CODE, ROOT, python_files

LINT = Path(sys.executable).parent / "lint-imports"
# A library that opens devices or sockets, or drags in a gigabyte, has a few homes; everything else takes values.
HOMES = {
    "paho": ("device/connection.py", "device/selftest.py", "server/link.py", "server/access_link.py"),
    "sounddevice": ("device/",),
    "gpiozero": ("device/buttons.py",),
    "pocketsphinx": ("server/speech/",),
    "fastapi": ("server/web/", "server/run.py", "server/enrolment_service.py"),
    "uvicorn": ("server/run.py", "server/enrolment_service.py"),
    "tuf": ("device/trust.py", "server/release.py"),
    "securesystemslib": ("server/release.py", "server/release_keys.py"),
    "onnxruntime": ("shared/runtime/", "exporters/onnx/"),
}


def lint(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINT), "--no-logo", "--no-cache", "--config", str(config)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def named_in_contracts(*fields: str) -> set[str]:
    """Modules of ours that the contracts name."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    found = {
        name
        for contract in settings["contracts"]
        for field in fields or ("source_modules", "forbidden_modules")
        for name in contract[field]
    }
    return {name for name in found if name.split(".")[0] in CODE}


def test_the_contracts_are_kept() -> None:
    done = lint(ROOT, ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("shared", "device"),
        ("shared", "server"),
        ("shared", "exporters"),
        ("shared", "torch"),
        ("shared", "transformers"),
        ("shared", "fastapi"),
        ("device", "server"),
        ("device", "exporters"),
        ("device", "torch"),
        ("device", "transformers"),
        ("exporters", "device"),
        ("exporters", "server"),
        ("server", "device"),
    ],
)
def test_a_contract_notices(importer: str, imported: str, tmp_path: Path) -> None:
    for package in CODE:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    for name in named_in_contracts():
        if name.count("."):
            (tmp_path / f"{name.replace('.', '/')}.py").touch()
    (tmp_path / importer / "wrong.py").write_text(f"import {imported}\n", encoding="utf-8")
    done = lint(tmp_path, ROOT / "pyproject.toml")
    assert done.returncode == 1, done.stdout
    assert f"{importer}.wrong -> {imported}" in done.stdout


def test_every_package_has_a_contract() -> None:
    assert {name for name in named_in_contracts("source_modules") if "." not in name} == set(CODE)


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_heavy_library_stays_at_home(library: str) -> None:
    strangers = []
    for path in python_files(*CODE):
        name = path.relative_to(ROOT).as_posix()
        lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
        imports = any(line.startswith((f"import {library}", f"from {library}")) for line in lines)
        if imports and not name.startswith(HOMES[library]):
            strangers.append(name)
    assert strangers == []
