"""What the person at the terminal sees: the steps with their state, and the last things the device said."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

LINES = 8


class Screen:
    """A live view on a terminal, plain lines elsewhere. A context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._done: list[tuple[str, float, str]] = []
        self._now, self._note, self._since = "", "", time.monotonic()
        self._captions: list[str] = []
        self._live = Live(console=console, refresh_per_second=6, get_renderable=self._render, transient=True)

    def __enter__(self) -> Screen:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._live.stop()
        if self.console.is_terminal:
            self.console.print(self._steps())

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step of the story; its last note stays beside it."""
        self._now, self._note, self._since = name, "", time.monotonic()
        if not self.console.is_terminal:
            self.console.print(f"▸ {name}")
        yield
        self._done.append((name, time.monotonic() - self._since, self._note))
        if not self.console.is_terminal:
            self.console.print(f"  ✔ {self._done[-1][1]:.1f} s  {self._note}", highlight=False)
        self._now = ""

    def note(self, text: str) -> None:
        """What the current step is doing."""
        self._note = text

    def watch(self, captions: Path) -> None:
        """Show the newest captions of the device's file."""
        if not captions.exists():
            return
        lines = captions.read_text(errors="replace").splitlines()
        said = [json.loads(line) for line in lines if line.endswith("}")]
        shown = [f"{item['t_s']:5.1f} s  {item['text']}" for item in said]
        if not self.console.is_terminal:
            for line in shown[len(self._captions) :]:
                self.console.print(f"    {line}", highlight=False)
        self._captions = shown

    def clear_captions(self) -> None:
        self._captions = []

    def _steps(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for name, seconds, note in self._done:
            table.add_row(Text("✔", "green"), name, f"{seconds:.0f} s", Text(note, "dim"))
        return table

    def _render(self) -> Group:
        table = self._steps()
        if self._now:
            seconds = f"{time.monotonic() - self._since:.0f} s"
            table.add_row(Spinner("dots"), Text(self._now, "bold"), seconds, Text(self._note, "dim"))
        said = Text("\n".join(self._captions[-LINES:]) or "(silent)")
        return Group(table, Panel(said, title="the device says", border_style="cyan", width=64))
