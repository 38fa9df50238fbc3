"""`label --script`: every chunk that the file answers, in order, each answer durable before the next."""

from __future__ import annotations

from collections.abc import Iterator

from server.dataset import wording
from server.dataset.wording import Reworded
from server.labelling.desk import AskedChunk, LabelDesk
from server.labelling.script import SKIP, Script, ScriptLine
from shared import vocabulary
from shared.errors import Refused


def answered(desk: LabelDesk, script: Script, *, confirmed: bool) -> Iterator[str]:
    """Take the answers; yields what was not taken and why. Chunks that the file does not answer stay as they are.

    confirmed: a person has read what words would be taught as, and takes that
    raises: OSError, MediaError
    """
    left = dict(script)
    while (asked := desk.asked()) is not None:
        line = left.pop((asked.place[0] - 1, asked.number), None)
        refused = "" if line is None else _taken(desk, asked, line, confirmed=confirmed)
        if line is None or refused:
            desk.pass_over(asked.turn)
        if refused:
            yield refused


def _taken(desk: LabelDesk, asked: AskedChunk, line: ScriptLine, *, confirmed: bool) -> str:
    """Why an answer was not taken, "" = it was."""
    if line.text.lower() == SKIP:
        desk.take(asked.turn, "skip")
        return ""
    try:
        text = taught(line.text, confirmed=confirmed)
    except Refused as refused:
        return f"line {line.line}: {refused}"
    desk.take(asked.turn, "save", text, fields={**asked.fields, **line.fields})
    return ""


def taught(text: str, *, confirmed: bool) -> str:
    """The sentence that words are taught as. Raises: Refused, of which Reworded unless `confirmed`."""
    if text.lower() == "nothing":
        return vocabulary.CLEAR
    try:
        return wording.teachable(text)
    except Reworded as reworded:
        if confirmed:
            return reworded.wording
        raise
