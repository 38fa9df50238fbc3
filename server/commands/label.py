"""`waycue-server label VIDEO...`: show each 2 s chunk of recorded videos, and ask what should be said.

A picture is shown in the terminal where that can, else on a page of this machine alone; an answer may come from either,
or from a file. Every answer is on disk before the next question, and the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from html import escape
from pathlib import Path

from server.commands import label_script, pictures, suggesting
from server.commands.label_terminal import TerminalFront, TypedLines
from server.commands.reviewing import read_line
from server.commands.sounding import SoundPlayer
from server.commands.suggesting import Suggester
from server.dataset import own_words, surroundings
from server.labelling import folder as label
from server.labelling import footage, script
from server.labelling.desk import AskedChunk, LabelDesk, VideoCount
from server.labelling.footage import Footage
from shared.errors import ConfigError, MediaError

PATH_QUESTION = "Enter the path to the video file you want to label: "
FILM_FPS = "pictures a second of a video that has no times in it (default: what it says, else 25)"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command."""
    parser = commands.add_parser(
        "label",
        help="label recorded videos, 2 s at a time",
        description="Writes a dataset folder of its own: frames/, audio/, metadata.jsonl. Bring it into the server"
        " with: waycue-server samples import DIR",
    )
    parser.add_argument(
        "videos",
        type=Path,
        nargs="*",
        metavar="VIDEO",
        help="any video files with a picture; without one, its path is asked for",
    )
    parser.add_argument(
        "--dataset", type=Path, default=Path("dataset"), metavar="DIR", help="folder to write (default: ./dataset)"
    )
    parser.add_argument("--script", type=Path, metavar="FILE", help="answers from a file instead of from a person")
    parser.add_argument(
        "--accept-rewordings",
        action="store_true",
        help="of --script: take what words would be taught as; without it such lines are left out",
    )
    parser.add_argument("--again", action="store_true", help="ask about answered chunks too; Enter keeps an answer")
    parser.add_argument(
        "--show",
        choices=("auto", "terminal", "page", "none"),
        default="auto",
        help="where pictures are shown: auto = in the terminal where it can, else on a page of this machine",
    )
    parser.add_argument(
        "--model",
        default=suggesting.CHAMPION,
        metavar="VERSION|DIR|none",
        help="what suggests a wording (default: the server's champion)",
    )
    parser.add_argument("--quiet", action="store_true", help="do not play the sound in the terminal")
    parser.add_argument("--open", action="store_true", help="open each picture with the desktop's own program")
    parser.add_argument("--film-fps", type=float, default=0.0, metavar="N", help=FILM_FPS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask about each chunk that has no answer yet; returns the exit status."""
    own_words.use(options.home)
    find = partial(footage.find, untimed_fps=options.film_fps)
    videos = [find(path) for path in dict.fromkeys(options.videos)] or [_asked_video(find)]
    answers = script.read(options.script, videos) if options.script else None
    for video in videos:
        for note in (*video.notes, *(() if video.has_sound else (f"{video.path} has no sound: silence is written.",))):
            print(note)
    with label.opened(options.dataset) as folder, closing(LabelDesk(folder, videos, again=options.again)) as desk:
        try:
            status = _asked(desk, options) if answers is None else _scripted(desk, answers, options)
        finally:
            desk.close()
        print("\n".join(summary(count, folder.root) for count in desk.counts()))
    return status


def _asked_video(find: Callable[[Path], Footage]) -> Footage:
    """The video that a person names, asked for until it is one. Raises: ConfigError where nobody names any."""
    while True:
        try:
            named = read_line(PATH_QUESTION).strip().strip("'\"")  # a file dropped on a terminal comes in quotes
        except (EOFError, KeyboardInterrupt):
            named = ""
        if not named:
            raise ConfigError("No video was named.", hint="Name one: waycue-server label VIDEO")
        try:
            return find(Path(named).expanduser())
        except MediaError as error:
            print(error)


def _scripted(desk: LabelDesk, answers: script.Script, options: argparse.Namespace) -> int:
    status = 0
    for refused in label_script.answered(desk, answers, confirmed=options.accept_rewordings):
        print(f"Left out: {options.script}, {refused}")
        status = 1
    return status


def _asked(desk: LabelDesk, options: argparse.Namespace) -> int:
    suggester = suggesting.opened(options.home, options.model)
    print(suggester.note)
    suggest = _one_at_a_time(suggester)  # the page asks from threads of its own
    shown = _terminal_pictures(options.show)
    with_page = options.show == "page" or (options.show == "auto" and shown is None and sys.stdin.isatty())
    page = _page(desk, suggest, suggester.note) if with_page else nullcontext()
    with closing(TypedLines(desk, watched=with_page)) as keys, page:
        player = SoundPlayer.found() if sys.stdin.isatty() and not options.quiet else None
        front = TerminalFront(desk, keys, suggest, _guesses, shown, player, options.open)
        try:
            front.ask_all()
        except EOFError:
            print()
        except KeyboardInterrupt:
            print()
            return 130
        finally:
            desk.close()
            if player is not None:
                player.stop()
    return 0


def _guesses(asked: AskedChunk, text: str = "") -> surroundings.Guesses:
    return surroundings.guesses(asked.frame, text)


def _one_at_a_time(suggester: Suggester) -> Callable[[AskedChunk], str]:
    lock = threading.Lock()

    def suggest(asked: AskedChunk) -> str:
        with lock:
            return suggester.of(asked.frame, asked.audio)

    return suggest


def _terminal_pictures(show: str) -> pictures.TerminalPictures | None:
    if show not in ("auto", "terminal") or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    known = pictures.protocol(sys.stdin.fileno(), sys.stdout.fileno(), os.environ)
    if known is None and show == "terminal":
        print("This terminal shows no pictures (kitty, iTerm2 or sixel graphics).")
    return pictures.TerminalPictures(known, sys.stdout.fileno()) if known else None


@contextmanager
def _page(desk: LabelDesk, suggest: Callable[[AskedChunk], str], note: str) -> Iterator[None]:
    from server.web import label_page

    page = label_page.LabelPage(desk, suggest=suggest, note=note, guess=_guesses)
    with label_page.served(page) as address, _in_browser(address):
        print(f"The picture is on this page; answer there or here: {address}", flush=True)
        yield


@contextmanager
def _in_browser(address: str) -> Iterator[None]:
    """Open a page with the desktop's own browser, where there is a desktop.

    Through a file that only this user reads: a program's arguments are seen by everybody on the machine, and the
    address holds a secret.
    """
    program = shutil.which("xdg-open")
    if program is None or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        yield
        return
    with tempfile.NamedTemporaryFile("w", suffix=".html", dir=os.environ.get("XDG_RUNTIME_DIR")) as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={escape(address)}">')
        file.flush()
        null = subprocess.DEVNULL
        subprocess.Popen([program, file.name], stdin=null, stdout=null, stderr=null, start_new_session=True)
        yield


def summary(count: VideoCount, root: Path) -> str:
    """How far a video is."""
    text = f"{count.name}: {count.labelled} labelled, {count.skipped} skipped, {count.left} to go in {root}."
    if count.unreadable:
        text += f" {count.unreadable} could not be read: the video is damaged or ends early."
    return text + (" The same command goes on from here." if count.left else "")
