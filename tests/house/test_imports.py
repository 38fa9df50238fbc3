"""Who may import whom: the contracts in pyproject.toml are kept, and they would notice if they were not."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.house.tree import CODE, PYTHON, python_files, text_files
from tests.paths import ROOT

LINT = Path(sys.executable).parent / "lint-imports"
# A library that opens devices or sockets, or drags in a gigabyte, has a few homes; everything else takes values.
HOMES = {
    "paho": ("shared/mqtt.py",),
    "sounddevice": ("device/",),
    "gpiozero": ("device/controls/pins.py", "device/tactile/gpio.py"),
    "pocketsphinx": ("shared/speech/sphinx.py",),
    "fastapi": ("server/web/", "server/run.py", "server/identity/enrol_http.py"),
    "uvicorn": (
        "server/run.py",
        "server/identity/enrol_http.py",
        "server/web/connections.py",
        "server/web/label_page.py",
    ),
    "tuf": ("device/updates/tuf_client.py", "server/releases/metadata_folder.py", "server/releases/signing.py"),
    "securesystemslib": ("server/releases/",),
    "onnxruntime": ("shared/runtime/", "exporters/onnx/"),
}


def lint(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINT), "--no-logo", "--no-cache", "--config", str(config)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def contracts(kind: str) -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    return [contract for contract in settings["contracts"] if contract["type"] == kind]


def sources() -> set[str]:
    return {name for contract in contracts("forbidden") for name in contract["source_modules"]}


def floors(side: str) -> list[list[str]]:
    """The rooms of each floor of a side, the highest floor first."""
    layers = next(contract["layers"] for contract in contracts("layers") if contract["containers"] == [side])
    return [floor.split(" | ") for floor in layers]


def empty_house(folder: Path) -> None:
    """Every package and room that a contract names, without code."""
    rooms = {f"{side}.{room}" for side in ("device", "server") for floor in floors(side) for room in floor}
    forbidden = {name for contract in contracts("forbidden") for name in contract["forbidden_modules"]}
    ours = {name for name in rooms | sources() | forbidden if name.split(".")[0] in CODE}
    for package in CODE:
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
    for name in ours:
        if "." in name:
            (folder / f"{name.replace('.', '/')}.py").touch()


def test_the_contracts_are_kept() -> None:
    done = lint(ROOT, ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout


FORBIDDEN = [
    ("shared", "device"),
    ("shared", "server"),
    ("shared", "exporters"),
    ("shared", "torch"),
    ("shared", "transformers"),
    ("shared", "fastapi"),
    ("shared", "paho"),
    ("device", "server"),
    ("device", "exporters"),
    ("device", "torch"),
    ("device", "transformers"),
    ("device", "paho"),
    ("device.sentinel", "numpy"),
    ("device.sentinel", "device.voice"),
    ("exporters", "device"),
    ("exporters", "server"),
    ("server", "device"),
    ("server", "paho"),
]
ROOMS = {"device": "device.capture", "device.sentinel": "device.sentinel", "server": "server.walks"}


def lower_and_upper(side: str) -> list[tuple[str, str]]:
    """Each room of a side with the one right above or beside it."""
    order = [f"{side}.{room}" for floor in floors(side) for room in floor]
    return [(lower, upper) for upper, lower in itertools.pairwise(order)]


@pytest.fixture(scope="module")
def objections(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter says of a house with every forbidden import in it. The linter takes seconds to start."""
    folder = tmp_path_factory.mktemp("broken")
    empty_house(folder)
    imports = [(ROOMS.get(importer, f"{importer}.wrong"), imported) for importer, imported in FORBIDDEN]
    for importer, imported in imports + lower_and_upper("device") + lower_and_upper("server"):
        with open(folder / f"{importer.replace('.', '/')}.py", "a", encoding="utf-8") as module:
            module.write(f"import {imported}\n")
    done = lint(folder, ROOT / "pyproject.toml")
    assert done.returncode == 1, done.stdout
    return done.stdout


@pytest.mark.parametrize(("importer", "imported"), FORBIDDEN)
def test_a_contract_notices(importer: str, imported: str, objections: str) -> None:
    assert f"{ROOMS.get(importer, f'{importer}.wrong')} -> {imported} " in objections


@pytest.mark.parametrize("side", ["device", "server"])
def test_no_room_may_use_one_above_or_beside_it(side: str, objections: str) -> None:
    broken = [f"{lower} -> {upper} " for lower, upper in lower_and_upper(side)]
    assert [arrow for arrow in broken if arrow not in objections] == []


def test_every_room_has_a_floor_and_a_circle_of_modules_is_noticed(tmp_path: Path) -> None:
    empty_house(tmp_path)
    assert lint(tmp_path, ROOT / "pyproject.toml").returncode == 0
    (tmp_path / "device" / "attic.py").touch()
    (tmp_path / "exporters" / "a.py").write_text("import exporters.b\n", encoding="utf-8")
    (tmp_path / "exporters" / "b.py").write_text("import exporters.a\n", encoding="utf-8")
    done = lint(tmp_path, ROOT / "pyproject.toml")
    assert done.returncode == 1
    assert "device.attic" in done.stdout
    assert "no circles between modules, at any depth BROKEN" in done.stdout


def test_every_package_has_a_contract() -> None:
    assert {name for name in sources() if "." not in name} == set(CODE)


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


def first_statements(package: str) -> list[str]:
    """The statements of a package's `__init__`, without its docstring."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    return [
        ast.unparse(node) for node in tree.body if not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call)
    ]


@pytest.mark.parametrize("package", PYTHON)
def test_every_package_stops_telemetry_before_it_imports_anything(package: str) -> None:
    """onnxruntime reads its switch when its library loads; Python runs a package's `__init__` before its modules."""
    assert first_statements(package)[:2] == ["from shared.privacy import stop_telemetry", "stop_telemetry()"]


def test_nothing_outside_the_packages_imports_onnxruntime() -> None:
    """Scripts that are no module of a package, and Python inside of shell scripts, would come before the switch."""
    inside = set(python_files(*PYTHON))
    others = [path for path in text_files() if path not in inside and path.suffix not in (".md", ".toml", ".txt")]
    assert [path.name for path in others if re.search(r"import onnxruntime", path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("side", ["device", "server"])
def test_a_command_line_loads_what_is_heavy_only_in_the_command_that_uses_it(side: str) -> None:
    """Each of them would make every command, also --help, some seconds slower on a small board."""
    heavy = ["torch", "transformers", "scipy", "datasets", "peft", "onnx", "fastapi", "matplotlib"]
    heavy += ["onnxruntime"] if side == "server" else []  # 0.2 s, and most commands of a device look
    code = f"import sys, {side}.commands.main; print(*(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_server_starts_without_what_only_some_homes_or_some_requests_need() -> None:
    """onnxruntime and its tokenizers are 30 MB and 0.1 s; Alembic is for a database that an older version wrote."""
    heavy = ["torch", "scipy", "onnxruntime", "tokenizers", "authlib", "httpx", "alembic", "apprise", "matplotlib"]
    code = f"import sys, server.commands.main, server.run; print(*(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_command_loads_no_other_command() -> None:
    code = (
        "import sys; from server.commands.main import parser; parser(['--home', 'run', 'stats']); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.removeprefix("server.commands.") for name in done.stdout.split() if name.startswith("server.comm")}
    assert {"main", "stats"} <= loaded
    assert not loaded & {"check", "models", "samples", "vocabulary", "evaluate"}
