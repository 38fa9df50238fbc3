"""The single keys of the review page and of the mode by ear, as they are at first: what each does, in words.

A person can change them or switch them off (static/keys.js keeps that in the browser); the same names stand there.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyAction:
    """One key."""

    name: str
    key: str
    """As a browser names it: "Enter", "e"."""
    told: str

    @property
    def label(self) -> str:
        """As it stands on a keyboard."""
        return self.key.upper() if len(self.key) == 1 else self.key


ACTIONS = tuple(
    KeyAction(*values)
    for values in (
        ("accept", "Enter", "Accept exactly what is shown; what is unsure is played first"),
        ("edit", "e", "Type what should have been said"),
        ("nothing", "n", "Nothing should be said"),
        ("reject", "t", "Reject: do not learn from this moment"),
        ("skip", "s", "Skip: it comes back after the others"),
        ("undo", "u", "Undo my last decision; 20 can be taken back"),
        ("difficult", "d", "Difficult: somebody else should look"),
        ("blur", "b", "Blur faces and number plates"),
        ("alike", "x", "Accept for those that look the same, too"),
        ("replay", "r", "Replay clip and sound, then what the wearer said"),
        ("voice", "w", "Replay only what the wearer said"),
        ("next", "j", "The moment after this one on the walk"),
        ("previous", "k", "The moment before this one on the walk"),
        ("help", "?", "Show these keys; by ear: tell them"),
    )
)
