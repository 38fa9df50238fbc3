"""What of this checkout is source, for the tests about the house itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.paths import ROOT

CODE = ("device", "exporters", "server", "shared")
PYTHON = (*CODE, "scripts", "benchmarks", "tests")


def python_files(*folders: str) -> Iterator[Path]:
    """Every Python file below the folders (all of them by default), in a stable order."""
    for folder in folders or PYTHON:
        yield from sorted((ROOT / folder).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """Each file once: several tests look at all of them."""
    return ast.parse(path.read_text(encoding="utf-8"))


def text_files() -> Iterator[Path]:
    """Every file that a person wrote."""
    kinds = {".py", ".md", ".toml", ".txt", ".html", ".css", ".js", ".service", ".timer", ".conf", ".ini", ".mako", ""}
    for folder in (*PYTHON, "docs", "systemd", ".ci"):
        found = (path for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts)
        yield from sorted(path for path in found if path.is_file() and path.suffix in kinds)
    yield from sorted(path for path in ROOT.iterdir() if path.is_file() and path.suffix in kinds)
