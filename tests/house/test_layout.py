"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.tree import CODE, parsed, python_files, text_files
from tests.paths import ROOT

MAX_FUNCTION_LINES = 60
# Places that exist on one machine only. Written in two parts, so that this file passes its own test.
ONE_MACHINE = (
    "/work" + "/main",
    "/work" + "/shared",
    "/ro" + "ot/",
    "/home" + "/pi/",
    "/opt/" + "wheels",
    "/opt/" + "pypi",
)


def test_every_folder_of_tests_and_code_is_a_package() -> None:
    # Without __init__.py, two test files of one name shadow each other, and mypy skips the folder.
    folders = {path.parent for path in python_files(*CODE, "tests", "scripts")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_every_module_says_what_it_promises() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in python_files()
        if (path.name != "__init__.py" or path.parent.parent == ROOT) and "tests" not in path.relative_to(ROOT).parts
        if ast.get_docstring(parsed(path)) is None
    ]
    assert silent == []


def test_no_function_is_longer_than_a_screen() -> None:
    long = []
    for path in python_files(*CODE, "scripts", "benchmarks"):
        if "migrations" in path.parts:  # a migration is one list of tables
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = (node.end_lineno or node.lineno) - node.lineno + 1
                if count > MAX_FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {count} lines")
    assert long == []


def test_nothing_names_a_place_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {place}"
        for path in text_files()
        for place in ONE_MACHINE
        if place in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert found == []


def test_tests_wait_on_events_and_never_sleep() -> None:
    calls = re.compile(r"\btime\.sleep\(")
    found = [str(path.relative_to(ROOT)) for path in python_files("tests") if calls.search(path.read_text("utf-8"))]
    assert [name for name in found if name != "tests/house/test_layout.py"] == []


@pytest.mark.parametrize("folder", CODE)
def test_type_information_travels_with_the_package(folder: str) -> None:
    assert (ROOT / folder / "py.typed").is_file()


def test_decision_records_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_each_decision_record_has_context_options_and_decision() -> None:
    for path in sorted((ROOT / "docs" / "adr").glob("[0-9]*.md")):
        headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings[:3] == ["Context", "Options", "Decision"], path.name


def test_the_licence_is_apache_2() -> None:
    text = Path(ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_formatter_is_switched_off_for_tables_of_data_only() -> None:
    switch = "fmt: " + "skip"
    elsewhere = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in python_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if switch in line and not re.match(r"[])}]+  # ", line)
    ]
    assert elsewhere == []
