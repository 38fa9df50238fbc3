"""Whatever the device says about itself, docs/operations.md says what it means."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.pages import page, section
from tests.house.tree import python_files
from tests.paths import ROOT

# A constant that is spoken: up to seven words that begin with a capital and end with a stop.
SPOKEN = re.compile(r"[A-Z][a-z]+(?:[ ,]+[a-z]+| [A-Z][a-z]+|\. [A-Z][a-z]+){0,6}\.")


def announcements() -> list[str]:
    """Values of upper-case constants in the agent and the policy that read like an announcement."""
    found = set()
    for path in (*python_files("device"), *python_files("shared/policy")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                value, name = node.value.value, node.targets[0]
                upper = isinstance(name, ast.Name) and name.id.isupper() and not name.id.endswith(("HINT", "HELP"))
                if upper and isinstance(value, str) and SPOKEN.fullmatch(value):
                    found.add(value)
    return sorted(found)


def test_there_are_announcements() -> None:
    assert {"Camera blocked.", "No model. Recording only.", "Storage full."} <= set(announcements())


@pytest.mark.parametrize("text", announcements())
def test_each_announcement_is_explained(text: str) -> None:
    assert f'| "{text}" |' in section("operations.md", "What the announcements mean")


def test_no_announcement_is_explained_that_is_never_made() -> None:
    reported = re.findall(r'^\| "(.+?)" \|', section("operations.md", "What the announcements mean"), re.MULTILINE)
    source = "".join(path.read_text("utf-8") for path in (*python_files("device"), *python_files("shared/policy")))
    assert [text for text in reported if f'"{text}"' not in source] == []


def test_the_page_for_wearers_quotes_only_what_is_said() -> None:
    said = section("guidance.md", "What it says about itself")
    source = "".join(path.read_text("utf-8") for path in python_files(str(ROOT / "device"), "shared/policy"))
    assert [text for text in re.findall(r'"([A-Z][^"]+\.)"', said) if f'"{text}"' not in source] == []
    assert "silence" in page("guidance.md").lower()
