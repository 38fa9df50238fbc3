"""docs/seeds.md names only commands, flags, settings, fields, formats, pages and files that there are."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex

import pytest

from device import config as device_config
from server import config as server_config
from server.commands.export import WRITERS
from server.commands.main import parser as server_parser
from server.dataset.sample_row import SampleRow
from tests.docs.pages import named_in, page
from tests.paths import ROOT

TEXT = page("seeds.md")
NAMED = named_in(TEXT.replace(r"\|", "|"))
COMMANDS = sorted(text for text in NAMED if text.startswith("waycue-"))
"""Every one is written as it would be typed, with words in capitals for what is one's own."""
_OWN = {"DIR": "dataset", "VIDEO": "walk.mp4", "VERSION": "n1", "TEXT": "Stop, curb ahead.", "WORDS": "day"}


def parsed(command: str) -> argparse.Namespace:
    """Raises: AssertionError where argparse takes it for wrong use."""
    words = [_OWN.get(word, word) for word in shlex.split(command)]
    assert words[0] == "waycue-server", "devices have no command for this"
    try:
        return server_parser().parse_args(words[1:])
    except SystemExit:
        raise AssertionError(f"{command!r} is no command") from None


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_typed_as_it_stands(command: str) -> None:
    found = parsed(_whole(command))
    assert callable(found.run)


def _whole(command: str) -> str:
    """A command of which the page names only what matters there, with the folder that it needs besides."""
    return command + " --out DIR" if command.split()[1] in ("export", "finetune") else command


@pytest.mark.parametrize("name", sorted(text for text in NAMED if re.fullmatch(r"[a-z_]+\.[a-z_]+", text)))
def test_every_setting_is_one(name: str) -> None:
    section, _, key = name.partition(".")
    if key in ("py", "sh", "jsonl", "json", "toml", "load_dataset"):
        return
    configs = (device_config.Config(), server_config.ServerConfig())
    assert any(hasattr(getattr(config, section, None), key) for config in configs), name


@pytest.mark.parametrize(
    "name", sorted(text for text in NAMED if re.match(r"(tests|server|shared|device|exporters|scripts)/", text))
)
def test_every_file_is_there_unless_it_is_the_seeds_own(name: str) -> None:
    seeds_own = {"scripts/finetune_qved.sh", "scripts/infer_qved.py"}
    assert name in seeds_own or (ROOT / name).is_file(), name


@pytest.mark.parametrize("name", sorted(text for text in NAMED if re.fullmatch(r"/[a-z]+", text)))
def test_every_page_is_linked_from_the_others(name: str) -> None:
    templates = "".join(path.read_text("utf-8") for path in (ROOT / "server/web/templates").glob("*.html"))
    assert f'href="{name}"' in templates


def test_every_format_of_an_export_is_one() -> None:
    named = re.findall(r"--format ([a-z]+)", TEXT)
    assert set(named) <= set(WRITERS)
    assert {"jsonl", "samples", "sqlite", "vsr", "correction"} <= set(named)


def test_fields_of_a_row_have_their_names() -> None:
    fields = {item.name for item in dataclasses.fields(SampleRow)}
    for name in ("raw_output", "llm_correction", "llm_wording", "ground_truth", "was_correct", "instruction"):
        assert name in fields
        assert f"`{name}`" in TEXT


def test_every_row_of_a_table_has_two_cells_with_something_in_them() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("|") and not line.startswith("|---")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    assert [row for row in cells if len(row) != 2 or not all(row)] == []
    assert len(cells) > 60
