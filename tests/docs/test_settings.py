"""docs/settings.md lists every setting with its default, and docs/guidance.md every figure of the policy."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from types import NoneType
from typing import Any

import pytest

from device import config as device_config
from server import config as server_config
from server.learn.settings import LearnSettings
from shared.policy import PolicySettings
from tests.docs.pages import headings, page, section


def written(value: Any) -> str:
    """A default as the page shows it."""
    match value:
        case None:
            return "not set"
        case dict():
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return f'`"{value}"`'
        case tuple():
            return "`[" + ", ".join(written(item).strip("`") for item in value) + "]`"
        case _:
            return f"`{value}`"


def defaults(section_type: type[Any]) -> dict[str, str]:
    return {item.name: written(getattr(section_type(), item.name)) for item in dataclasses.fields(section_type)}


def sections(config: type[Any]) -> list[tuple[str, type[Any]]]:
    return [(item.name, type(getattr(config(), item.name))) for item in dataclasses.fields(config)]


DEVICE = sections(device_config.Config)
SERVER = sections(server_config.ServerConfig)


def reported(name: str, part: str) -> dict[str, str]:
    """Setting → default, as the table under a heading has it."""
    text = section("settings.md", part)
    own = re.search(rf"^### {name}\n(.*?)(?=^###? |\Z)", text, re.MULTILINE | re.DOTALL)
    assert own is not None, f"{part} has no heading {name}"
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \| \S.* \|$", own[1], re.MULTILINE))


@pytest.mark.parametrize(("name", "kind"), DEVICE, ids=[name for name, _ in DEVICE])
def test_every_setting_of_the_device_is_told_with_its_default(name: str, kind: type[Any]) -> None:
    assert reported(name, "The device: device.toml") == defaults(kind)


@pytest.mark.parametrize(("name", "kind"), SERVER, ids=[name for name, _ in SERVER])
def test_every_setting_of_the_server_is_told_with_its_default(name: str, kind: type[Any]) -> None:
    assert reported(name, "The server: waycue.toml") == defaults(kind)


def test_the_page_tells_of_no_other_section() -> None:
    found = [heading for heading in headings(page("settings.md")) if re.fullmatch(r"[a-z]+", heading)]
    assert sorted(found) == sorted(name for name, _ in (*DEVICE, *SERVER))


@pytest.mark.parametrize("number", range(len(re.findall(r"^```toml", page("settings.md"), re.MULTILINE))))
def test_the_examples_are_accepted(number: int, tmp_path: Path) -> None:
    example = re.findall(r"^```toml\n(.*?)^```", page("settings.md"), re.MULTILINE | re.DOTALL)[number]
    (tmp_path / server_config.FILE).write_text(example, encoding="utf-8")
    if set(tomllib.loads(example)) <= {name for name, _ in DEVICE}:
        device_config.load(tmp_path / server_config.FILE)
    else:
        server_config.load(tmp_path)


def test_every_figure_of_the_policy_is_told() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section("guidance.md", "The figures behind it"), re.MULTILINE))
    expected = {}
    for item in dataclasses.fields(PolicySettings):
        value: Any = item.default
        plain = ", ".join(value) if isinstance(value, tuple) else {True: "on", False: "off"}.get(value, str(value))
        expected[item.name] = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else plain
    assert rows == expected


def test_the_nightly_settings_are_a_section_of_the_server() -> None:
    assert ("learn", LearnSettings) in SERVER


def test_every_setting_has_a_plain_type() -> None:
    """TOML knows text, numbers, true/false, lists of them, and tables."""
    for _, kind in (*DEVICE, *SERVER):
        for item in dataclasses.fields(kind):
            default = getattr(kind(), item.name)
            assert isinstance(default, str | int | float | bool | tuple | dict | NoneType), (
                f"{kind.__name__}.{item.name}"
            )
