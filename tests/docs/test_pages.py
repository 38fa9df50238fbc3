"""The pages hang together: every link leads somewhere, every page is listed, commands in text exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, anchor, headings
from tests.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
IDS = [path.relative_to(ROOT).as_posix() for path in PAGES]


def links(path: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text)


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_every_link_leads_somewhere(path: Path) -> None:
    broken = []
    for link in links(path):
        if "://" in link:
            continue
        file, _, target = link.partition("#")
        found = (path.parent / file).resolve() if file else path
        anchors = map(anchor, headings(found.read_text("utf-8"))) if target and found.is_file() else [target]
        if not found.exists() or target not in anchors:
            broken.append(link)
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    listed = set(links(DOCS / "README.md"))
    assert [path.name for path in sorted(DOCS.glob("*.md")) if path.name not in listed | {"README.md"}] == []


def test_every_recipe_is_in_their_index() -> None:
    listed = set(links(DOCS / "how-to" / "README.md"))
    assert [
        path.name for path in sorted((DOCS / "how-to").glob("*.md")) if path.name not in listed | {"README.md"}
    ] == []


def test_every_decision_is_in_their_index() -> None:
    listed = set(links(DOCS / "adr" / "README.md"))
    assert [path.name for path in sorted((DOCS / "adr").glob("0*.md")) if path.name not in listed] == []


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_every_make_target_in_the_text_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z]+)\b[^`\n]*`", path.read_text(encoding="utf-8")))
    assert sorted(named - targets) == []


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_no_page_is_unfinished(path: Path) -> None:
    assert not re.search(r"\b(TODO|FIXME|TBD|XXX)\b", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_every_file_of_this_project_that_is_named_exists(path: Path) -> None:
    folders = "benchmarks|device|docs|exporters|scripts|server|shared|systemd|tests"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]*)`", path.read_text(encoding="utf-8")))
    assert sorted(name for name in named if not (ROOT / name).exists()) == []
