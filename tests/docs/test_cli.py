"""docs/cli.md lists every command and flag, and every one of them has help."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import pytest

from device.commands.main import parser as device_parser
from server.commands.main import parser as server_parser
from tests.docs.pages import named_in, page, section


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and all parsers below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            seen = set()
            for below in action.choices.values():
                if id(below) not in seen:
                    seen.add(id(below))
                    yield from commands(below)


def flags(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Flags and arguments of one command, without -h."""
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            yield action


COMMANDS = [*commands(device_parser()), *commands(server_parser())]
NAMES = [command.prog for command in COMMANDS]


def shown(action: argparse.Action) -> str:
    """How the page names a flag or an argument."""
    if action.option_strings:
        return action.option_strings[-1]
    return str(action.metavar or action.dest)


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_each_command_has_a_heading(command: argparse.ArgumentParser) -> None:
    assert re.search(rf"^#+ {re.escape(heading(command))}$", page("cli.md"), re.MULTILINE)


def heading(command: argparse.ArgumentParser) -> str:
    """The command without the arguments that argparse puts between its words."""
    return " ".join(word for word in command.prog.split() if not word.startswith(("-", "[")) and not word.isupper())


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_each_flag_is_listed_under_its_command_and_no_other(command: argparse.ArgumentParser) -> None:
    text = section("cli.md", heading(command)).split("\n#")[0]
    names = re.findall(r"^\| `([^`]+)`", text.replace(r"\|", "|"), re.MULTILINE)
    listed = {name.split()[0] for name in names}
    assert listed == {shown(action) for action in flags(command)}


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_each_flag_has_help(command: argparse.ArgumentParser) -> None:
    silent = [shown(action) for action in flags(command) if not action.help or action.help == argparse.SUPPRESS]
    assert silent == []


def test_every_command_in_the_other_pages_exists() -> None:
    known = {heading(command) for command in COMMANDS}
    for name in ("operations.md", "learning.md", "guidance.md", "settings.md"):
        for text in named_in(page(name)):
            found = re.match(r"(waycue-(?:device|server))((?: --?[a-z]+ \S+)*)((?: [a-z]+)*)", text)
            if found is None:
                continue
            words = [found[1], *found[3].split()]
            assert any(" ".join(words[:count]) in known for count in range(len(words), 0, -1)), text
