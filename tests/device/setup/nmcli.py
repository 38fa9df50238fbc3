"""A program called nmcli that records what it is asked, and fails as NetworkManager's own does."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

BETWEEN, AFTER, END = "\x1f", "\x1e", "\x1d"
NOT_THERE = ("connection delete", 10, "Error: unknown connection.")


@dataclass(frozen=True, slots=True)
class Call:
    arguments: list[str]
    stdin: str


class FakeNmcli:
    """folder: put first on PATH by `used`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._log = folder, folder / "calls"
        folder.mkdir(parents=True, exist_ok=True)
        self.answers()

    def used(self, monkeypatch: pytest.MonkeyPatch) -> FakeNmcli:
        monkeypatch.setenv("PATH", f"{self._folder}:{os.environ['PATH']}")
        return self

    def answers(self, *answers: tuple[str, int, str]) -> None:
        """(words of the command, exit status, what it says): the first that fits; else all is well."""
        cases = [
            f"*{shlex.quote(words)}*) echo {shlex.quote(text)} >&2; exit {status};;"
            for words, status, text in (*answers, NOT_THERE)
        ]
        record = f"{{ printf '%s{BETWEEN}' \"$@\"; printf '{AFTER}'; cat; printf '{END}'; }} >> {self._log}"
        program = self._folder / "nmcli"
        made = self._folder / "nmcli.new"
        made.write_text("\n".join(["#!/bin/sh", record, 'case "$*" in', *cases, "esac", ""]))
        made.chmod(0o755)
        made.rename(program)

    @property
    def calls(self) -> list[Call]:
        if not self._log.exists():
            return []
        parts = [call.split(AFTER) for call in self._log.read_text().split(END)[:-1]]
        return [Call(arguments.split(BETWEEN)[:-1], given) for arguments, given in parts]

    @property
    def arguments(self) -> str:
        return "\n".join(" ".join(call.arguments) for call in self.calls)

    @property
    def passwords(self) -> list[str]:
        """As NetworkManager reads them: spaces at the ends are cut off, a backslash escapes what follows."""
        given = [call.stdin.rstrip("\n") for call in self.calls if "passwd-file" in call.arguments]
        plain = [re.sub(r"(?<!\\) +$", "", line.partition(":")[2].lstrip(" ")) for line in given]
        return [re.sub(r"\\(.)", r"\1", text) for text in plain]
