"""Slots → the one canonical sentence, and every sentence that may be said. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from shared.vocabulary.table import Slots, is_middle, is_on_path, load, modifiers_of, objection, tier, words


def phrase(slots: Slots) -> str:
    """The canonical sentence of some slots: "Stop, curb ahead." """
    action = slots.action.capitalize()
    if not slots.object:
        return f"{action}."
    body = " ".join(filter(None, (slots.object, slots.modifier, slots.side)))
    most = load().words_max[tier(slots)]
    for long, short in load().shorter:
        if len(words(f"{action} {body}")) > most:
            body = body.replace(long, short)
    return f"{action}, {body}."


def instruct(name: str, side: str, *, modifier: str = "") -> str:
    """The canonical sentence for a thing seen at a side. Raises: KeyError for an object not in the vocabulary."""
    load().objects[name]
    return phrase(Slots(default_action(name, side, modifier), name, side, modifier))


def default_action(name: str, side: str, modifier: str = "") -> str:
    """What a thing asks for where nobody says what to do about it."""
    term, level = load().objects[name], tier(Slots("", name, side, modifier))
    if term.asks_for is not None and is_middle(side):
        return term.asks_for
    if term.tier == 1 and modifier != "parked" and is_on_path(side):
        return "stop"
    if level == 3:
        return "continue straight" if is_middle(side) else "keep straight"
    return "stop" if level == 1 else "caution"


def fits(slots: Slots) -> bool:
    """Whether the sentence of some slots may be said: the table allows them together, in as many words as its tier
    may have."""
    if objection(slots) is not None:
        return False
    return not slots.object or load().words_min <= len(words(phrase(slots))) <= load().words_max[tier(slots)]


def bodies(action: str) -> Iterator[Slots]:
    """Everything that may follow an action in a sentence about a thing."""
    loaded = load()
    for name in loaded.objects:
        for modifier in ("", *modifiers_of(name)):
            for side in ("", *loaded.sides):
                slots = Slots(action, name, side, modifier)
                if fits(slots):
                    yield slots


def actions() -> tuple[str, ...]:
    """Every action, with its direction where it has one: "stop", "turn left"; those that open no sentence left out."""
    rules = load().opener_rules.values()
    return tuple(action for rule in rules if rule.tiers for action in rule.actions)


def manoeuvres() -> tuple[str, ...]:
    """Every sentence without a thing: "Stop.", "Turn right at the corner." """
    rules = load().opener_rules.values()
    return tuple(f"{f'{rule.name} {way}'.strip().capitalize()}." for rule in rules for way in rule.alone)


@cache
def sayable() -> dict[str, Slots]:
    """Every sentence that may be said, with its slots; `clear` is not among them. About 20,000, in a second."""
    about_things = (slots for action in actions() for slots in bodies(action))
    sentences: dict[str, Slots] = {}
    for slots in about_things:
        sentences.setdefault(phrase(slots), _as_said(slots))
    return sentences | {text: Slots(text.removesuffix(".").lower()) for text in manoeuvres()}


def may_be_spoken(text: str) -> bool:
    """Whether a sentence about the way may reach the voice: letter by letter one of those that may be said."""
    return text in sayable() or text == load().clear


def may_be_announced(text: str) -> bool:
    """Whether news about the device may reach the voice: it orders nobody to walk, promises nothing, names nothing to
    stop for. A word that may also be an order ("Walk with a companion.") is one only as the first word."""
    said = words(text)
    rules = [rule for rule in load().opener_rules.values() if rule.go]
    if not said or said[0] in {word for rule in rules for word in rule.first_words}:
        return False
    if set(said) & {*load().never_announced, *(rule.name for rule in rules)}:
        return False
    return not _names_danger(said)


def _names_danger(said: list[str]) -> bool:
    """Whether words name something to stop for."""
    spelt = f" {' '.join(said)} "
    dangers = (term for term in load().objects.values() if term.tier == 1)
    return any(f" {name} " in spelt for term in dangers for name in term.names)


def _as_said(slots: Slots) -> Slots:
    """The slots that are left of a sentence that was shortened."""
    text = phrase(slots)
    side = slots.side
    if side.startswith("slightly ") and "slightly" not in text:
        side = f"on the {side.removeprefix('slightly ')}"
    modifier = slots.modifier if not slots.modifier or slots.modifier in text else "approaching"
    return replace(slots, side=side, modifier=modifier)


@cache
def lexicon() -> frozenset[str]:
    """Every single word that an instruction may contain, lower case."""
    loaded = load()
    phrases = [*loaded.sides, *loaded.modifiers, *loaded.objects, *manoeuvres(), *actions(), loaded.clear]
    phrases += [state for term in loaded.objects.values() for state in term.states]
    return frozenset(word for text in phrases for word in words(text))
