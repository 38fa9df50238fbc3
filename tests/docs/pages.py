"""Reading the pages of docs/, for the tests that hold them against the code."""

from __future__ import annotations

import re
from functools import cache

from tests.paths import ROOT

DOCS = ROOT / "docs"


@cache
def page(name: str) -> str:
    """The text of docs/<name>."""
    return (DOCS / name).read_text(encoding="utf-8")


def headings(text: str) -> list[str]:
    """The headings of a page, without those in code blocks."""
    return re.findall(
        r"^#{1,6} (.+?)\s*$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )


def section(name: str, heading: str) -> str:
    """What stands under a heading, up to the next heading of the same or a higher level. Raises: KeyError."""
    found = re.search(rf"^(#+) {re.escape(heading)}\s*$", page(name), re.MULTILINE)
    if found is None:
        raise KeyError(f"docs/{name} has no heading {heading!r}")
    rest = page(name)[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def named_in(text: str) -> set[str]:
    """Everything that stands in `backticks`."""
    return set(re.findall(r"`([^`\n]+)`", text))


def anchor(heading: str) -> str:
    """The link target that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
