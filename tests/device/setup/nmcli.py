"""A program called nmcli that records what it is asked, and fails as NetworkManager's own does."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """\
#!{python}
import json, sys, pathlib
folder = pathlib.Path({folder!r})
arguments = sys.argv[1:]
given = sys.stdin.read()
with open(folder / "calls.jsonl", "a") as out:
    out.write(json.dumps({{"arguments": arguments, "stdin": given}}) + "\\n")
answers = json.loads((folder / "answers.json").read_text())
for words, status, text in answers:
    if words in " ".join(arguments):
        print(text, file=sys.stderr)
        sys.exit(status)
"""


class FakeNmcli:
    """folder: put first on PATH by `used`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        program = folder / "nmcli"
        program.write_text(PROGRAM.format(python=sys.executable, folder=str(folder)))
        program.chmod(0o755)
        self.answers()

    def used(self, monkeypatch: pytest.MonkeyPatch) -> FakeNmcli:
        monkeypatch.setenv("PATH", f"{self._folder}:{os.environ['PATH']}")
        return self

    def answers(self, *answers: tuple[str, int, str]) -> None:
        """(words of the command, exit status, what it says): the first that fits; else all is well."""
        answered = [*answers, ("connection delete", 10, "Error: unknown connection.")]
        (self._folder / "answers.json").write_text(json.dumps(answered))

    @property
    def calls(self) -> list[dict[str, Any]]:
        file = self._folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def arguments(self) -> str:
        return "\n".join(" ".join(call["arguments"]) for call in self.calls)

    @property
    def passwords(self) -> list[str]:
        given = [call["stdin"] for call in self.calls if "passwd-file" in call["arguments"]]
        return [line.partition(":")[2].rstrip("\n") for line in given]
