"""The review in a terminal: one moment after the other, each answer durable before the next question.

    y   correct as it stands            e   edit the wording
    n   not correct: type what is       -   nothing should have been said
    r   reject: it must not teach       s   skip: it comes again after the rest
    t   what the teacher would say      u   undo the newest decision, and ask about it again
    o   open the picture                p   play what was said, and the moment's sound
    x   decide about the near-duplicates, too
    d   difficult, or no longer         c   write a comment
    q   quit

Words that would be taught as others are shown as those, with what would be lost, and confirmed with `y`; sentences
that may have been meant are chosen by their number. Enter alone never takes any. Ctrl-C and the end of the input stop
it like `q`: everything answered until then is kept.

A decision is about the row that is shown. While a moment is asked about it is leased: another person's is passed over.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from server.commands.opening import open_picture, shown, when
from server.commands.sounding import SoundPlayer
from server.database.store import Store
from server.dataset import wording
from server.dataset.folder import Dataset
from server.dataset.groups import SplitBy
from server.dataset.sample_row import SampleRow
from server.dataset.wording import NotSayable, Reworded
from server.review import decisions, leases, marks, near, proposed, undoing
from server.review.decisions import ReviewDecision
from shared.clock import Clock
from shared.errors import Refused
from shared.printable import shortened

MOST = 1_000_000
QUESTION = "Was this correct? (y/n/e/s/q) "
HELP = """\
  y   yes, this is what should have been said
  n   no: type what should have been said
  e   edit the wording that is shown
  -   nothing should have been said
  t   what the teacher would say is right
  r   reject: this moment must not teach
  s   skip it for now: it comes again after the rest, or tomorrow
  u   undo your newest decision, and ask about that moment again
  x   decide about its near-duplicates on this walk, too
  d   difficult: somebody who knows more should look; again: it is not
  c   write a comment for others
  o   open its picture
  p   play what the wearer said, and its sound
  q   quit; everything answered until now is kept"""
_LETTERS = {
    "yes": "y", "no": "n", "edit": "e", "nothing": "-", "teacher": "t", "reject": "r", "skip": "s", "open": "o",
    "quit": "q", "undo": "u", "difficult": "d", "comment": "c", "play": "p", "together": "x",
}  # fmt: skip
_DECIDING = frozenset("yne-tr")
TYPED_MOST = 100
"""Characters of a device's words in one line of a listing."""


@dataclass(slots=True)
class TerminalDesk:
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
    beside: tuple[str, ...] = field(default=(), init=False)
    """Rows of near-duplicates that the next decision is about, too."""
    undone: tuple[str, ...] = field(default=(), init=False)
    """Moments that were just brought back: they are asked about again."""
    player: SoundPlayer | None = field(default=None, init=False)
    """Of this machine, once something was played."""

    def take(self, sample_id: str, action: str, text: str = "") -> SampleRow:
        """Write a decision that nobody read a row for down durably; returns the moment as it now stands. Raises:
        Refused."""
        decision = ReviewDecision(action, self.reviewer, text)
        return decisions.review(self.store, self.dataset, sample_id, decision, now_s=self.clock.utc_s())

    def take_all(self, row_ids: Sequence[str], action: str, text: str = "") -> list[SampleRow]:
        """The same decision about all of these rows, of which a person has looked at the first. Raises: Refused."""
        batch = row_ids[0].rpartition("#")[0] if len(row_ids) > 1 else ""
        decision = ReviewDecision(action, self.reviewer, text, batch=batch)
        now_s = self.clock.utc_s()
        try:
            return decisions.review_read(self.store, self.dataset, row_ids, decision, now_s=now_s)
        except NotSayable:
            if action == "edit":
                proposed.collect(self.store, row_ids[0].rpartition("#")[0], text, self.reviewer, now_s=now_s)
            raise

    def decide(self, row: SampleRow, action: str, text: str = "") -> bool:
        """Decide about the row that was shown, and say what became of it; False where it can not be taken."""
        self.offered = ()
        try:
            done, *rest = self.take_all([row.row_id, *self.beside], action, text)
        except Reworded as reworded:
            print("\n".join(rewording(reworded, written=action == "edit")))
            return confirmed("Teach this? (y/n) ") and self.decide(row, "edit", reworded.wording)
        except NotSayable as refused:
            print("\n".join((str(refused), *numbered(refused.suggestions))))
            self.offered = refused.suggestions
            return False
        except Refused as refused:
            print(refused)
            return False
        print("\n".join((outcome(done), *([f"{len(rest)} near-duplicates with it."] if rest else []))))
        self.decided += 1 + len(rest)
        return True

    def undo(self) -> bool:
        """Take the newest decision back, and say so; False where there is none to take back."""
        try:
            rows = undoing.undo(self.store, self.dataset, self.reviewer, now_s=self.clock.utc_s())
        except Refused as refused:
            print(refused)
            return False
        print("\n".join(f"Undone: {row.sample_id} stands as before." for row in rows))
        self.decided -= min(self.decided, len(rows))
        self.undone = tuple(row.sample_id for row in rows)
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
    local = dataset.blobs.local
    fields = {
        "Picture": local(row.frame_path),
        "Sound": local(row.audio_path),
        "Clip": row.clip_path and local(row.clip_path),
        "Wearer's voice": row.correction_audio_path and local(row.correction_audio_path),
        "Wearer said": shortened(row.transcript, TYPED_MOST),
        "SPOKEN": shortened(row.spoken, TYPED_MOST) if row.spoken != row.raw_output else "",
        "DOUBTED": _doubt(row),
        "RAW OUTPUT": shown(shortened(row.raw_output, TYPED_MOST)),
        "CORRECTION": _proposed(row),
        "  proposed by": decisions.suggested_by(row),
        "TEACHER": row.teacher and f"{shown(row.teacher_wording)} ({row.teacher}, {row.teacher_score:.0%} sure)",
    }
    lines = [f"{row.sample_id}   {when(row.timestamp)}   {row.walk_id}   {', '.join(row.flags)}"]
    lines += [f"{name + ':':<16}{value}" for name, value in fields.items() if value]
    reading = decisions.changed(row)
    if reading is not None:
        made_from = shortened(reading.text, TYPED_MOST)
        lines.append(" ".join(filter(None, (f"  made from:    {made_from}", wording.left_out(reading.lost)))))
    return "\n".join(lines)


def ask(desk: TerminalDesk, queue: Sequence[str], *, again: bool = False) -> int:
    """Ask about each moment; returns the exit status. `again`: also about one that was decided before, and that
    another person has before them."""
    status = 0
    try:
        _ask_all(desk, deque(queue), again=again)
    except EOFError:
        print()
    except KeyboardInterrupt:
        print()
        status = 130
    leases.release(desk.store, desk.reviewer)
    if desk.player is not None:
        desk.player.stop()
    waiting = decisions.counts(desk.store)["pending"]
    print(f"{desk.decided} decided, {waiting} still wait." if queue else "No moments wait for review.")
    return status


def _ask_all(desk: TerminalDesk, queue: deque[str], *, again: bool) -> None:
    """Until all are answered or the person quits. Raises: EOFError, KeyboardInterrupt."""
    number, total, back = 0, len(queue), frozenset[str]()
    while queue:
        sample_id = queue.popleft()
        number += 1
        asked_again = again or sample_id in back
        row = _turn(desk, sample_id, again=asked_again)
        if row is None:
            continue
        print(f"\n{number} of {total}   {describe_moment(row, desk.dataset)}\n")
        if desk.open_pictures:
            _open(desk, row)
        goes_on = _ask_about(desk, row)
        leases.release(desk.store, desk.reviewer, sample_id)
        if not goes_on:
            return
        if desk.undone:  # those first, then this one again
            queue.extendleft(reversed((*(one for one in desk.undone if one != sample_id), sample_id)))
            number, total, back, desk.undone = number - 1, total + len(desk.undone), back | {*desk.undone}, ()


def _turn(desk: TerminalDesk, sample_id: str, *, again: bool) -> SampleRow | None:
    """A moment to be asked about, leased; None where somebody else was faster, or has it."""
    row = decisions.get(desk.store, sample_id)
    if row is None or (row.state != "pending" and not again):
        return None
    lease = leases.take(desk.store, sample_id, desk.reviewer, now_s=desk.clock.utc_s())
    if lease.person == desk.reviewer:
        return row
    print(f"\n{lease.person} has {sample_id} before them.")
    return row if again else None


def _ask_about(desk: TerminalDesk, row: SampleRow) -> bool:
    """Ask until there is an answer; False to quit."""
    desk.beside = ()
    while True:
        answer = read_line(QUESTION).strip().lower()
        letter = _LETTERS.get(answer, answer)
        newest = decisions.get(desk.store, row.sample_id) or row
        if letter in _DECIDING and decisions.judged_by(newest) != decisions.judged_by(row):
            row = newest  # never confirm a wording that the person has not seen
            print(f"It has changed meanwhile:\n\n{describe_moment(row, desk.dataset)}\n")
        elif letter == "q":
            return False
        elif _decided(desk, row, letter) if letter in _DECIDING else _beside_a_decision(desk, row, letter):
            return True


def _decided(desk: TerminalDesk, row: SampleRow, letter: str) -> bool:
    if letter == "t" and not row.teacher:
        print("No teacher has looked at this moment: waycue-server samples propose")
        return False
    return _answered(desk, row, letter)


def _beside_a_decision(desk: TerminalDesk, row: SampleRow, letter: str) -> bool:
    """What decides nothing; whether the next moment is asked about."""
    now_s = desk.clock.utc_s()
    match letter:
        case "s":
            marks.skip(desk.store, row.sample_id, desk.reviewer, now_s=now_s)
            return True
        case "u":
            return desk.undo()
        case "x":
            _together(desk, row)
        case "d":
            _difficult(desk, row, now_s)
        case "c":
            _comment(desk, row, now_s)
        case "o":
            _open(desk, row)
        case "p":
            _play(desk, row)
        case _:
            print(HELP)
    return False


def _together(desk: TerminalDesk, row: SampleRow) -> None:
    """The next decision is about the near-duplicates, too, which are shown; asked again, it is not."""
    found = () if desk.beside else tuple(near.beside(desk.store, desk.dataset, row))
    desk.beside = tuple(other.row_id for other in found)
    lines = [f"{len(found)} near-duplicates are decided with it." if found else "Only this moment is decided."]
    print("\n".join((*lines, *(f"  {one.sample_id}  {desk.dataset.blobs.local(one.frame_path)}" for one in found))))


def _difficult(desk: TerminalDesk, row: SampleRow, now_s: float) -> None:
    known = marks.of(desk.store, [row.sample_id]).get(row.sample_id, marks.NO_MARKS)
    difficult = not known.difficult_by
    marks.mark_difficult(desk.store, row.sample_id, desk.reviewer, difficult=difficult, now_s=now_s)
    print("Marked as difficult: others see it." if difficult else "No longer marked as difficult.")


def _comment(desk: TerminalDesk, row: SampleRow, now_s: float) -> None:
    try:
        marks.comment(desk.store, row.sample_id, desk.reviewer, read_line("Comment: "), now_s=now_s)
        print("Written.")
    except Refused as refused:
        print(refused)


def _play(desk: TerminalDesk, row: SampleRow) -> None:
    """The wearer's own words where there are any, else the moment's sound."""
    player = desk.player = desk.player or SoundPlayer.found()
    if player is None:
        print("No program to play sounds was found (pw-play, paplay, aplay).")
        return
    try:
        player.play(desk.dataset.blobs.local(row.correction_audio_path or row.audio_path))
    except OSError as error:
        print(f"It could not be played: {error}.")


def _answered(desk: TerminalDesk, row: SampleRow, letter: str) -> bool:
    """Take the decision of a letter, one of y, n, e, -, t, r; False where it can not be taken."""
    match letter:
        case "y":
            return desk.decide(row, "accept") or (bool(desk.offered) and _typed(desk, row))
        case "n":
            return _typed(desk, row)
        case "t":
            return desk.decide(row, "edit" if row.teacher_wording else "nothing", row.teacher_wording)
        case "e":
            return _typed(desk, row, before=decisions.proposal(row))
        case _:
            return desk.decide(row, "nothing" if letter == "-" else "reject")


def _typed(desk: TerminalDesk, row: SampleRow, *, before: str = "") -> bool:
    """Ask for a wording until one can be said; False where the person typed nothing."""
    while True:
        number = "a number: that wording, " if desk.offered else ""
        print(f"Enter what should have been said ({number}empty: back, -: nothing should have been said):")
        answer = read_line("> ", before=before).strip()
        text = chosen(answer, desk.offered) or answer
        if not text:
            desk.offered = ()
            return False
        if desk.decide(row, *(("nothing",) if text == "-" else ("edit", text))):
            return True
        before = "" if desk.offered else text  # a number would be typed behind it


def _open(desk: TerminalDesk, row: SampleRow) -> None:
    open_picture(desk.dataset.blobs.local(row.frame_path))


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
