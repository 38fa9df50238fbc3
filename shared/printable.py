"""Text from elsewhere without what steers a terminal: escape sequences, control characters, marks that turn the
direction of text. Pure, but for `Guarded`.

A device's words travel into records, pages and terminals. `printable` is asked where they come in (the server's merge)
and again where a command prints (`Guarded`): what was stored before, or came in by another way, reaches no terminal.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO, cast

_SEQUENCES = re.compile(
    r"\x1b\][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC: titles, links, the clipboard
    r"|\x1b[PX^_][^\x1b\x9c\n]*(?:\x1b\\|\x9c)?"  # DCS, SOS, PM, APC: strings to the terminal
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, the cursor
    r"|\x1b[ -/]*[0-~]?"  # the other escapes
)
_SPACES = frozenset("\n\t\r\v\f\x85\u2028\u2029")
_JOINERS = frozenset("\u200c\u200d")  # without them some scripts and signs read otherwise; they steer nothing
_DROPPED = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_PROGRESS = re.compile(r"\r(?= *\d)")
LINES = frozenset("\n\t")
"""What a command's own layout needs."""


def printable(text: str, *, keep: frozenset[str] = frozenset()) -> str:
    """The text without what steers a terminal; line ends and tabs become a space. Idempotent. keep: signs that stay"""
    if text.isprintable():
        return text
    plain = _SEQUENCES.sub("", text) if "\x1b" in text or "\x9b" in text else text
    return "".join(_sign(sign, keep) for sign in plain)


def _sign(sign: str, keep: frozenset[str]) -> str:
    if sign.isprintable() or sign in keep or sign in _JOINERS:
        return sign
    if sign in _SPACES:
        return " "
    return "" if unicodedata.category(sign) in _DROPPED else sign


def printable_value(value: Any) -> Any:
    """Plain JSON values with every text in them printable, names of entries too. Returns `value` itself where nothing
    was to be done."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(name): printable_value(item) for name, item in value.items()}
    return [printable_value(item) for item in value] if isinstance(value, list | tuple) else value


def shortened(text: str, most: int) -> str:
    """The text cut to `most` characters, with an ellipsis where something is missing. Pure."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


@contextmanager
def guarded() -> Iterator[None]:
    """Within it everything that is printed, and every error, passes through `Guarded`; logs, too, that are set up
    within it."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast(TextIO, Guarded(out)), cast(TextIO, Guarded(err))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def beneath(stream: TextIO) -> TextIO:
    """The stream beneath a guarded one: for a command that draws with escapes of its own."""
    return stream.stream if isinstance(stream, Guarded) else stream


class Guarded:
    """A stream to print on that lets nothing through that steers a terminal, but line ends, tabs, and a carriage return
    before a number: progress is drawn in place with it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        """The one beneath: for what a command draws itself."""

    def write(self, text: str) -> int:
        in_place = _PROGRESS.match(text) is not None
        plain = printable(text[in_place:], keep=LINES)
        self.stream.write(f"\r{plain}" if in_place else plain)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
