"""The review in a terminal: one moment after the other, each answer durable before the next question.

    y   correct as it stands            e   edit the wording
    n   not correct: type what is       -   nothing should have been said
    r   reject: it must not teach       s   skip for now
    t   what the teacher would say      o   open the picture
    q   quit

Words that would be taught as others are shown as those, with what would be lost, and confirmed with `y`; sentences
that may have been meant are chosen by their number. Enter alone never takes any. Ctrl-C and the end of the input stop
it like `q`: everything answered until then is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from server.commands.opening import open_picture, shown, when
from server.database.store import Store
from server.dataset import wording
from server.dataset.folder import Dataset
from server.dataset.groups import SplitBy
from server.dataset.sample_row import SampleRow
from server.dataset.wording import NotSayable, Reworded
from server.review import decisions
from server.review.decisions import ReviewDecision
from shared.clock import Clock
from shared.errors import Refused

MOST = 1_000_000
QUESTION = "Was this correct? (y/n/e/s/q) "
HELP = """\
  y   yes, this is what should have been said
  n   no: type what should have been said
  e   edit the wording that is shown
  -   nothing should have been said
  t   what the teacher would say is right
  r   reject: this moment must not teach
  s   skip it for now
  o   open its picture
  q   quit; everything answered until now is kept"""
_LETTERS = {
    "yes": "y",
    "no": "n",
    "edit": "e",
    "nothing": "-",
    "teacher": "t",
    "reject": "r",
    "skip": "s",
    "open": "o",
    "quit": "q",
}


@dataclass(slots=True)
class ReviewDesk:
    """A person who reviews the moments of one server."""

    store: Store
    dataset: Dataset
    clock: Clock
    reviewer: str
    open_pictures: bool = False
    split_by: SplitBy = "walk"
    """DatasetSection.split_by: of what is brought in."""
    decided: int = field(default=0, init=False)
    offered: tuple[str, ...] = field(default=(), init=False)
    """What the newest refused words may have meant; a number chooses one."""

    def take(self, sample_id: str, action: str, text: str = "") -> SampleRow:
        """Write a decision down durably; returns the moment as it now stands. Raises: Refused."""
        decision = ReviewDecision(action, self.reviewer, text)
        return decisions.review(self.store, self.dataset, sample_id, decision, now_s=self.clock.utc_s())

    def take_all(self, sample_ids: Sequence[str], action: str, text: str = "") -> list[SampleRow]:
        """The same decision about all of them, of which a person has looked at the first. Raises: Refused."""
        decision = ReviewDecision(action, self.reviewer, text, batch=sample_ids[0])
        return decisions.review_all(self.store, self.dataset, sample_ids, decision, now_s=self.clock.utc_s())

    def decide(self, sample_id: str, action: str, text: str = "") -> bool:
        """Take a decision and say what became of it; False where it can not be taken."""
        self.offered = ()
        try:
            row = self.take(sample_id, action, text)
        except Reworded as reworded:
            print("\n".join(rewording(reworded, written=action == "edit")))
            return confirmed("Teach this? (y/n) ") and self.decide(sample_id, "edit", reworded.wording)
        except NotSayable as refused:
            print("\n".join((str(refused), *numbered(refused.suggestions))))
            self.offered = refused.suggestions
            return False
        except Refused as refused:
            print(refused)
            return False
        print(outcome(row))
        self.decided += 1
        return True


def rewording(reworded: Reworded, *, written: bool) -> list[str]:
    """Words beside those that they would be taught as. written: a person typed them; else they were proposed."""
    said = "You wrote:" if written else "It was said:"
    lines = [f"{said:<23}{reworded.text}", f"{'It will be taught as:':<23}{reworded.wording}"]
    return [*lines, wording.left_out(reworded.lost)] if reworded.lost else lines


def confirmed(question: str) -> bool:
    """Whether a person says yes in so many letters: Enter alone is no. Raises: EOFError, KeyboardInterrupt."""
    return read_line(question).strip().lower() in ("y", "yes")


def numbered(sentences: Sequence[str]) -> list[str]:
    """Sentences to choose from, one a line."""
    return [f"  {number}   {sentence}" for number, sentence in enumerate(sentences, start=1)]


def chosen(answer: str, sentences: Sequence[str]) -> str:
    """The sentence that a typed number stands for, "" = it is none."""
    number = int(answer) if answer.isascii() and answer.isdigit() and len(answer) < 3 else 0
    return sentences[number - 1] if 1 <= number <= len(sentences) else ""


def outcome(row: SampleRow) -> str:
    """What a decision came to."""
    if row.rejected:
        return "✓ Rejected: this moment does not teach."
    if not row.reviewed:
        return "Nothing changed."
    right = "The device was right." if row.was_correct else "The device was wrong."
    return f"✓ Saved: {row.ground_truth or 'nothing should be said'} {right}"


def _proposed(row: SampleRow) -> str:
    if not decisions.not_understood(row):
        return shown(decisions.proposal(row))
    return "(not understood: listen and type it)" if row.correction_id else "(none: type what is right)"


def _doubt(row: SampleRow) -> str:
    return row.doubt if row.doubted else ""


def describe_moment(row: SampleRow, dataset: Dataset) -> str:
    """A moment as text."""
    fields = {
        "Picture": dataset.folder / row.frame_path,
        "Sound": dataset.folder / row.audio_path,
        "Clip": row.clip_path and dataset.folder / row.clip_path,
        "Wearer's voice": row.correction_audio_path and dataset.folder / row.correction_audio_path,
        "Wearer said": row.transcript,
        "SPOKEN": row.spoken if row.spoken != row.raw_output else "",
        "DOUBTED": _doubt(row),
        "RAW OUTPUT": shown(row.raw_output),
        "CORRECTION": _proposed(row),
        "  proposed by": decisions.suggested_by(row),
        "TEACHER": row.teacher and f"{shown(row.teacher_wording)} ({row.teacher}, {row.teacher_score:.0%} sure)",
    }
    lines = [f"{row.sample_id}   {when(row.timestamp)}   {row.walk_id}   {', '.join(row.flags)}"]
    lines += [f"{name + ':':<16}{value}" for name, value in fields.items() if value]
    reading = decisions.changed(row)
    if reading is not None:
        lines.append(" ".join(filter(None, (f"  made from:    {reading.text}", wording.left_out(reading.lost)))))
    return "\n".join(lines)


def ask(desk: ReviewDesk, queue: Sequence[str], *, again: bool = False) -> int:
    """Ask about each moment; returns the exit status. `again`: also about one that was decided before."""
    status = 0
    try:
        for number, sample_id in enumerate(queue, start=1):
            row = decisions.get(desk.store, sample_id)
            if row is None or (row.state != "pending" and not again):
                continue  # somebody else was faster
            print(f"\n{number} of {len(queue)}   {describe_moment(row, desk.dataset)}\n")
            if desk.open_pictures:
                _open(desk, row)
            if not _ask_about(desk, row):
                break
    except EOFError:
        print()
    except KeyboardInterrupt:
        print()
        status = 130
    waiting = decisions.counts(desk.store)["pending"]
    print(f"{desk.decided} decided, {waiting} still wait." if queue else "No moments wait for review.")
    return status


def _ask_about(desk: ReviewDesk, row: SampleRow) -> bool:
    """Ask until there is an answer; False to quit."""
    while True:
        answer = read_line(QUESTION).strip().lower()
        letter = _LETTERS.get(answer, answer)
        newest = decisions.get(desk.store, row.sample_id) or row
        if newest.row_id != row.row_id and letter in ("y", "e", "t"):
            row = newest  # never confirm a wording that the person has not seen
            print(f"It has changed meanwhile:\n\n{describe_moment(row, desk.dataset)}\n")
        elif letter in ("q", "s"):
            return letter == "s"
        elif letter == "o":
            _open(desk, row)
        elif letter == "t" and not row.teacher:
            print("No teacher has looked at this moment: waycue-server samples propose")
        elif letter not in _LETTERS.values():
            print(HELP)
        elif _answered(desk, row, letter):
            return True


def _answered(desk: ReviewDesk, row: SampleRow, letter: str) -> bool:
    """Take the decision of a letter, one of y, n, e, -, t, r; False where it can not be taken."""
    match letter:
        case "y":
            return desk.decide(row.sample_id, "accept") or (bool(desk.offered) and _typed(desk, row))
        case "n":
            return _typed(desk, row)
        case "t":
            return desk.decide(row.sample_id, "edit" if row.teacher_wording else "nothing", row.teacher_wording)
        case "e":
            return _typed(desk, row, before=decisions.proposal(row))
        case _:
            return desk.decide(row.sample_id, "nothing" if letter == "-" else "reject")


def _typed(desk: ReviewDesk, row: SampleRow, *, before: str = "") -> bool:
    """Ask for a wording until one can be said; False where the person typed nothing."""
    while True:
        number = "a number: that wording, " if desk.offered else ""
        print(f"Enter what should have been said ({number}empty: back, -: nothing should have been said):")
        answer = read_line("> ", before=before).strip()
        text = chosen(answer, desk.offered) or answer
        if not text:
            desk.offered = ()
            return False
        if desk.decide(row.sample_id, *(("nothing",) if text == "-" else ("edit", text))):
            return True
        before = "" if desk.offered else text  # a number would be typed behind it


def _open(desk: ReviewDesk, row: SampleRow) -> None:
    open_picture(desk.dataset.folder / row.frame_path)


def read_line(question: str, *, before: str = "") -> str:
    """A line that a person types; `before` stands in it already where the terminal can do that.

    raises: EOFError at the end of the input, KeyboardInterrupt
    """
    if not sys.stdin.isatty():
        print(f"{question}", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        print()
        return line.rstrip("\n")
    import readline  # changes how every later input() behaves: only where a person types

    readline.set_startup_hook(lambda: readline.insert_text(before))
    try:
        return input(question)
    finally:
        readline.set_startup_hook(None)
