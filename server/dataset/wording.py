"""A person's words → the sentence that teaches, or why there is none. Pure.

Every door through which words come in asks here: the review page and its API, `samples review`, `label`, `samples
import`. So the same words become the same sentence at each of them, for the same reasons. `teachable(text)`

    gives the canonical sentence    where the text may be said as it is;
    raises Reworded                 where it would be taught in other words. A person confirms these by giving them:
                                    a canonical sentence is read as itself;
    raises NotSayable               where it may not be said: why, and which sentences may have been meant. Each of
                                    those is a person's to choose; none is ever taken for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import cache

from shared import vocabulary
from shared.errors import Refused
from shared.vocabulary import Reading
from shared.vocabulary.lexemes import WordKind, lexemes

MAX_TEXT = 200  # 8 words; a pasted page is a slip
SUGGESTIONS_MOST = 4
_CLOSE = 0.8  # "stiars" is close to "stairs"; "out" is close to nothing
_SHORTEST = 4  # below this a wrong letter could mean anything
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")
_SENTENCE = re.compile(r"[^.!?]+[.!?]*")
_VERBS = frozenset(("says", "has", "holds", "names", "gives", "does", "is"))
UNKNOWN_AS = "obstacle"
"""What a thing that the vocabulary does not know can be called."""
UNKNOWN_MOST = 4
"""Words of such a thing, as own words may have."""
_PLAIN_WORDS = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*")
_AROUND_A_THING = frozenset((WordKind.UNKNOWN, WordKind.OPENER, WordKind.SIDE, WordKind.MODIFIER))
_NOTHING = frozenset(("nothing", "say nothing", "nothing there", "nothing should be said"))


class NotTeachable(Refused):
    """The text is not taken as it is."""

    wording = ""
    """The sentence that would be taught instead."""
    lost: tuple[str, ...] = ()
    """What the text says and `wording` does not."""
    suggestions: tuple[str, ...] = ()
    """Where there is no wording: what may have been meant, the likeliest first."""


class Reworded(NotTeachable):
    """The text may be said, in other words: a person has to see and confirm them."""

    def __init__(self, text: str, wording: str, lost: tuple[str, ...]) -> None:
        super().__init__(" ".join(filter(None, (f"“{text}” would be taught as “{wording}”.", left_out(lost)))))
        self.text, self.wording, self.lost = text, wording, lost


class NotSayable(NotTeachable):
    """The text may not be said, as it is or in other words."""

    def __init__(self, text: str, problems: Sequence[str], suggestions: tuple[str, ...], *, hint: str = "") -> None:
        reasons = "; ".join(f"{'it ' * lacks_subject(problem)}{problem}" for problem in problems)
        super().__init__(f"“{text}” can not be taught: {reasons.rstrip('?')}.", hint=_did_you_mean(suggestions) or hint)
        self.suggestions = suggestions


def teachable(text: str) -> str:
    """The canonical sentence for words that may be said as they are. Raises: Refused, of which NotTeachable."""
    plain = " ".join(text.split())
    if not plain:
        raise Refused("No words were given.", hint='Type what should be said, or choose "Nothing should be said".')
    if len(plain) > MAX_TEXT:
        raise Refused(
            f"{len(plain)} characters are too long for guidance.", hint='Use 3 to 8 words: "Stop, curb ahead."'
        )
    reading = vocabulary.read(plain)
    if reading.taught_as is None:
        raise NotSayable(plain, reading.problems, suggestions(plain), hint=_hint(plain))
    if not reading.as_written:
        raise Reworded(plain, reading.taught_as, reading.lost)
    return reading.taught_as


def lacks_subject(problem: str) -> bool:
    """Whether "it" goes before a problem of a reading: "says 'now'", unlike "'past' is not in the vocabulary"."""
    return problem.split(" ")[0] in _VERBS


def left_out(lost: Sequence[str]) -> str:
    """What a wording does not say, in words; "" where it says all."""
    return f"Left out: {', '.join(lost)}." if lost else ""


def suggestions(text: str) -> tuple[str, ...]:
    """Sentences that may be meant by words that were refused, the likeliest first; slips of spelling are mended.

    Never an order to walk on: "sidewalk ends ahead" is none, and "discontinue" no misspelt "continue".
    """
    mended = vocabulary.read(_WORD.sub(lambda match: _mended(match[0]), text.lower()))
    guessed = (*vocabulary.read(text).suggestions, *mended.suggestions)
    meant = [sentence for sentence in guessed if not _walks_on(sentence)]
    if mended.taught_as and mended.slots and mended.taught_as != vocabulary.CLEAR:
        careful = vocabulary.phrase(replace(mended.slots, action="caution")) if mended.slots.object else ""
        meant.append(careful if _walks_on(mended.taught_as) else mended.taught_as)
    if not any(map(_names_a_thing, meant)):
        meant.insert(0, _as_obstacle(text))
    return tuple(dict.fromkeys(filter(None, meant)))[:SUGGESTIONS_MOST]


def unknown_thing(text: str) -> str:
    """The words of a text that name a thing which the vocabulary does not know, in lower case: "plank" in "a plank
    ahead". "" = there are none, or more than one thing may be meant.

    Only beside an opener or a side, and where nothing else is named, denied or assured: words that say anything more
    than what stands where are for a person to put otherwise.
    """
    spoken = [one for one in lexemes(text[:MAX_TEXT]) if one.kind not in (WordKind.BREAK, WordKind.FILLER)]
    kinds = {one.kind for one in spoken}
    if not kinds & {WordKind.OPENER, WordKind.SIDE} or not kinds <= _AROUND_A_THING or len(text) > MAX_TEXT:
        return ""
    words = _together([one.text if one.kind is WordKind.UNKNOWN else "" for one in spoken])
    return words if _may_name_a_thing(words) else ""


def _may_name_a_thing(words: str) -> bool:
    misspelt = any(_mended(word) != word for word in _WORD.findall(words))
    return _PLAIN_WORDS.fullmatch(words) is not None and not misspelt


def _together(texts: Sequence[str]) -> str:
    """The texts between those that are empty, "" = they do not stand together, or are too many."""
    at = [place for place, text in enumerate(texts) if text]
    whole = 0 < len(at) <= UNKNOWN_MOST and at[-1] - at[0] == len(at) - 1
    return " ".join(texts[place] for place in at) if whole else ""


def _names_a_thing(sentence: str) -> bool:
    slots = vocabulary.parse(sentence) if sentence else None
    return slots is not None and slots.object != ""


def _as_obstacle(text: str) -> str:
    """What can be said of an unknown thing at its place, "" = nothing. Never an order to walk on."""
    if not unknown_thing(text):
        return ""
    openers, sides = (
        [one.value for one in lexemes(text) if one.kind is kind] for kind in (WordKind.OPENER, WordKind.SIDE)
    )
    sentence = vocabulary.read(" ".join([*openers, UNKNOWN_AS, *sides])).taught_as
    return "" if sentence is None or _walks_on(sentence) else sentence


def _walks_on(sentence: str) -> bool:
    slots = vocabulary.parse(sentence)
    return slots is None or vocabulary.load().opener_rules[slots.action.split()[0]].go


def reading_of(text: str) -> Reading:
    """What one or several sentences say, each of which counts once."""
    return vocabulary.read(once(text))


def once(text: str) -> str:
    """Sentences without those that stand there already: a device repeats what the wearer may not have heard."""
    return " ".join(dict.fromkeys(_sentences(text)))


def meaning(text: str) -> str:
    """The canonical sentence of guidance as a device gave it, "" = nothing said, or that the way is clear.

    Of several sentences the most urgent one, and the first of those. What may not be said is its own meaning: to
    compare and to count, never to teach.
    """
    canonical = reading_of(text).taught_as or _most_urgent(text) or " ".join(text.split())
    return "" if canonical == vocabulary.CLEAR else canonical


def _most_urgent(text: str) -> str | None:
    readings = [reading for reading in map(vocabulary.read, _sentences(text)) if reading.slots and reading.sayable]
    first = min(readings, key=lambda reading: vocabulary.tier(reading.slots) if reading.slots else 3, default=None)
    return first.taught_as if first else None


@cache
def sentences() -> tuple[str, ...]:
    """The canonical sentence of every object at every side that a camera tells apart, in the vocabulary's order."""
    pairs = ((name, side) for name in vocabulary.load().objects for side in vocabulary.SIDES_SEEN)
    return tuple(dict.fromkeys(vocabulary.instruct(name, side) for name, side in pairs))


def _sentences(text: str) -> list[str]:
    return [match.strip() for match in _SENTENCE.findall(text) if match.strip()]


def _hint(text: str) -> str:
    if text.lower().strip(".! ") in _NOTHING:
        return 'Where nothing should have been said, choose "Nothing should be said".'
    return 'Name one thing and its side, such as "cone on the left".'


def _did_you_mean(meant: Sequence[str]) -> str:
    return f"Did you mean {' or '.join(f'“{sentence}”' for sentence in meant)}?" if meant else ""


def _mended(word: str) -> str:
    if len(word) < _SHORTEST or word in _known_words():
        return word
    return next(iter(get_close_matches(word, sorted(_known_words()), n=1, cutoff=_CLOSE)), word)


@cache
def _known_words() -> frozenset[str]:
    """Every word that a reading explains, the denials among them: mended or not, they stay denials."""
    loaded = vocabulary.load()
    phrases = [*loaded.opener_rules, *loaded.fillers, *loaded.negations, *loaded.assurances, *_spellings(loaded)]
    return vocabulary.lexicon() | {word for phrase in phrases for word in _WORD.findall(phrase)}


def _spellings(loaded: vocabulary.Vocabulary) -> Iterator[str]:
    """Objects, families, openers, sides and modifiers, in all the words that a person may write for them."""
    for term in loaded.objects.values():
        yield from term.names
    for family in loaded.families:
        yield from family.words
    for rule in loaded.opener_rules.values():
        for others in rule.also.values():
            yield from others
    for side in loaded.side_rules.values():
        yield from (*side.as_written, *side.also)
    for modifier in loaded.modifier_rules.values():
        yield from modifier.also


def means_the_same(text: str, other: str) -> bool:
    """Whether two wordings are the same guidance once in the vocabulary's words. Silence equals "path is clear"."""
    return meaning(text).lower() == meaning(other).lower()


def canonical(text: str) -> str:
    """What may be said of it, "" = nothing: words that may not be said never stand where they could teach."""
    return vocabulary.normalise(text) or ""
