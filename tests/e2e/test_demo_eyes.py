"""`make demo VIDEO=path` without a registry: it says why it has no eyes, and goes on with the starter."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from scripts.demo import eyes
from scripts.demo.children import Children
from scripts.demo.screen import Screen
from scripts.demo.story import Demo, told_last


@pytest.mark.parametrize("content", [None, b"no tarball"])
def test_without_the_package_the_starter_is_used_and_the_reason_told(content: bytes | None, tmp_path: Path) -> None:
    package = tmp_path / "eyes.tgz"
    if content is not None:
        package.write_bytes(content)
    with Children(tmp_path / "demo" / "logs") as children:
        demo = Demo(tmp_path / "demo", Screen(Console(quiet=True)), children)
        chosen = eyes.choose(demo, package)
    assert chosen.folder is None
    reason = "eyes.tgz is no file" if content is None else "other bytes"
    assert reason in chosen.notice
    assert chosen.notice.endswith(eyes.STARTER_NOTICE)
    assert "Traceback" not in chosen.notice


def test_a_night_that_says_nothing_but_its_verdict_is_read_and_one_that_says_more_is() -> None:
    verdict = '{\n "outcome": "skipped",\n "evaluation": {}\n}\n'
    for said in ("", "training\n", 'a {\n{ "b" }\n'):
        assert told_last(said + verdict) == {"outcome": "skipped", "evaluation": {}}
