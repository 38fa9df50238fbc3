"""What a device made unrecognisable in a kept picture (privacy.blur), and what such a picture is still good for. Pure.

""             nothing was to be hidden
"0 regions"    nothing was found that had to be
"2 regions"    heads of persons, lower parts of vehicles and bicycles are blocks
"whole"        all of the picture is: nothing had looked at it
"""

from __future__ import annotations

from shared import vocabulary

FIELD = "hidden"
"""Among a record's and a row's further fields."""
WHOLE = "whole"
KINDS = ("person", "vehicle", "bicycle")
"""Things of which a part is hidden."""
_NOTHING = ("", "0 regions")


def of_regions(count: int) -> str:
    """What is written of a picture in which so many regions were hidden."""
    return f"{count} regions"


def is_untouched(hidden: str) -> bool:
    """Whether all of the picture is as it was seen."""
    return hidden in _NOTHING


def shows(hidden: str, sentence: str) -> bool:
    """Whether a picture shows what a confirmed sentence says. sentence: canonical, "" = silence

    A person whose head is blocks would teach that blocks are a person; silence, that nothing is where something was
    hidden. What another sentence names is whole.
    """
    if is_untouched(hidden):
        return True
    if hidden == WHOLE or sentence in ("", vocabulary.CLEAR):
        return False
    slots = vocabulary.parse(sentence)
    return slots is not None and slots.object not in KINDS
