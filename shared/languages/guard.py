"""A language's texts held against its own list of words, once, when it is loaded. Pure.

shared.monitor checks the canonical sentence before it reaches the voice; what stands between that and the wearer's ear
is a table, and this is what the table must hold:

    1. Every sentence that may be said is worded, and no two in the same words.
    2. A sentence begins with the words of its order, and no two orders begin alike: "stop" never sounds like "wait".
    3. Words that order to walk stand only in sentences that are such an order, and each such order has one of them.
    4. A sentence says left and right as often as its canonical one does.
    5. No promise, permission or denial, but in the one sentence for a clear way, which has one of these words.
    6. A warning is short, as a count of words for each tier.
    7. No announcement begins with an order to walk, promises anything, or turns left into right.
    8. An announcement has the placeholders of its key, each once; there are no other braces and no unprintable signs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from shared import vocabulary
from shared.languages.announcing import PLACE
from shared.languages.files import GuardWords
from shared.vocabulary import Slots
from shared.vocabulary.table import ALERT

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
Test = Callable[[str], bool]


def words(text: str) -> list[str]:
    """Lower-case words of any script; hyphenated words stay whole."""
    return _WORD.findall(text.lower())


def guidance_faults(said: Mapping[str, str], openers: Mapping[str, str], guard: GuardWords) -> Iterator[str]:
    """What is wrong with worded sentences, canonical -> spoken, "[section] key: what". openers: action -> its words."""
    yield from _like_openers(openers)
    yield from _unknown_to(guard, said, openers)
    alike = list(_same_words(said))
    yield from alike[:1]  # one entry of the table spoils many sentences
    tests, known = _Tests(guard), set[str]()
    for text, slots in vocabulary.sayable().items():
        why = tests.fault(text, slots, said[text]) if text in said else None
        if why is not None and why not in known:
            known.add(why)
            yield f"{text!r} is worded {said[text]!r}, {why}"


def announcement_faults(texts: Mapping[str, str], guard: GuardWords) -> Iterator[str]:
    """What is wrong with announcements, canonical -> spoken."""
    tests = _Tests(guard)
    for text, spoken in texts.items():
        why = tests.news_fault(text, spoken)
        if why is not None:
            yield f"[texts] {text!r} is worded {spoken!r}, {why}"


def among(listed: tuple[str, ...]) -> Test:
    """Whether a word is one of a list; one of the list that ends with * stands for all that begin so."""
    whole = {word for word in listed if not word.endswith("*")}
    stems = tuple(word[:-1] for word in listed if word.endswith("*"))
    return lambda word: word in whole or (bool(stems) and word.startswith(stems))


class _Tests:
    def __init__(self, guard: GuardWords) -> None:
        self._guard = guard
        self._left, self._right = among(guard.left), among(guard.right)
        self._walk_on, self._never = among(guard.walk_on), among(guard.never)
        self._denials = among(guard.denials)
        self._go = _walking()

    def fault(self, text: str, slots: Slots, spoken: str) -> str | None:
        if slip := _unsayable(spoken):
            return slip
        said = words(spoken)
        most = self._guard.most_words.get(str(vocabulary.tier(slots)), 0)
        if len(said) > most:
            return f"{len(said)} words; at most {most} (most_words in language.toml)"
        if slots.action not in self._go and (order := next(filter(self._walk_on, said), None)):
            return f"and {order!r} is an order to walk on (walk_on in language.toml)"
        if denial := next(filter(self._denials, said), None):
            return f"and {denial!r} is a denial (denials in language.toml)"
        return self._promised(said) or self._turned(text, said)

    def news_fault(self, text: str, spoken: str) -> str | None:
        said = words(spoken)
        if not said and text:
            return "which holds no words"
        if sorted(PLACE.findall(spoken)) != sorted(PLACE.findall(text)):
            return "and its placeholders are not those of the English text"
        if slip := _unsayable(PLACE.sub("", spoken)):
            return slip
        if said and self._walk_on(said[0]):
            return f"and {said[0]!r} is an order to walk on (walk_on in language.toml)"
        return self._promised(said) or self._turned(text, said)

    def _promised(self, said: list[str]) -> str | None:
        promise = next(filter(self._never, said), None)
        return f"and {promise!r} promises something (never in language.toml)" if promise else None

    def _turned(self, text: str, said: list[str]) -> str | None:
        canonical = vocabulary.words(text)
        for side, is_side in (("left", self._left), ("right", self._right)):
            wanted, found = canonical.count(side), sum(map(is_side, said))
            if wanted != found:
                return f"which says {side} {found} times, not {wanted} ({side} in language.toml)"
        return None


def _unsayable(spoken: str) -> str | None:
    sign = next((sign for sign in spoken if sign in "{}" or not sign.isprintable()), None)
    return None if sign is None else f"and {sign!r} cannot be said"


def _walking() -> set[str]:
    """Every order to walk, with and without a thing."""
    rules = [rule for rule in vocabulary.load().opener_rules.values() if rule.go]
    alone = (f"{rule.name} {way}".strip() for rule in rules for way in rule.alone)
    return {*alone, *(action for rule in rules for action in rule.actions)}


def _unknown_to(guard: GuardWords, said: Mapping[str, str], openers: Mapping[str, str]) -> Iterator[str]:
    """What shows that the folder's list of words has gaps: an order to walk or a promise that is on none of them."""
    walk_on, never = among(guard.walk_on), among(guard.never)
    for action in sorted(_walking() & openers.keys()):
        if not any(map(walk_on, words(openers[action]))):
            yield f"[openers] {action!r} is an order to walk, and no word of {openers[action]!r} is in walk_on"
    clear = said.get(vocabulary.CLEAR)
    if clear is not None and not any(map(never, words(clear))):
        yield f"[exact] {clear!r} says that the way is clear, and no word of it is in never"
    if not guard.denials:
        yield "the language has no denials: fill them in (denials in language.toml)"


def _same_words(said: Mapping[str, str]) -> Iterator[str]:
    meant: dict[str, str] = {}
    for text, spoken in said.items():
        other = meant.setdefault(" ".join(words(spoken)), text)
        if other != text:
            yield f"{text!r} and {other!r} are both worded {spoken!r}"


def _like_openers(openers: Mapping[str, str]) -> Iterator[str]:
    """Orders that are worded alike, and alerts whose first word is another order's."""
    spoken = {action: words(said.partition("{")[0]) for action, said in openers.items()}
    meant: dict[str, str] = {}
    for action in spoken.keys() & {*vocabulary.actions()}:
        said = " ".join(spoken[action])
        other = meant.setdefault(said, action)
        if other != action:
            yield f"[openers] {' and '.join(map(repr, sorted((action, other))))} are both {said!r}"
    for rule in vocabulary.load().opener_rules.values():
        if rule.care >= ALERT and rule.name in spoken:
            yield from _begins_alike(rule.name, spoken)


def _begins_alike(alert: str, spoken: Mapping[str, list[str]]) -> Iterator[str]:
    first = spoken[alert][:1]
    others = (action for action, said in spoken.items() if action != alert and said[:1] == first)
    return (f"[openers] {alert!r} begins like {other!r}" for other in others)
