"""What was seen to become its opposite, or to lose its danger, and what becomes of it now."""

from __future__ import annotations

from shared import monitor, vocabulary

REFUSED = {
    "Cross, vehicle ahead.": "the walker's own to decide",
    "Continue straight, vehicle ahead.": "something to stop for",
    "Cross, street edge ahead.": "the walker's own to decide",
    "Enter, drop-off ahead.": "something to stop for",
    "Cross now, path is clear.": "says 'clear'",
    "Cross straight now.": "says 'now'",
    "Keep going, person on left, car approaching from right.": "something to stop for",
    "Walk past the open car door.": "'past' is not in the vocabulary",
    "Go now, cars stopped": "'stopped' is not in the vocabulary",
    "do not cross, car coming": "says 'do not'",
    "don't continue, hole ahead": "don't",
    "cone left, bollard right": "neither may be left out",
}
"""Text → a part of the reason. Nothing is made of these."""

REWORDED = {
    "Continue straight, stop car ahead.": ("Stop, vehicle ahead.", ("continue straight",)),
    "Caution, uneven pavement ahead.": ("Caution, uneven ground ahead.", ()),
    "walk signal is red, wait": ("Wait, walk signal red ahead.", ()),
    "sidewalk closed ahead": ("Caution, sidewalk blocked ahead.", ()),
    "tram tracks ahead": ("Stop, train tracks ahead.", ()),
    "bus stop on the left": ("Keep straight, bus stop on the left.", ()),
    "person on left, car approaching from right": ("Stop, vehicle approaching right.", ("person on the left",)),
}
"""Text → (what it would be taught as, what would be lost). A person has to confirm that."""

AS_WRITTEN = {
    "Turn right at the corner.": "Turn right at the corner.",
    "Turn right.": "Turn right.",
    "Stop.": "Stop.",
    "Stop, curb ahead.": "Stop, curb ahead.",
    "Stop, car approaching from left.": "Stop, vehicle approaching left.",
    "Caution, stairs going down.": "Caution, stairs down.",
    "Stop, obstacle ahead.": "Stop, obstacle ahead.",
}
"""Text → the canonical sentence. These are taken at once."""

ALL = (*REFUSED, *REWORDED, *AS_WRITTEN)


def safe(wording: str) -> bool:
    """Whether the monitor, which knows nothing of the vocabulary, would let a sentence through."""
    slots = vocabulary.parse(wording)
    return slots is not None and monitor.stopped(wording, tier=vocabulary.tier(slots), why="worded") is None
