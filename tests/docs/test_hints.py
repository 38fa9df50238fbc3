"""Every command that a hint, a message or a docstring names exists: its words and its flags, against the parsers."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.commands.main import parser as device_parser
from server.commands.main import parser as server_parser
from tests.house.tree import CODE, python_files
from tests.paths import ROOT

PARSERS = {"waycue-device": device_parser(), "waycue-server": server_parser()}
COMMAND = re.compile(r"(waycue-(?:device|server))((?: +[^\s`]+)*)")
PROSE = {"about", "made", "uses"}
"""What follows the name of a program where it is the subject of a sentence."""


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string; what an f-string puts in is {}."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def wrong(text: str) -> Iterator[str]:
    """The commands in a text that do not exist."""
    for mention in COMMAND.finditer(" ".join(text.split())):
        parser = PARSERS[mention[1]]
        flags = set(parser._option_string_actions)
        takes_value = False
        for word in mention[2].split():
            plain = word.rstrip(".,;:)'\"…!?")
            is_flag = plain.startswith("--")
            if is_flag and plain.split("=")[0] not in flags:
                yield mention[0]
                break
            below = verbs(parser)
            if plain in below:
                parser = below[plain]
                flags |= set(parser._option_string_actions)
            elif below and not is_flag and not takes_value and re.fullmatch(r"[a-z-]+", plain) and plain not in PROSE:
                yield mention[0]
                break
            if plain != word or plain in PROSE:
                break  # the end of a clause
            takes_value = is_flag


FILES = [str(path.relative_to(ROOT)) for path in python_files(*CODE, "scripts")]


def test_every_command_in_a_string_exists() -> None:
    unknown = [
        f"{name}:{line}: {command}" for name in FILES for line, text in strings(ROOT / name) for command in wrong(text)
    ]
    assert unknown == []


@pytest.mark.parametrize(
    ("text", "is_wrong"),
    [
        ("Offer one: waycue-server models offer.", True),
        ("Write `waycue-device enroll --cod X`.", True),
        ("waycue-server --hom ~/waycue init", True),
        ("see waycue-device status, or the log", False),
        ("`waycue-server --home ~/waycue models add starter`", False),
        ("waycue-server keys renew-root --root-key FILE", False),
        ("as `waycue-device` does", False),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(text: str, is_wrong: bool) -> None:
    assert bool([*wrong(text)]) == is_wrong
