"""`vocabulary.toml` as frozen dataclasses, and its one question: may this opener stand with this thing?

`objection` reads the table of openers; the automaton, the validator, the wording helper and the table in
docs/guidance.md all ask it.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

PLAIN = "plain"
"""Stands for no modifier in an opener's list of modifiers."""
ALERT = 3
"""Care from which an opener asks for attention, not for a way to go."""
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")


@dataclass(frozen=True, slots=True)
class ObjectTerm:
    """One thing that may be named. The fields are those of its table, and explained there."""

    name: str
    tier: int
    tier_parked: int
    tier_moving: int = 3
    """A thing that comes counts at least as urgent as this."""
    synonyms: tuple[str, ...] = ()
    as_written: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    openers: tuple[str, ...] | None = None
    """None = all that the table of openers allows."""
    asks_for: str | None = None
    leads: str | None = None
    plural: str = ""
    everyday: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()
    pronounced: Mapping[str, tuple[str, ...]] | None = None
    """Word → its pronunciations in CMUdict's phones."""

    @property
    def several(self) -> str:
        """What more than one are called."""
        return self.plural or f"{self.name}s"

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, the canonical one first."""
        return tuple(dict.fromkeys((self.name, *self.synonyms, *self.as_written, *self.written)))


@dataclass(frozen=True, slots=True)
class Opener:
    """What to do: the first word of a sentence, and what may follow it."""

    name: str
    care: int
    tiers: tuple[int, ...]
    also: Mapping[str, tuple[str, ...]]
    """Direction ("" where there is none) → other words for the opener with it."""
    go: bool = False
    """An order to walk on."""
    ways: tuple[str, ...] = ()
    """Directions, one of which it needs; empty = none."""
    objects: tuple[str, ...] | None = None
    sides: tuple[str, ...] | None = None
    modifiers: tuple[str, ...] | None = None
    alone: tuple[str, ...] = ()
    """What makes it a sentence without a thing; "" = nothing more."""
    alone_tier: int = 3

    @property
    def usual_way(self) -> str:
        return _usual_way(self.ways)

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
    on_path: bool = False
    middle: bool = False
    as_written: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Modifier:
    """How a thing is."""

    name: str
    tier: int = 3
    moving: bool = False
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """Words that name several things, of which a modifier chooses one."""

    words: tuple[str, ...]
    members: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HeardWords:
    """What the recogniser of spoken corrections listens for; numbers are odds."""

    openers: Mapping[str, float]
    articles: Mapping[str, float]
    places: Mapping[str, float]
    ways: tuple[str, ...]
    nothing: tuple[str, ...]
    unfinished: tuple[str, ...]


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
    words_max: Mapping[int, int]
    clear: str
    sides_seen: tuple[str, ...]
    shorter: tuple[tuple[str, str], ...]
    opener_rules: Mapping[str, Opener]
    side_rules: Mapping[str, Side]
    modifier_rules: Mapping[str, Modifier]
    objects: Mapping[str, ObjectTerm]
    families: tuple[Family, ...]
    heard: HeardWords
    fillers: tuple[str, ...]
    negations: tuple[str, ...]
    assurances: tuple[str, ...]
    never_announced: tuple[str, ...]
    relative: tuple[str, ...]
    glue: tuple[str, ...]

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
    """The packaged vocabulary. Raises: KeyError, TypeError where the file is not as it must be (a packaging error)."""
    raw = tomllib.loads(files("shared").joinpath("vocabulary.toml").read_text(encoding="utf-8"))
    return Vocabulary(
        opener_rules={name: _opener(name, entry) for name, entry in raw.pop("openers").items()},
        side_rules={name: Side(name, **_frozen(entry)) for name, entry in raw.pop("sides").items()},
        modifier_rules={name: Modifier(name, **_frozen(entry)) for name, entry in raw.pop("modifiers").items()},
        objects={
            name: ObjectTerm(name, **_frozen({"tier_parked": entry["tier"], **entry}))
            for name, entry in raw.pop("objects").items()
        },
        families=tuple(Family(**_frozen(entry)) for entry in raw.pop("families").values()),
        heard=HeardWords(**_frozen(raw.pop("heard"))),
        words_max={int(tier): count for tier, count in raw.pop("words_max").items()},
        **_frozen(raw.pop("words")),
        **_frozen(raw),
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
    level = _tier_of_thing(term, slots)
    return min(level, 2) if rule is not None and rule.care >= ALERT else level


def _tier_of_thing(term: ObjectTerm, slots: Slots) -> int:
    """The tier of a thing how and where it is, whatever the opener."""
    modifier = load().modifier_rules.get(slots.modifier)
    level = term.tier_parked if slots.modifier == "parked" else term.tier
    if modifier is not None:
        level = min(level, modifier.tier, term.tier_moving if modifier.moving else level)
    return level if is_middle(slots.side) or _is_moving(slots.modifier) else max(2, level)


def modifiers_of(name: str) -> tuple[str, ...]:
    """The modifiers and states that may stand with a thing."""
    term = load().objects[name]
    return (*(modifier for modifier in load().modifier_rules if modifier in term.modifiers), *term.states)


def objection(slots: Slots) -> str | None:
    """Why these slots may not be said together, None where they may. The table of openers, asked.

    Word counts are no part of it: see `sentences.phrase`.
    """
    loaded = load()
    opener, _, way = slots.action.partition(" ")
    rule = loaded.opener_rules.get(opener)
    if rule is None:
        return f"{slots.action!r} is no opener"
    if not slots.object:
        return None if way in rule.alone else _incomplete(slots.action, rule)
    term = loaded.objects.get(slots.object)
    if term is None:
        return f"{slots.object!r} is not in the vocabulary"
    if slots.modifier and slots.modifier not in modifiers_of(term.name):
        return f"{slots.modifier!r} does not go with {term.name!r}"
    refusals = itertools.chain(
        _misused(rule, way),
        _wrong_tier(rule, term, slots),
        _not_in_row(rule, term, slots),
        _wrong_ways(rule, term, slots),
    )
    return next(refusals, None)


def _incomplete(action: str, rule: Opener) -> str:
    needed = f"; it needs {' or '.join(rule.alone)}" if any(rule.alone) else ""
    return f"{action!r} is no sentence by itself{needed}"


def _misused(rule: Opener, way: str) -> Iterator[str]:
    """What is said against the opener with any thing."""
    if not rule.tiers:
        yield f"{rule.name!r} is an order that is the walker's own to decide; name where the thing is instead"
    if way not in (rule.ways or ("",)):
        yield f"{rule.name!r} goes with these directions: {', '.join(rule.ways) or 'none'}"


def _wrong_tier(rule: Opener, term: ObjectTerm, slots: Slots) -> Iterator[str]:
    """What is said against the opener with a thing as urgent as this."""
    level, thing = tier(slots), _thing(slots)
    if term.openers is not None and rule.name not in term.openers:
        yield f"{thing!r} stands only with {', '.join(term.openers)}"
    if rule.go and (level == 1 or (term.tier == 1 and is_on_path(slots.side))):
        yield f"{slots.action!r} is an order to walk on, and {thing!r} is something to stop for"
    if level not in rule.tiers:
        yield f"{slots.action!r} does not go with {thing!r}, which is of kind {level}"


def _not_in_row(rule: Opener, term: ObjectTerm, slots: Slots) -> Iterator[str]:
    """What the lists in the opener's row leave out."""
    if rule.objects is not None and term.name not in rule.objects:
        yield f"{slots.action!r} goes only with {', '.join(rule.objects)}"
    if rule.sides is not None and slots.side not in ("", *rule.sides):
        yield f"{slots.action!r} goes only with what is {', '.join(rule.sides)}"
    if rule.modifiers is not None and (slots.modifier or PLAIN) not in rule.modifiers:
        yield f"{slots.action!r} does not go with something that is {slots.modifier}"


def _wrong_ways(rule: Opener, term: ObjectTerm, slots: Slots) -> Iterator[str]:
    """What is said against leading the walker this way."""
    way, thing = slots.action.partition(" ")[2], _thing(slots)
    if way == "straight" and _is_moving(slots.modifier):
        yield f"{slots.action!r} would lead into the way of {thing!r}"
    if term.leads in rule.ways and way != term.leads:
        yield f"{slots.action!r} does not lead {term.leads} the {term.name.split()[0]}"
    if way == "straight" and tier(slots) < 3 and is_on_path(slots.side):
        yield f"{slots.action!r} would lead into {thing!r}"
    if way in ("left", "right") and way in slots.side.split():
        yield f"{slots.action!r} would lead towards {thing!r} {slots.side}"


def _thing(slots: Slots) -> str:
    return " ".join(filter(None, (slots.object, slots.modifier)))


def is_on_path(side: str) -> bool:
    """Whether a thing at this side is on the way ahead; an unsaid side counts as ahead."""
    rule = load().side_rules.get(side)
    return rule is None or rule.on_path


def is_middle(side: str) -> bool:
    """Whether a thing at this side is straight on; an unsaid side counts as ahead."""
    return not side or (side in load().side_rules and load().side_rules[side].middle)


def _is_moving(modifier: str) -> bool:
    return modifier in load().modifier_rules and load().modifier_rules[modifier].moving


def _usual_way(ways: tuple[str, ...]) -> str:
    return "straight" if "straight" in ways else ""


def _opener(name: str, entry: Mapping[str, Any]) -> Opener:
    also = entry.get("also", [])
    if isinstance(also, list):
        also = {_usual_way(tuple(entry.get("ways", ()))): also}
    return Opener(name, **_frozen({**entry, "also": also}))


def _frozen(value: Any) -> Any:
    """Lists of a TOML file as tuples."""
    if isinstance(value, Mapping):
        return {name: _frozen(part) for name, part in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
