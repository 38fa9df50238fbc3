"""The controlled vocabulary: what may be said, and what other words become.

`vocabulary.toml` is the only list of words. This module reads it and answers five questions, all pure:

    parse(text)       free words  -> Slots(action, object, side, modifier)
    phrase(slots)     Slots       -> the canonical sentence
    normalise(text)   free words  -> the canonical sentence, or None where nothing is recognised
    tier(slots)       Slots       -> 1 interrupts everything, 2 interrupts 3, 3 is dropped when stale
    problems(text)    a sentence  -> what is wrong with it under the grammar (empty = may be said)

A tier-1 object beside the path, not on it, counts as tier 2: it does not stop the walker.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

CLEAR = "Continue straight, path is clear."
SIDES_SEEN = ("on the left", "ahead", "on the right")
"""The sides a camera tells apart; the hazard head scores each object at each of them."""

_ON_PATH = ("ahead", "overhead", "")
_MOVING = ("approaching", "closing fast")
_DIRECTIONS = ("left", "right", "straight", "back", "forward")
_GLUE = frozenset("the a an at to of is path clear in from by and now slowly around under over signal".split())
_ALERTS = {"watch": "caution", "careful": "caution", "beware": "caution", "halt": "stop", "walk": "continue",
           "go": "continue", "danger": "stop"}  # fmt: skip
_SIDE_WORDS = {
    "on the left": ("on the left", "on your left", "from the left", "from left", "to the left", "left side", "left"),
    "on the right": ("on the right", "on your right", "from the right", "from right", "to the right", "right side",
                     "right"),
    "slightly left": ("slightly left", "slightly to the left"),
    "slightly right": ("slightly right", "slightly to the right"),
    "ahead": ("ahead", "in front", "in front of you", "straight ahead"),
    "overhead": ("overhead", "above", "head height"),
    "behind": ("behind", "behind you"),
}  # fmt: skip
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")


@dataclass(frozen=True, slots=True)
class ObjectTerm:
    """One thing that may be named."""

    name: str
    tier: int
    tier_parked: int
    synonyms: tuple[str, ...]
    states: tuple[str, ...]


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
    openers: tuple[str, ...]
    sides: tuple[str, ...]
    modifiers: tuple[str, ...]
    words_min: int
    words_max: dict[int, int]
    never_say: tuple[str, ...]
    off_by_default: tuple[str, ...]
    objects: dict[str, ObjectTerm]
    sounds: tuple[str, ...]


@cache
def load() -> Vocabulary:
    """The packaged vocabulary."""
    raw = tomllib.loads(files("shared").joinpath("vocabulary.toml").read_text(encoding="utf-8"))
    objects = {
        name: ObjectTerm(
            name=name,
            tier=entry["tier"],
            tier_parked=entry.get("tier_parked", entry["tier"]),
            synonyms=tuple(entry.get("synonyms", ())),
            states=tuple(entry.get("states", ())),
        )
        for name, entry in raw["objects"].items()
    }
    return Vocabulary(
        version=raw["version"],
        openers=tuple(raw["openers"]),
        sides=tuple(raw["sides"]),
        modifiers=tuple(raw["modifiers"]),
        words_min=raw["words_min"],
        words_max={int(tier): count for tier, count in raw["words_max"].items()},
        never_say=tuple(raw["never_say"]),
        off_by_default=tuple(raw["off_by_default"]),
        objects=objects,
        sounds=tuple(raw["sounds"]),
    )


@cache
def lexicon() -> frozenset[str]:
    """Every single word that an instruction may contain, lower case."""
    vocabulary = load()
    phrases = [*vocabulary.openers, *vocabulary.sides, *vocabulary.modifiers, *vocabulary.objects, *_DIRECTIONS]
    phrases += [state for term in vocabulary.objects.values() for state in term.states]
    return frozenset(word for phrase_ in phrases for word in words(phrase_)) | _GLUE


def words(text: str) -> list[str]:
    """Lower-case words; hyphenated words stay whole."""
    return _WORD.findall(text.lower())


@lru_cache(maxsize=1024)  # a walk says a few hundred sentences; each takes a millisecond to read
def parse(text: str) -> Slots | None:
    """Read free words into slots, synonyms included. None where neither an opener nor an object is recognised."""
    tokens = words(text)
    if not tokens:
        return None
    opener = next((_ALERTS.get(t, t) for t in tokens if _ALERTS.get(t, t) in load().openers and t != "step"), "")
    if _opens_with_step(tokens):
        opener = "step"
    name, rest = _find_object(tokens)
    direction = _direction(tokens, opener)
    if direction:
        rest = _without_direction(rest, opener, direction)
    if not opener and not name:
        return None
    side = _find_side(rest)
    modifier = _find_modifier(tokens, name)
    action = " ".join(filter(None, (opener or _default_action(name, side, modifier), direction)))
    if action in ("continue", "keep"):
        action += " straight"
    return Slots(action=action, object=name, side=side, modifier=modifier)


def phrase(slots: Slots) -> str:
    """The canonical sentence of some slots: "Stop, curb ahead."."""
    body = " ".join(filter(None, (slots.object, slots.modifier, slots.side)))
    action = slots.action.capitalize()
    if len(words(f"{action} {body}")) > load().words_max[tier(slots)]:
        body = body.replace("on the ", "")  # a tier-1 warning has 4 words: "Stop, vehicle approaching left."
    return f"{action}, {body}." if body else f"{action}."


def normalise(text: str) -> str | None:
    """The canonical sentence for free words, or None where nothing was recognised.

    "Watch out, kerb in front" -> "Caution, curb ahead."
    """
    if " ".join(words(text)) in (" ".join(words(CLEAR)), *load().off_by_default):
        return CLEAR
    slots = parse(text)
    if slots is None or not slots.object:
        return None
    if not slots.side and slots.modifier not in ("going up", "going down"):
        slots = Slots(slots.action, slots.object, "ahead", slots.modifier)
    return phrase(slots)


def instruct(name: str, side: str, *, modifier: str = "") -> str:
    """The canonical sentence for a thing seen at a side. Raises: KeyError for an object not in the vocabulary."""
    load().objects[name]
    return phrase(Slots(_default_action(name, side, modifier), name, side, modifier))


def tier(slots: Slots) -> int:
    """1, 2 or 3. Sentences without an object are tier 3."""
    term = load().objects.get(slots.object)
    if term is None:
        return 3
    level = term.tier_parked if slots.modifier == "parked" else term.tier
    beside = slots.side not in _ON_PATH and slots.modifier not in _MOVING
    return max(2, level) if beside else level


def problems(text: str) -> list[str]:
    """What the grammar holds against a sentence; empty means it may be said."""
    vocabulary = load()
    tokens = words(text)
    joined = " ".join(tokens)
    found = [f"says {bad!r}" for bad in vocabulary.never_say if bad in joined]
    if not tokens or tokens[0] not in vocabulary.openers:
        found.append("does not begin with an opener")
    slots = parse(text)
    most = vocabulary.words_max[tier(slots) if slots else 3]
    if not vocabulary.words_min <= len(tokens) <= most:
        found.append(f"has {len(tokens)} words, {vocabulary.words_min} to {most} are allowed")
    found += [f"{word!r} is not in the lexicon" for word in sorted(set(tokens) - lexicon())]
    return found


def _default_action(name: str, side: str, modifier: str) -> str:
    if name == "head obstacle" and side in _ON_PATH:
        return "duck"
    level = tier(Slots("", name, side, modifier))
    if level == 3:
        return "continue straight" if side in _ON_PATH else "keep straight"
    return "stop" if level == 1 else "caution"


@cache
def _object_names() -> list[tuple[list[str], str]]:
    """(words, canonical name), longest first so that "curb ramp" wins over "curb"."""
    table: dict[str, str] = {}
    for term in load().objects.values():
        for synonym in term.synonyms:
            table.setdefault(" ".join(words(synonym)), term.name)
    table.update({" ".join(words(name)): name for name in load().objects})
    return sorted(((key.split(), name) for key, name in table.items()), key=lambda pair: (-len(pair[0]), pair[0]))


def _find_object(tokens: list[str]) -> tuple[str, list[str]]:
    """(canonical object, the other words). A longer name wins; among equals the first in the sentence."""
    stairs = {"stairs", "steps", "staircase", "stair"} & set(tokens)
    if stairs and {"up", "down"} & set(tokens):
        name = "stairs down" if "down" in tokens else "stairs up"
        return name, [t for t in tokens if t not in stairs | {"up", "down", "going"}]
    best: tuple[int, int, str] | None = None
    for key, name in _object_names():
        at = _index(tokens, key)
        if at is not None and (best is None or (-len(key), at) < (best[0], best[1])):
            best = (-len(key), at, name)
    if best is None:
        return "", tokens
    length, at, name = best
    return name, tokens[:at] + tokens[at - length :]


def _index(tokens: list[str], key: list[str]) -> int | None:
    start = 1 if key == ["step"] and _opens_with_step(tokens) else 0
    for at in range(start, len(tokens) - len(key) + 1):
        window = tokens[at : at + len(key)]
        if window == key or (window[:-1] == key[:-1] and _singular(window[-1]) == key[-1]):
            return at
    return None


def _opens_with_step(tokens: list[str]) -> bool:
    """ "Step up" is an action, "step ahead" is a thing."""
    return tokens[:1] == ["step"] and tokens[1:2] != [] and tokens[1] in ("up", "down", *_DIRECTIONS)


def _singular(word: str) -> str:
    if word.endswith("es") and word[:-2].endswith(("ch", "sh", "s", "x")):
        return word[:-2]
    return word.removesuffix("s")


def _direction(tokens: list[str], opener: str) -> str:
    if opener not in ("turn", "move", "keep", "continue", "step") or opener not in tokens:
        return ""
    after = tokens[tokens.index(opener) + 1 : tokens.index(opener) + 2]
    return after[0] if after and after[0] in _DIRECTIONS else ""


def _without_direction(rest: list[str], opener: str, direction: str) -> list[str]:
    for at in range(len(rest) - 1):
        if rest[at] == opener and rest[at + 1] == direction:
            return rest[:at] + rest[at + 2 :]
    return rest


def _find_side(tokens: list[str]) -> str:
    spoken = sorted(((w, side) for side, ways in _SIDE_WORDS.items() for w in ways), key=lambda p: -len(p[0].split()))
    for way, side in spoken:
        key = way.split()
        if any(tokens[at : at + len(key)] == key for at in range(len(tokens) - len(key) + 1)):
            return side
    return ""


def _find_modifier(tokens: list[str], name: str) -> str:
    joined = f" {' '.join(tokens)} "
    name_words = set(words(name))
    for modifier in load().modifiers:
        if name.startswith("stairs") and modifier.startswith("going"):
            continue
        if f" {modifier} " in joined and not set(modifier.split()) <= name_words:
            return modifier
    if " coming " in joined:
        return "approaching"
    return next((s for s in load().objects[name].states if f" {s} " in joined), "") if name else ""
