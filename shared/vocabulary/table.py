"""The vocabulary file as frozen dataclasses, and its one question: may this opener stand with this thing?

`vocabulary.toml` beside this package is the only list of words and the only list of rules. `objection` reads the table
of openers; the automaton, the validator, the wording helper and the table in docs/guidance.md all ask it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

PLAIN = "plain"
MOVING = ("approaching", "closing fast")
"""What comes crosses the way, wherever it is now."""
ALERT = 3
"""Care from which an opener asks for attention, not for a way to go."""
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")


@dataclass(frozen=True, slots=True)
class ObjectTerm:
    """One thing that may be named."""

    name: str
    tier: int
    tier_parked: int
    synonyms: tuple[str, ...]
    """Other names, heard and read."""
    states: tuple[str, ...]
    as_written: tuple[str, ...] = ()
    """Names that stand in a good sentence as they are; they are taught as `name`."""
    written: tuple[str, ...] = ()
    """Other names that are only read, never listened for."""
    tier_moving: int = 3
    """A thing that comes counts at least as urgent as this."""
    openers: tuple[str, ...] | None = None
    """The only openers that it may stand with; None = all that the table of openers allows."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, the canonical one first."""
        return tuple(dict.fromkeys((self.name, *self.synonyms, *self.as_written, *self.written)))


@dataclass(frozen=True, slots=True)
class Opener:
    """What to do: the first word of a sentence, and what may follow it."""

    name: str
    care: int
    """The higher, the more careful."""
    go: bool
    """An order to walk on."""
    ways: tuple[str, ...]
    """Directions, one of which it needs; empty = none."""
    tiers: tuple[int, ...]
    objects: tuple[str, ...] | None
    sides: tuple[str, ...] | None
    modifiers: tuple[str, ...] | None
    """`PLAIN` stands for no modifier."""
    alone: tuple[str, ...]
    """What makes it a sentence without a thing; "" = nothing more."""
    alone_tier: int
    also: Mapping[str, tuple[str, ...]]
    """Direction ("" = the usual one) → other words for the opener with it."""

    @property
    def usual_way(self) -> str:
        return "straight" if "straight" in self.ways else ""

    @property
    def first_words(self) -> tuple[str, ...]:
        """The words that begin this order, in whatever words it is given."""
        others = (text for texts in self.also.values() for text in texts)
        return tuple(dict.fromkeys((self.name, *(text.split()[0] for text in others))))

    @property
    def actions(self) -> tuple[str, ...]:
        """The opener with each of its ways: "turn left", "turn right"; "stop"."""
        return tuple(f"{self.name} {way}" for way in self.ways) or (self.name,)


@dataclass(frozen=True, slots=True)
class Side:
    """Where a thing is."""

    name: str
    on_path: bool
    as_written: tuple[str, ...]
    also: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Modifier:
    """How a thing is."""

    name: str
    of: tuple[str, ...]
    """The things that it may stand with."""
    tier: int
    """A thing that is so counts at least as urgent as this."""
    also: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """Words that name several things, of which a modifier chooses one."""

    words: tuple[str, ...]
    members: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Slots:
    """What an instruction says, apart from its wording. "" = not said."""

    action: str
    """Opener, with its direction where it has one: "stop", "turn right", "continue straight"."""
    object: str = ""
    side: str = ""
    modifier: str = ""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The file, read once."""

    version: int
    words_min: int
    words_max: dict[int, int]
    clear: str
    opener_rules: dict[str, Opener]
    side_rules: dict[str, Side]
    modifier_rules: dict[str, Modifier]
    fillers: tuple[str, ...]
    negations: tuple[str, ...]
    assurances: tuple[str, ...]
    never_announced: tuple[str, ...]
    objects: dict[str, ObjectTerm]
    families: tuple[Family, ...]
    sounds: tuple[str, ...]

    @property
    def openers(self) -> tuple[str, ...]:
        return tuple(self.opener_rules)

    @property
    def sides(self) -> tuple[str, ...]:
        return tuple(self.side_rules)

    @property
    def modifiers(self) -> tuple[str, ...]:
        return tuple(self.modifier_rules)


def words(text: str) -> list[str]:
    """Lower-case words; hyphenated words stay whole."""
    return _WORD.findall(text.lower())


@cache
def load() -> Vocabulary:
    """The packaged vocabulary. Raises: KeyError, TypeError where the file lacks something (a packaging error)."""
    raw = tomllib.loads(files("shared").joinpath("vocabulary.toml").read_text(encoding="utf-8"))
    return Vocabulary(
        version=raw["version"],
        words_min=raw["words_min"],
        words_max={int(tier): count for tier, count in raw["words_max"].items()},
        clear=raw["clear"],
        opener_rules={name: _opener(name, entry) for name, entry in raw["openers"].items()},
        side_rules={
            name: Side(name, entry.get("on_path", False), _texts(entry, "as_written"), _texts(entry, "also"))
            for name, entry in raw["sides"].items()
        },
        modifier_rules={
            name: Modifier(name, tuple(entry["of"]), entry.get("tier", 3), _texts(entry, "also"))
            for name, entry in raw["modifiers"].items()
        },
        fillers=_texts(raw["words"], "fillers"),
        negations=_texts(raw["words"], "negations"),
        assurances=_texts(raw["words"], "assurances"),
        never_announced=_texts(raw["words"], "never_announced"),
        objects={name: _term(name, entry) for name, entry in raw["objects"].items()},
        families=tuple(Family(tuple(entry["words"]), dict(entry["members"])) for entry in raw["families"].values()),
        sounds=tuple(raw["sounds"]),
    )


def tier(slots: Slots) -> int:
    """1 interrupts everything, 2 interrupts 3, 3 is dropped when stale.

    A thing of tier 1 beside the path, not on it, counts as tier 2: it does not stop the walker. What asks for attention
    ("Stop, door ahead.") is never dropped as a landmark. A sentence without a thing has the tier of its opener.
    """
    loaded = load()
    term = loaded.objects.get(slots.object)
    rule = loaded.opener_rules.get(slots.action.split(" ")[0])
    if term is None:
        return rule.alone_tier if rule is not None and not slots.object else 3
    moving = slots.modifier in MOVING
    level = term.tier_parked if slots.modifier == "parked" else term.tier
    level = min(level, term.tier_moving) if moving else level
    modifier = loaded.modifier_rules.get(slots.modifier)
    level = level if modifier is None else min(level, modifier.tier)
    beside = slots.side not in ("ahead", "overhead", "") and not moving
    level = max(2, level) if beside else level
    return min(level, 2) if rule is not None and rule.care >= ALERT else level


def modifiers_of(name: str) -> tuple[str, ...]:
    """The modifiers and states that may stand with a thing."""
    loaded = load()
    return (*(m.name for m in loaded.modifier_rules.values() if name in m.of), *loaded.objects[name].states)


def objection(slots: Slots) -> str:
    """Why these slots may not be said together, "" = they may. The table of openers, asked.

    Word counts are no part of it: see `sentences.phrase`.
    """
    loaded = load()
    opener, _, way = slots.action.partition(" ")
    rule = loaded.opener_rules.get(opener)
    if rule is None:
        return f"{slots.action!r} is no opener"
    if not slots.object:
        if way in rule.alone:
            return ""
        needed = f"; it needs {' or '.join(rule.alone)}" if any(rule.alone) else ""
        return f"{slots.action!r} is no sentence by itself{needed}"
    term = loaded.objects.get(slots.object)
    if term is None:
        return f"{slots.object!r} is not in the vocabulary"
    if slots.modifier and slots.modifier not in modifiers_of(term.name):
        return f"{slots.modifier!r} does not go with {term.name!r}"
    if not rule.tiers:
        return f"{opener!r} is an order that is the walker's own to decide; name where the thing is instead"
    if way not in (rule.ways or ("",)):
        return f"{opener!r} goes with these directions: {', '.join(rule.ways) or 'none'}"
    return _refused_with(rule, way, term, slots)


def _refused_with(rule: Opener, way: str, term: ObjectTerm, slots: Slots) -> str:
    level, on_path = tier(slots), is_on_path(slots.side)
    thing = " ".join(filter(None, (slots.object, slots.modifier)))
    if term.openers is not None and rule.name not in term.openers:
        return f"{thing!r} stands only with {', '.join(term.openers)}"
    if rule.go and (level == 1 or (term.tier == 1 and on_path)):
        return f"{slots.action!r} is an order to walk on, and {thing!r} is something to stop for"
    if level not in rule.tiers:
        return f"{slots.action!r} does not go with {thing!r}, which is of kind {level}"
    if rule.objects is not None and term.name not in rule.objects:
        return f"{slots.action!r} goes only with {', '.join(rule.objects)}"
    if rule.sides is not None and slots.side not in ("", *rule.sides):
        return f"{slots.action!r} goes only with what is {', '.join(rule.sides)}"
    if rule.modifiers is not None and (slots.modifier or PLAIN) not in rule.modifiers:
        return f"{slots.action!r} does not go with something that is {slots.modifier}"
    if way == "straight" and slots.modifier in MOVING:
        return f"{slots.action!r} would lead into the way of {thing!r}"
    if (way, slots.object) == ("down", "stairs up"):
        return f"{slots.action!r} does not lead up the stairs"
    if way == "straight" and level < 3 and on_path:
        return f"{slots.action!r} would lead into {thing!r}"
    if way in ("left", "right") and way in slots.side.split():
        return f"{slots.action!r} would lead towards {thing!r} {slots.side}"
    return ""


def is_on_path(side: str) -> bool:
    """Whether a thing at this side is on the way ahead; an unsaid side counts as ahead."""
    rule = load().side_rules.get(side)
    return rule is None or rule.on_path


def _opener(name: str, entry: Mapping[str, Any]) -> Opener:
    alone = entry.get("alone", {})
    ways = _texts(entry, "ways")
    usual = "straight" if "straight" in ways else ""
    also = {usual: _texts(entry, "also")} | {way: _texts(entry, f"also_{way}") for way in ways if way != usual}
    return Opener(
        name,
        entry["care"],
        entry.get("go", False),
        ways,
        tuple(entry["tiers"]),
        tuple(entry["objects"]) if "objects" in entry else None,
        tuple(entry["sides"]) if "sides" in entry else None,
        tuple(entry["modifiers"]) if "modifiers" in entry else None,
        tuple(alone.get("with", ())),
        alone.get("tier", 3),
        also,
    )


def _term(name: str, entry: Mapping[str, Any]) -> ObjectTerm:
    return ObjectTerm(
        name,
        entry["tier"],
        entry.get("tier_parked", entry["tier"]),
        _texts(entry, "synonyms"),
        _texts(entry, "states"),
        _texts(entry, "as_written"),
        _texts(entry, "written"),
        entry.get("tier_moving", 3),
        tuple(entry["openers"]) if "openers" in entry else None,
    )


def _texts(entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(entry.get(name, ()))
