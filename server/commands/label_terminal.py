"""`label` at a terminal: each chunk is shown, heard and asked about; an answer may as well come from the page."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from server.commands.opening import open_picture
from server.commands.pictures import TerminalPictures
from server.commands.reviewing import chosen, numbered, read_line, rewording
from server.commands.sounding import SoundPlayer
from server.dataset import rules, wording
from server.dataset.wording import NotSayable, Reworded
from server.labelling import conditions
from server.labelling.desk import AskedChunk, LabelDesk
from shared import vocabulary
from shared.errors import Refused

HELP = f"""\
  what should be said     such as: Stop, curb ahead.
  nothing                 the path is clear, nothing should be said
  +                       what the model suggests
  skip                    this chunk gets no label
  back                    the chunk before this one again
  undo                    take the newest answer back
  play                    hear the sound again
  = sidewalk, day, rain   where and when it was recorded; stays for the next chunks
  quit                    stop; the same command goes on from here
{rules.RULES_TEXT}"""
QUESTION = "Enter instruction (or skip, back, undo, quit, ?): "
_LETTERS = {word[0]: word for word in ("skip", "back", "undo", "quit", "play")}
"""As `samples review` takes them; no sentence is a single letter."""
Guess = Callable[[AskedChunk, str], dict[str, tuple[str, str]]]
"""A chunk, its wording so far → field → (value, what guessed it)."""


@dataclass(slots=True)
class TypedLines:
    """Lines that a person types, until the chunk is answered elsewhere. `close` it."""

    desk: LabelDesk
    watched: bool
    """Whether somebody else may answer."""
    _wake: tuple[int, int] | None = None
    _typed: bytes = b""
    _ended: bool = False

    def __post_init__(self) -> None:
        if self.watched:
            self._wake = os.pipe()
            os.set_blocking(self._wake[1], False)
            self.desk.on_change(self._tell)

    def close(self) -> None:
        if self._wake is not None:
            wake, self._wake = self._wake, None
            for fd in wake:
                os.close(fd)

    def _tell(self) -> None:
        if self._wake is not None:
            with suppress(BlockingIOError):  # full: it wakes all the same
                os.write(self._wake[1], b".")

    def read(self, question: str, turn: int) -> str | None:
        """A line without its end; None where the chunk of that turn was answered elsewhere. Raises: EOFError,
        KeyboardInterrupt"""
        if self._wake is None:
            return read_line(question)
        print(question, end="", flush=True)
        while self.desk.turn == turn:
            line, newline, rest = self._typed.partition(b"\n")
            if newline:
                self._typed = rest
                return line.decode(errors="replace").rstrip("\r")
            self._wait()
        print()
        return None

    def _wait(self) -> None:
        assert self._wake is not None
        ready, _, _ = select.select([self._wake[0], *self._stdin()], [], [])
        if self._wake[0] in ready:
            os.read(self._wake[0], 4096)
            return
        piece = os.read(ready[0], 4096)
        self._typed += piece
        self._ended = not piece  # the page goes on without a terminal

    def _stdin(self) -> list[int]:
        try:
            return [] if self._ended else [sys.stdin.fileno()]
        except (io.UnsupportedOperation, ValueError):
            return []


@dataclass(slots=True)
class TerminalFront:
    """One person at one terminal."""

    desk: LabelDesk
    keys: TypedLines
    suggest: Callable[[AskedChunk], str]
    guess: Guess
    pictures: TerminalPictures | None = None
    player: SoundPlayer | None = None
    open_pictures: bool = False
    _around: dict[str, str] = field(default_factory=dict)
    """What was said of the surroundings of the chunk that is asked."""

    def ask_all(self) -> None:
        """Until every chunk has an answer, or a person quits. Raises: EOFError, KeyboardInterrupt, OSError."""
        video: Path | None = None
        while (asked := self.desk.asked()) is not None:
            if asked.video != video and asked.place[1] > 1:
                print(f"\nVideo {asked.place[0]} of {asked.place[1]}: {asked.video}")
            video = asked.video
            self._show(asked)
            self._around = {}
            self._ask(asked)

    def _show(self, asked: AskedChunk) -> None:
        start_s, end_s = asked.span_s
        print(f"\n{'=' * 50}\nChunk {asked.number + 1} of {asked.chunks}, {start_s:.1f} s to {end_s:.1f} s")
        print(f"Showing frame: {asked.frame}\nSound: {asked.audio}")
        if self.pictures is not None:
            sys.stdout.flush()
            self.pictures.show(asked.frame)
        if self.open_pictures:
            open_picture(asked.frame)
        if said := conditions.said(asked.fields):
            print(f"Where and when: {', '.join(said.values())}")
        looks = [f"{value} ({source})" for name, (value, source) in self.guess(asked, "").items() if name not in said]
        if looks:
            print(f"Looks like: {', '.join(looks)}")
        if asked.earlier:
            print(f"Until now: {asked.earlier} (Enter keeps it)")
        if suggestion := self.suggest(asked):
            print(f"Suggestion: {suggestion} ({'+' if asked.earlier else 'Enter'} takes it)")
        self._play(asked)

    def _play(self, asked: AskedChunk) -> None:
        if self.player is not None:
            self.player.play(asked.audio)

    def _ask(self, asked: AskedChunk) -> None:
        """Until there is an answer that can be taken, here or elsewhere."""
        text = self.keys.read(QUESTION, asked.turn)
        while text is not None:
            text = self._once(asked, text.strip())

    def _once(self, asked: AskedChunk, text: str) -> str | None:
        """Take a typed line; the next one where that was no answer."""
        action = _LETTERS.get(text.lower(), text.lower())
        if action in ("skip", "back", "undo", "quit"):
            return self._take(asked, action)
        if action == "" and asked.earlier is not None:
            return self._take(asked, "keep")
        if action in ("", "+") and (suggestion := self.suggest(asked)):
            return self._take(asked, "save", suggestion)
        if action == "nothing":
            return self._take(asked, "save", vocabulary.CLEAR)
        if action == "play":
            self._play(asked)
        elif text.startswith("="):
            self._describe(text)
        elif action in ("", "?", "+"):
            print(HELP)
        else:
            return self._words(asked, text)
        return self.keys.read("Enter instruction: ", asked.turn)

    def _take(self, asked: AskedChunk, action: str, text: str = "") -> str | None:
        """None: no more is typed about this chunk, answered here or, meanwhile, elsewhere."""
        fields = conditions.with_guesses({**asked.fields, **self._around}, self.guess(asked, text))
        try:
            print(self.desk.take(asked.turn, action, text, fields=fields))
        except Refused as refused:
            print(refused)
            return None
        if action == "save" and (line := rules.line(text)):
            print(f"  {line}")
        return None

    def _describe(self, text: str) -> None:
        try:
            self._around |= conditions.by_person(conditions.named(text))
        except Refused as refused:
            print(refused)
        said = conditions.said(self._around)
        print(f"Where and when: {', '.join(said.values()) or 'not said'}")

    def _words(self, asked: AskedChunk, text: str) -> str | None:
        typed = typed_words(text)
        if typed.taken is not None:
            return self._take(asked, "save", typed.taken)
        print("\n".join((*typed.lines, f"  {rules.line(text)}")))
        again = self.keys.read(typed.question, asked.turn)
        if again is None:
            return None
        again = again.strip()
        match again.lower():
            case "k" | "keep":
                print("Kept as you wrote it. It teaches nothing like this: `samples import` will ask, or leave it out.")
                return self._take(asked, "save", text)
            case "y" | "yes" if typed.wording:
                return self._take(asked, "save", typed.wording)
            case _:
                return chosen(again, typed.choices) or again or "?"


@dataclass(frozen=True, slots=True)
class TypedWords:
    """What becomes of typed words."""

    taken: str | None = None
    """The sentence that is written down without a question; None: a person is asked."""
    lines: tuple[str, ...] = ()
    """The answer instead."""
    wording: str | None = None
    """What the words would be taught as."""
    choices: tuple[str, ...] = ()
    """What may have been meant."""

    @property
    def question(self) -> str:
        """Enter takes nothing."""
        take = "y: teach this, " if self.wording else "a number: that wording, " if self.choices else ""
        return f"({take}k: keep yours, which does not teach, or type another) "


def typed_words(text: str) -> TypedWords:
    """Typed words in the vocabulary's. Pure."""
    try:
        return TypedWords(wording.teachable(text))
    except Reworded as reworded:
        return TypedWords(lines=tuple(rewording(reworded, written=True)), wording=reworded.wording)
    except NotSayable as refused:
        return TypedWords(lines=(str(refused), *numbered(refused.suggestions)), choices=refused.suggestions)
    except Refused as refused:
        return TypedWords(lines=(str(refused),))
