"""The review in a terminal: one moment after the other, each answer durable before the next question.

    y   correct as it stands            e   edit the wording
    n   not correct: type what is       -   nothing should have been said
    r   reject: it must not teach       s   skip for now
    o   open the picture                q   quit

Ctrl-C and the end of the input stop it like `q`: everything answered until then is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from server import samples
from server.commands.opening import open_file, shown, when
from server.dataset import Dataset, SampleRow
from server.store import Store
from shared.clock import Clock
from shared.errors import Refused

MOST = 1_000_000
QUESTION = "Was this correct? (y/n/e/s/q) "
HELP = """\
  y   yes, this is what should have been said
  n   no: type what should have been said
  e   edit the wording that is shown
  -   nothing should have been said
  r   reject: this moment must not teach
  s   skip it for now
  o   open its picture
  q   quit; everything answered until now is kept"""


@dataclass(slots=True)
class Desk:
    """Where a person sits."""

    store: Store
    dataset: Dataset
    clock: Clock
    reviewer: str
    open_pictures: bool = False
    decided: int = field(default=0, init=False)

    def decide(self, sample_id: str, action: str, text: str = "") -> bool:
        """Take a decision and say what became of it; False where it can not be taken."""
        try:
            row = samples.review(
                self.store, self.dataset, sample_id,
                action=action, text=text, reviewer=self.reviewer, now_s=self.clock.utc_s(),
            )  # fmt: skip
        except Refused as refused:
            print(refused)
            return False
        print(outcome(row))
        self.decided += 1
        return True


def outcome(row: SampleRow) -> str:
    """What a decision came to."""
    if row.rejected:
        return "✓ Rejected: this moment does not teach."
    if not row.reviewed:
        return "Nothing changed."
    right = "The device was right." if row.was_correct else "The device was wrong."
    return f"✓ Saved: {row.ground_truth or 'nothing should be said'} {right}"


def card(row: SampleRow, dataset: Dataset) -> str:
    """A moment as text."""
    lines = [
        f"{row.sample_id}   {when(row.timestamp)}   {row.walk_id}   {', '.join(row.flags)}",
        f"Picture:        {dataset.folder / row.frame_path}",
        f"Sound:          {dataset.folder / row.audio_path}",
    ]
    if row.clip_path:
        lines.append(f"Clip:           {dataset.folder / row.clip_path}")
    if row.correction_audio_path:
        lines.append(f"Wearer's voice: {dataset.folder / row.correction_audio_path}")
    if row.transcript:
        lines.append(f"Wearer said:    {row.transcript}")
    if row.spoken and row.spoken != row.raw_output:
        lines.append(f"SPOKEN:         {row.spoken}")
    lines.append(f"RAW OUTPUT:     {shown(row.raw_output)}")
    proposed = "(not understood: listen and type it)" if samples.not_understood(row) else shown(samples.proposal(row))
    lines.append(f"CORRECTION:     {proposed}")
    return "\n".join(lines)


def ask(desk: Desk, queue: Sequence[str], *, again: bool = False) -> int:
    """Ask about each moment; returns the exit status. `again`: also about one that was decided before."""
    status = 0
    try:
        for number, sample_id in enumerate(queue, start=1):
            row = samples.get(desk.store, sample_id)
            if row is None or (row.state != "pending" and not again):
                continue  # somebody else was faster
            print(f"\n{number} of {len(queue)}   {card(row, desk.dataset)}\n")
            if desk.open_pictures:
                _open(desk, row)
            if not _one(desk, row):
                break
    except EOFError:
        print()
    except KeyboardInterrupt:
        print()
        status = 130
    waiting = samples.counts(desk.store)["pending"]
    print(f"{desk.decided} decided, {waiting} still wait." if queue else "No moments wait for review.")
    return status


def _one(desk: Desk, row: SampleRow) -> bool:
    """Ask until there is an answer; False to quit."""
    while True:
        answer = read_line(QUESTION).strip().lower()
        newest = samples.get(desk.store, row.sample_id) or row
        if newest.row_id != row.row_id and answer in ("y", "yes", "e", "edit"):
            row = newest  # never confirm a wording that the person has not seen
            print(f"It has changed meanwhile:\n\n{card(row, desk.dataset)}\n")
            continue
        if answer in ("q", "quit"):
            return False
        if answer in ("s", "skip"):
            return True
        if answer in ("y", "yes") and desk.decide(row.sample_id, "accept"):
            return True
        if answer in ("-", "nothing") and desk.decide(row.sample_id, "nothing"):
            return True
        if answer in ("r", "reject") and desk.decide(row.sample_id, "reject"):
            return True
        if answer in ("n", "no") and _typed(desk, row, before=""):
            return True
        if answer in ("e", "edit") and _typed(desk, row, before=samples.proposal(row)):
            return True
        if answer in ("o", "open"):
            _open(desk, row)
        if answer not in ("y", "yes", "n", "no", "e", "edit", "-", "nothing", "r", "reject", "o", "open"):
            print(HELP)


def _typed(desk: Desk, row: SampleRow, *, before: str) -> bool:
    """Ask for a wording until one can be said; False where the person typed nothing."""
    print("Enter what should have been said (empty: back, -: nothing should have been said):")
    while True:
        text = read_line("> ", before=before).strip()
        if not text:
            return False
        if desk.decide(row.sample_id, "nothing" if text == "-" else "edit", "" if text == "-" else text):
            return True
        before = text


def _open(desk: Desk, row: SampleRow) -> None:
    if not open_file(desk.dataset.folder / row.frame_path):
        print("No program to open pictures was found (xdg-open).")


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
