"""`waycue-server label VIDEO`: show each 2 s chunk of a recorded video, and ask what should be said.

Every answer is on disk before the next question, and the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from server.commands.opening import open_picture
from server.commands.reviewing import chosen, numbered, read_line, rewording
from server.dataset import wording
from server.dataset.wording import NotSayable, Reworded
from server.labelling import folder as label
from server.labelling import footage
from server.labelling.folder import LabelFolder
from server.labelling.footage import Footage, Reel
from shared import vocabulary
from shared.errors import Refused

SKIP, BACK, QUIT = "skip", "back", "quit"
HELP = """\
  what should be said     such as: Stop, curb ahead.
  nothing                 the path is clear, nothing should be said
  skip                    this chunk gets no label
  back                    the chunk before this one again
  quit                    stop; the same command goes on from here"""

_ANSWERS = {SKIP: SKIP, BACK: BACK, QUIT: QUIT, "nothing": vocabulary.CLEAR}
"""Typed word → answer, of those that are not read as guidance."""


FILM_FPS = "pictures a second of a video that has no times in it (default: what it says, else 25)"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser(
        "label",
        help="label a recorded video, 2 s at a time",
        description="Writes a dataset folder of its own: frames/, audio/, metadata.jsonl. Bring it into the server"
        " with: waycue-server samples import DIR",
    )
    parser.add_argument("video", type=Path, metavar="VIDEO", help="any video file with a picture")
    parser.add_argument(
        "--dataset", type=Path, default=Path("dataset"), metavar="DIR", help="folder to write (default: ./dataset)"
    )
    parser.add_argument("--again", action="store_true", help="ask about answered chunks too; Enter keeps an answer")
    parser.add_argument("--open", action="store_true", help="open each picture with the desktop's own program")
    parser.add_argument("--film-fps", type=float, default=0.0, metavar="N", help=FILM_FPS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask about each chunk that has no answer yet; returns the exit status."""
    video = footage.find(options.video, untimed_fps=options.film_fps)
    for note in video.notes:
        print(note)
    with label.opened(options.dataset) as folder, closing(Reel(video)) as reel:
        session = Session(folder, reel, folder.name_of(options.video), open_pictures=options.open, again=options.again)
        if not video.has_sound:
            print(f"{options.video} has no sound: silence is written.")
        status = 0
        try:
            session.ask_all()
        except EOFError:
            print()
        except KeyboardInterrupt:
            print()
            status = 130
        finally:
            session.tidy()
        print(session.summary())
    return status


@dataclass(slots=True)
class Session:
    """One person, one video."""

    folder: LabelFolder
    reel: Reel
    name: str
    open_pictures: bool = False
    again: bool = False
    unreadable: set[int] = field(default_factory=set)
    asked: int | None = None

    @property
    def video(self) -> Footage:
        return self.reel.footage

    def ask_all(self) -> None:
        """Until every chunk has an answer, or the person quits. Raises: EOFError, KeyboardInterrupt, OSError."""
        number = self._next(0)
        while number is not None:
            answer = self._ask(number)
            if answer == QUIT:
                return
            if answer == BACK:
                number = self._before(number)
                continue
            if answer == SKIP:
                self.folder.skip(self.name, number)
                print("...Skipped.")
            elif answer is not None:
                self.folder.save(self.name, number, answer)
                print(f"Saved: {answer}")
            number = self._next(number + 1)

    def _next(self, start: int) -> int | None:
        """The first chunk from `start` on that is to be asked about."""
        numbers = (n for n in range(start, self.video.chunks) if n not in self.unreadable)
        return next((n for n in numbers if self.again or self.folder.answer(self.name, n) is None), None)

    def _before(self, number: int) -> int:
        """The chunk before this one that can be shown; the same where it is the first."""
        self.tidy()
        earlier = [n for n in range(number) if n not in self.unreadable]
        if not earlier:
            print("This is the first chunk.")
        return earlier[-1] if earlier else number

    def _ask(self, number: int) -> str | None:
        """Show a chunk and ask: skip, back, quit, an instruction, or None where nothing changes."""
        chunk = self.reel.read(number)
        if chunk is None:
            self.unreadable.add(number)
            return None
        self.asked = number
        frame = self.folder.show(self.name, number, chunk)
        start_s, end_s = self.video.span(number)
        print(f"\n{'=' * 50}\nChunk {number + 1} of {self.video.chunks}, {start_s:.1f} s to {end_s:.1f} s")
        print(f"Showing frame: {frame}\nSound: {self.folder.files(self.name, number)[1]}")
        earlier = self.folder.answer(self.name, number)
        if earlier:
            print(f"Until now: {earlier} (Enter keeps it)")
        if self.open_pictures:
            open_picture(frame)
        return ask_for_words(earlier)

    def tidy(self) -> None:
        """Remove the files of a chunk that was shown and got no answer."""
        if self.asked is not None:
            self.folder.forget(self.name, self.asked)

    def summary(self) -> str:
        """How far this video is."""
        labelled, skipped = self.folder.counts(self.name)
        left = max(0, self.video.chunks - labelled - skipped - len(self.unreadable))
        text = f"{labelled} labelled, {skipped} skipped, {left} to go in {self.folder.root}."
        if self.unreadable:
            text += f" {len(self.unreadable)} could not be read: the video is damaged or ends early."
        return text + (" The same command goes on from here." if left else "")


def ask_for_words(earlier: str | None) -> str | None:
    """Ask until there is an answer that can be taken. None: keep the earlier one."""
    text = read_line("Enter instruction (or skip, back, quit, ?): ").strip()
    while True:
        answer = text.lower()
        if answer in _ANSWERS:
            return _ANSWERS[answer]
        if answer == "" and earlier is not None:
            return None
        if answer in ("", "?"):
            print(HELP)
            text = read_line("Enter instruction: ").strip()
            continue
        typed = typed_words(text)
        if typed.taken is not None:
            return typed.taken
        print("\n".join(typed.lines))
        again = read_line(typed.question).strip()
        settled = _settled(again, text, typed)
        if settled is not None:
            return settled
        text = chosen(again, typed.choices) or again or "?"


def _settled(again: str, text: str, typed: TypedWords) -> str | None:
    """The sentence that a person settles on: theirs, or the one that it would be taught as. None: they type on."""
    match again.lower():
        case "k" | "keep":
            print("Kept as you wrote it. It teaches nothing like this: `samples import` will ask, or leave it out.")
            return text
        case "y" | "yes" if typed.wording:
            return typed.wording
        case _:
            return None


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
