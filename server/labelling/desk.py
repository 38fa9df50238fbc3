"""One labelling as one state, whoever answers: a terminal, a page, a script.

    asked()                 the chunk that waits for an answer, its files written; None after the last, or a "quit"
    take(turn, action, …)   an answer to it, durable when this returns; the next chunk is then asked

`turn` counts what was asked. An answer names the turn that its giver saw, so one that was given meanwhile elsewhere is
refused, never taken for the chunk that came after it. Safe from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from server.labelling import conditions
from server.labelling.folder import LabelFolder
from server.labelling.footage import Chunk, Footage, Reel
from shared.errors import Refused

Action = Literal["save", "skip", "keep", "back", "undo", "quit"]
ACTIONS: tuple[str, ...] = get_args(Action)
SKIP = "skip"
FIRST, NOTHING_TO_UNDO = "This is the first chunk.", "There is nothing to undo."


@dataclass(frozen=True, slots=True)
class AskedChunk:
    """A chunk that waits for an answer."""

    turn: int
    video: Path
    name: str
    """Of its chunks in the folder."""
    number: int
    chunks: int
    span_s: tuple[float, float]
    frame: Path
    audio: Path
    earlier: str | None
    """What it was answered before: an instruction, "skip", or None."""
    fields: Mapping[str, str]
    """What its line says besides the instruction, such as the light that it was recorded in; of one that has no line
    yet, what a person said of the surroundings of the one before."""
    place: tuple[int, int]
    """(which video from 1, of how many)"""


@dataclass(frozen=True, slots=True)
class VideoCount:
    """How far one video is."""

    name: str
    labelled: int
    skipped: int
    left: int
    unreadable: int


@dataclass(slots=True)
class _Film:
    footage: Footage
    name: str = ""
    reel: Reel | None = None
    unreadable: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Before:
    """What a chunk was before an answer."""

    at: tuple[int, int]
    answer: str | None
    fields: Mapping[str, str]


class LabelDesk:
    """A person, or several, at one folder."""

    def __init__(self, folder: LabelFolder, videos: Sequence[Footage], *, again: bool = False) -> None:
        """again: ask about answered chunks too"""
        self.folder = folder
        self._films = [_Film(footage) for footage in videos]
        self._again = again
        self._lock = threading.RLock()
        self._turn = 0
        self._asked: AskedChunk | None = None
        self._at: tuple[int, int] | None = (0, 0)
        self._sought = False
        """Whether the chunk at `_at` is asked, answered or not; else the first from there on without an answer."""
        self._done: list[_Before] = []
        self._around: dict[str, str] = {}
        """What a person said of the surroundings last: they change seldom."""
        self._changed: list[Callable[[], None]] = []

    @property
    def videos(self) -> tuple[Path, ...]:
        """The films, in the order in which they are asked."""
        return tuple(film.footage.path for film in self._films)

    @property
    def turn(self) -> int:
        """Of the newest question; it grows with every answer."""
        return self._turn

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call this after every answer, from the thread that gave it."""
        self._changed.append(tell)

    def asked(self) -> AskedChunk | None:
        """What waits for an answer. Raises: OSError, MediaError."""
        with self._lock:
            while self._asked is None and self._at is not None:
                self._ask()
            return self._asked

    def take(self, turn: int, action: str, text: str = "", *, fields: Mapping[str, str] | None = None) -> str:
        """An answer; returns what became of it, in words.

        fields: what the line says besides; None = as it was
        raises: Refused where the chunk was answered meanwhile, or this is no answer; OSError
        """
        with self._lock:
            asked = self.asked()
            if asked is None or asked.turn != turn:
                raise Refused("This chunk was answered meanwhile.", hint="Look at the one that is shown now.")
            said = self._answer(asked, action, text, fields)
            self._asked, self._turn = None, self._turn + 1
        for tell in self._changed:
            tell()
        return said

    def pass_over(self, turn: int) -> None:
        """Ask the next chunk, and leave this one as it is; it is asked again another time. Raises: Refused as `take`"""
        with self._lock:
            if self._asked is None or self._asked.turn != turn or self._at is None:
                raise Refused("This chunk was answered meanwhile.", hint="Look at the one that is shown now.")
            if self._asked.earlier in (None, SKIP):
                self.folder.forget(self._asked.name, self._asked.number)
            self._asked, self._turn = None, self._turn + 1
            self._go(self._at[0], self._at[1] + 1)

    def counts(self) -> list[VideoCount]:
        """How far each video is that was opened."""
        with self._lock:
            return [self._count(film) for film in self._films if film.name]

    def close(self) -> None:
        """Remove the files of a chunk that got no answer, and close the films."""
        with self._lock:
            self._at = None
            self._forget()
            for film in self._films:
                if film.reel is not None:
                    film.reel.close()
                    film.reel = None

    def _answer(self, asked: AskedChunk, action: str, text: str, fields: Mapping[str, str] | None) -> str:
        assert self._at is not None
        match action:
            case "save" if text.strip():
                fields = asked.fields if fields is None else dict(filter(lambda item: item[1], fields.items()))
                self.folder.save(asked.name, asked.number, text.strip(), fields)
                self._remember(asked)
                self._around = conditions.lasting(fields)
                said = f"Saved: {text.strip()}"
            case "skip":
                self.folder.skip(asked.name, asked.number)
                self._remember(asked)
                said = "...Skipped."
            case "keep" if asked.earlier is not None:
                self.folder.forget(asked.name, asked.number)  # a skipped one was shown again
                said = f"Kept: {asked.earlier}"
            case "back":
                return self._back()
            case "undo":
                return self._undo()
            case "quit":
                self.close()
                return "Stopped."
            case _:
                raise Refused(f"{action!r:.40} is no answer here.", hint=f"Use one of: {', '.join(ACTIONS)}.")
        self._go(self._at[0], self._at[1] + 1)
        return said

    def _remember(self, asked: AskedChunk) -> None:
        assert self._at is not None
        self._done.append(_Before(self._at, asked.earlier, asked.fields if asked.earlier not in (None, SKIP) else {}))

    def _back(self) -> str:
        assert self._at is not None
        index, number = self._at
        self._forget()
        earlier = [(index, n) for n in range(number) if n not in self._films[index].unreadable]
        if not earlier and index > 0:
            film = self._opened(index - 1)
            earlier = [(index - 1, n) for n in range(film.footage.chunks) if n not in film.unreadable]
        if not earlier:
            self._go(index, number, sought=True)
            return FIRST
        self._go(*earlier[-1], sought=True)
        return "Back."

    def _undo(self) -> str:
        assert self._at is not None
        self._forget()
        if not self._done:
            self._go(*self._at, sought=True)
            return NOTHING_TO_UNDO
        before = self._done.pop()
        name = self._opened(before.at[0]).name
        self._go(*before.at, sought=True)
        if before.answer is None:
            self.folder.clear(name, before.at[1])
        elif before.answer == SKIP:
            self.folder.skip(name, before.at[1])
        else:
            self._read(before.at)  # its files may have gone with a skip
            self.folder.save(name, before.at[1], before.answer, before.fields)
        return "Undone."

    def _go(self, index: int, number: int, *, sought: bool = False) -> None:
        self._at, self._sought = (index, number), sought

    def _ask(self) -> None:
        """Ask the next chunk, or move on to the next video; `_at` is None after the last."""
        assert self._at is not None
        index, start = self._at
        if index >= len(self._films):
            self._at = None
            return
        film = self._opened(index)
        number = self._next(film, start)
        if number is None:
            self._leave(film)
            self._around = {}
            self._go(index + 1, 0)
            return
        self._go(index, number)
        chunk = self._read((index, number))
        if chunk is None:
            film.unreadable.add(number)
            self._go(index, number + 1)
            return
        frame, audio = self.folder.files(film.name, number)
        self._asked = AskedChunk(
            turn=self._turn,
            video=film.footage.path,
            name=film.name,
            number=number,
            chunks=film.footage.chunks,
            span_s=film.footage.span(number),
            frame=frame,
            audio=audio,
            earlier=self.folder.answer(film.name, number),
            fields=self.folder.fields(film.name, number) or dict(self._around),
            place=(index + 1, len(self._films)),
        )

    def _next(self, film: _Film, start: int) -> int | None:
        if self._sought:
            return start
        numbers = (n for n in range(start, film.footage.chunks) if n not in film.unreadable)
        return next((n for n in numbers if self._again or self.folder.answer(film.name, n) is None), None)

    def _opened(self, index: int) -> _Film:
        film = self._films[index]
        if not film.name:
            film.name = self.folder.name_of(film.footage.path)
        if film.reel is None:
            film.reel = Reel(film.footage)
        return film

    def _leave(self, film: _Film) -> None:
        if film.reel is not None:
            film.reel.close()
            film.reel = None

    def _read(self, at: tuple[int, int]) -> Chunk | None:
        film = self._opened(at[0])
        assert film.reel is not None
        chunk = film.reel.read(at[1])
        if chunk is not None:
            self.folder.show(film.name, at[1], chunk)
        return chunk

    def _forget(self) -> None:
        if self._asked is not None:
            with suppress(FileNotFoundError):
                self.folder.forget(self._asked.name, self._asked.number)
            self._asked = None

    def _count(self, film: _Film) -> VideoCount:
        labelled, skipped = self.folder.counts(film.name)
        left = max(0, film.footage.chunks - labelled - skipped - len(film.unreadable))
        return VideoCount(film.name, labelled, skipped, left, len(film.unreadable))
