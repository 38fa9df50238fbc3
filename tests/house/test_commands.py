"""`make`, the scripts and the pinned set: what a newcomer types must exist and explain itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.paths import ROOT

TARGETS = ("setup", "demo", "test", "check", "bench", "soak", "starter", "fmt", "clean")
SCRIPTS = (
    "scripts/setup",
    "scripts/check",
    "scripts/test",
    "scripts/bench",
    "scripts/soak",
    "scripts/freeze",
    "scripts/arm64",
    ".ci/run",
)


def make(*arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=60
    ).stdout


@pytest.mark.parametrize("target", TARGETS)
def test_make_alone_explains_each_target(target: str) -> None:
    assert re.search(rf"^  make {target} +\w.+", make(), re.MULTILINE)


def test_every_target_has_help() -> None:
    rules = re.findall(r"^([a-z]+):(.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, rest in rules if "## " not in rest] == []


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench", "soak", "starter"])
def test_each_target_sets_itself_up_first(target: str) -> None:
    assert make("--dry-run", target).splitlines()[0] == "scripts/setup"


def test_demo_hands_on_the_video() -> None:
    assert (
        make("--dry-run", "demo", "VIDEO=a walk.mp4").splitlines()[-1].endswith('-m scripts.demo --video "a walk.mp4"')
    )


def test_the_tests_come_after_the_quick_checks_and_beside_the_slow_ones() -> None:
    assert make("--dry-run", "test").splitlines() == ["scripts/setup", "scripts/check quick", "scripts/test"]
    assert "scripts/check slow" in (ROOT / "scripts" / "test").read_text(encoding="utf-8")
    some = make("--dry-run", "test", "ARGS=tests/link -x").splitlines()
    assert some == ["scripts/setup", "scripts/check", "scripts/test tests/link -x"]


def test_continuous_integration_runs_make_test() -> None:
    assert "exec make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_runs_from_anywhere_and_stops_at_errors(name: str) -> None:
    path = ROOT / name
    assert os.access(path, os.X_OK)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert re.search(r"^set -[eu]*uo pipefail$", text, re.MULTILINE)
    assert 'cd "$(dirname "$0")/.."' in text


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(["shellcheck", *SCRIPTS], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_a_benchmark_that_does_not_exist_is_named() -> None:
    done = subprocess.run([ROOT / "scripts" / "bench", "nothing"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "no benchmarks/nothing.py" in done.stderr


def direct_dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups: list[list[str]] = [project["dependencies"], *project["optional-dependencies"].values()]
    return [item for group in groups for item in group]


def pins(path: Path = ROOT / "constraints.txt") -> dict[str, str]:
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, version in (line.split("==") for line in lines)}


def test_every_direct_dependency_is_pinned() -> None:
    names = [re.split(r"[<>=!~\[]", item)[0].lower() for item in direct_dependencies()]
    assert sorted(set(names) - set(pins())) == []


def test_no_pin_belongs_to_one_build_of_a_package() -> None:
    assert [version for version in pins().values() if "+" in version or "@" in version] == []


def test_torch_is_pinned_in_the_extra_itself() -> None:
    # A range would take the newest torch, and on a machine with a GPU index gigabytes of another CUDA with it.
    assert "torch==2.13.0" in direct_dependencies()
