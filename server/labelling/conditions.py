"""In what surroundings a moment was recorded: the four fields of the recording plan, and who says so.

Each field is text, "" = nobody has said. Beside it stands where that comes from, in `{field}_from`: PERSON, or what
guessed it. A guess never replaces what a person said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from shared.errors import Refused

PERSON = "person"
INDOORS = ("hallway", "stairs", "elevator", "doorway", "office", "room")
OUTDOORS = (
    "sidewalk", "crossing with signal", "crossing without signal", "park", "parking lot", "entrance", "street",
)  # fmt: skip
CHOICES: Mapping[str, tuple[str, ...]] = {
    "environment": (*INDOORS, *OUTDOORS),
    "lighting": ("day", "night", "low light"),
    "weather": ("clear", "rain", "cloudy"),
    "scenario": ("obstacles", "hazards", "navigation"),
}
FIELDS = tuple(CHOICES)
_ALSO = {
    "corridor": "hallway", "lift": "elevator", "door": "doorway", "pavement": "sidewalk", "footpath": "sidewalk",
    "crossing": "crossing without signal", "crosswalk": "crossing without signal",
    "crosswalk with signal": "crossing with signal", "parking": "parking lot", "car park": "parking lot",
    "road": "street", "dark": "night", "dusk": "low light", "mixed": "low light", "low": "low light",
    "mixed light": "low light", "sunny": "clear", "dry": "clear", "rainy": "rain", "overcast": "cloudy",
    "obstacle": "obstacles", "hazard": "hazards",
}  # fmt: skip
_FIELD_OF = {choice: name for name, choices in CHOICES.items() for choice in choices}


def named(text: str) -> dict[str, str]:
    """Free words → fields, such as "sidewalk, day, rain". Pure. Raises: Refused naming a word that is none of them."""
    rest = [word for word in re.split(r"[^a-z]+", text.lower()) if word]
    found: dict[str, str] = {}
    while rest:
        for length in range(min(3, len(rest)), 0, -1):
            phrase = " ".join(rest[:length])
            choice = _ALSO.get(phrase, phrase)
            if choice in _FIELD_OF:
                found[_FIELD_OF[choice]] = choice
                rest = rest[length:]
                break
        else:
            listed = "; ".join(f"{name}: {', '.join(choices)}" for name, choices in CHOICES.items())
            raise Refused(f"“{rest[0]}” is no environment, lighting, weather or scenario.", hint=f"{listed}.")
    return found


def by_person(values: Mapping[str, str]) -> dict[str, str]:
    """Fields as a person says them, with where they come from; "" takes one back. Raises: Refused naming a bad one."""
    out: dict[str, str] = {}
    for name, value in values.items():
        if name not in CHOICES or (value and value not in CHOICES[name]):
            choices = ", ".join(CHOICES.get(name, FIELDS))
            raise Refused(f"{name} can not be {value!r:.40}.", hint=f"Use one of: {choices}.")
        out |= {name: value, f"{name}_from": PERSON if value else ""}
    return out


def lasting(fields: Mapping[str, str]) -> dict[str, str]:
    """What a person said of the place, the light and the weather: it holds for what comes after, too. Pure."""
    return by_person({name: value for name, value in said(fields).items() if name != "scenario"})


def with_guesses(fields: Mapping[str, str], guesses: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Fields, and guesses where a person has said nothing. Pure. guesses: field → (value, what guessed it)"""
    out = dict(fields)
    for name, (value, source) in guesses.items():
        if out.get(f"{name}_from") != PERSON:
            out |= {name: value, f"{name}_from": source}
    return out


def said(fields: Mapping[str, str]) -> dict[str, str]:
    """Of a row's or a line's fields, those that a person has said; words that are no choice are none. Pure."""
    by = {name: fields.get(name, "") for name in FIELDS if fields.get(f"{name}_from") == PERSON}
    return {name: value for name, value in by.items() if value in CHOICES[name]}
