"""Free words → what they say, how it may be said, and what is wrong with them. Pure.

    tokens → lexemes (the longest phrase of the vocabulary at each place) → mentions (thing, side, modifier) and openers
           → the one mention and the one action that are kept → a wording, or the reason why there is none

Rules, each of which a test holds:

1. Every word is explained: by an opener, a thing, a side, a modifier, or the list of fillers. One that is not refuses
   the whole text, and so does any negation or assurance: dropped, they would turn a sentence into its opposite.
2. A wording never says less of a danger. Of two dangers the more urgent is kept and the other listed in `lost`; two
   that are equally urgent are left to a person.
3. A wording is never less careful than the text. The most careful opener is kept; an order to walk on beside a thing
   that it may not stand with is refused, not reworded.
4. A person reads what will be taught before it is: `as_written` says whether that is what they wrote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from shared.vocabulary.clauses import Mention, Understood, understand
from shared.vocabulary.lexemes import Lexeme, WordKind, lexemes, phrases, set_own
from shared.vocabulary.sentences import default_action, fits, instruct, phrase
from shared.vocabulary.table import ALERT, Slots, load, objection, tier, words

MOST_CHARACTERS = 400
"""Of a text that is read at all: a sentence has eight words, and a pasted page is a slip."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says, as a teacher would explain it."""

    text: str
    slots: Slots | None
    """What was understood; of a refused text as much as was."""
    wording: str | None
    """The sentence that may be said: the text itself where it may be said as it is, else the nearest right one; None
    where there is none."""
    taught_as: str | None
    """The canonical sentence that teaches, and that the decoder could write."""
    lost: tuple[str, ...] = ()
    """What the text says and the wording does not."""
    problems: tuple[str, ...] = ()
    """What is wrong with the text; empty where it may be said as it is."""
    suggestions: tuple[str, ...] = ()
    """Sentences that a person may have meant, where there is no wording."""

    @property
    def sayable(self) -> bool:
        """Whether it may be said, as it is or in `wording`."""
        return self.wording is not None

    @property
    def as_written(self) -> bool:
        """Whether it may be said as it is."""
        return self.sayable and not self.problems


@lru_cache(maxsize=4096)  # a walk says a few hundred sentences over and over
def read(text: str) -> Reading:
    """Read free words. Never raises: what cannot be read is explained."""
    if len(text) > MOST_CHARACTERS:
        return Reading(text, None, None, None, problems=(f"has {len(text)} characters; guidance has 3 to 8 words",))
    parsed = understand(lexemes(text))
    if not parsed.spoken:
        return Reading(text, None, None, None, problems=("holds no words",))
    if _is_clear(parsed.spoken):
        return _clear(text)
    parsed.refusals += [_not_understood(word) for word in dict.fromkeys(parsed.unknown)]
    _settle(parsed)
    return _refused(text, parsed) if parsed.refusals else _worded(text, parsed)


def use_own_words(own: Mapping[str, str]) -> None:
    """From now on read other words for things, in this process: what is said stays the table's, and a person confirms
    what such words are taught as. Raises: ValueError saying which is no other word for a thing; none is used then."""
    try:
        set_own(own)
    finally:
        read.cache_clear()


def parse(text: str) -> Slots | None:
    """The slots of a text that may be said, as it is or in other words; else None."""
    reading = read(text)
    return reading.slots if reading.sayable else None


def normalise(text: str) -> str | None:
    """The canonical sentence for free words, or None where none may be made of them.

    "Watch out, kerb in front" -> "Caution, curb ahead."
    """
    return read(text).taught_as


def problems(text: str) -> list[str]:
    """What is wrong with a sentence; empty means that it may be said as it is."""
    return list(read(text).problems)


# --- what is said, settled --------------------------------------------------------------------------------------------


def _not_understood(word: str) -> str:
    if any(lexeme.kind is WordKind.OPENER for lexeme in phrases()[1].get((word,), ())):
        return f"{word!r} behind a thing is no order: put it first, or between commas"
    return f"{word!r} is not in the vocabulary"


def _settle(parsed: Understood) -> None:
    """Merge what is said twice, and refuse what is ambiguous."""
    kept: list[Mention] = []
    for mention in parsed.mentions:
        if mention.object in load().objects:
            _merge(kept, mention)
            continue
        members = next(tuple(family.members.values()) for family in load().families if mention.object in family.words)
        parsed.families.append(members)
        parsed.refusals.append(f"{mention.object!r} may be {' or '.join(members)}: say which")
    parsed.mentions = kept
    parsed.refusals += [*_strays(parsed), *_equally_urgent(kept)]


def _strays(parsed: Understood) -> Iterator[str]:
    """Modifiers that no thing may have. Beside something to stop for they are left out of the wording, and said so."""
    mentions = parsed.mentions
    if any(mention.tier == 1 for mention in mentions):
        return
    for stray in parsed.strays:
        yield f"{stray!r} is not said of {mentions[0].object!r}" if mentions else f"says {stray!r}, but of what?"


def _equally_urgent(mentions: Sequence[Mention]) -> Iterator[str]:
    """Two dangers of which neither is the more urgent."""
    urgent = min((mention.tier for mention in mentions), default=3)
    equal = [str(mention) for mention in mentions if mention.tier == urgent]
    if urgent < 3 and len(equal) > 1:
        named = " and ".join(map(repr, equal))
        yield f"names {named}: one sentence warns of one thing, and neither may be left out"


def _merge(kept: list[Mention], mention: Mention) -> None:
    """Keep what is new. The same thing named again, once without a place, is one thing, if that is as urgent."""
    for at, other in enumerate(kept):
        alike = (mention.object, mention.modifier, mention.tier) == (other.object, other.modifier, other.tier)
        if alike and (mention.side == other.side or not (mention.side and other.side)):
            kept[at] = replace(other, side=other.side or mention.side)
            return
    kept.append(mention)


# --- what is said → a wording -----------------------------------------------------------------------------------------


def _worded(text: str, parsed: Understood) -> Reading:
    """A wording for a text in which every word is explained, or the reason why there is none."""
    mention = parsed.most_urgent
    actions = list(dict.fromkeys(opener.value for opener in parsed.openers))
    action = max(actions, key=_care, default="")
    others = [other for other in actions if other != action]
    lost = _left_out(parsed, mention, others)
    slots = _fitting(_slots(parsed, mention, action), lost)
    refusal = _two_orders(action, others) or _unfit(slots)
    if refusal:
        parsed.refusals.append(refusal)
        return _refused(text, parsed)
    canonical = phrase(slots)
    if words(text) == words(canonical):
        return Reading(text, slots, canonical, canonical, tuple(lost))
    complaints = tuple(_complaints(text, parsed, lost)) or tuple(islice(_misplaced(parsed, canonical), 1))
    return Reading(text, slots, canonical if complaints else tidy(text), canonical, tuple(lost), complaints)


def _left_out(parsed: Understood, mention: Mention | None, others: Sequence[str]) -> list[str]:
    """What a wording about one thing leaves out. others: the orders that it does not give"""
    things = [str(other) for other in parsed.mentions if other is not mention]
    orders = [other for other in others if _care(other) < ALERT]  # "stop" says all that "caution" does
    return [*things, *orders, *parsed.strays]


def _two_orders(action: str, others: Sequence[str]) -> str | None:
    """Two orders of which neither is the more careful, or of which the more careful is no alert."""
    equal = next((other for other in others if _care(action) < ALERT or _care(other) == _care(action)), None)
    return f"gives two orders: {action!r} and {equal!r}" if equal else None


def _unfit(slots: Slots) -> str | None:
    return None if fits(slots) else objection(slots) or f"has too many words: {phrase(slots)!r}"


def _slots(parsed: Understood, mention: Mention | None, action: str) -> Slots:
    """What is kept. Of free words without a side "ahead" is meant; "Caution, stairs down." is good as it is."""
    if mention is None:
        return Slots(action)
    plain = all(lexeme.plain and lexeme.kind is not WordKind.FILLER for lexeme in parsed.spoken)
    good = parsed.spoken[0].kind is WordKind.OPENER and plain and fits(mention.slots(action))
    side = mention.side or ("" if good else "ahead")
    return replace(mention, side=side).slots(action or default_action(mention.object, side, mention.modifier))


def _fitting(slots: Slots, lost: list[str]) -> Slots:
    """A modifier that is one word too many gives way before a thing to stop for."""
    shorter = replace(slots, modifier="")
    if not slots.modifier or objection(slots) or fits(slots) or tier(slots) != 1 or not fits(shorter):
        return slots
    lost.append(slots.modifier)
    return shorter


def _complaints(text: str, parsed: Understood, lost: Sequence[str]) -> Iterator[str]:
    """Which words keep a text, for which there is a wording, from being said as it is."""
    spoken, count, least, most = parsed.spoken, len(words(text)), load().words_min, load().words_max[3]
    if spoken[0].kind is not WordKind.OPENER:
        yield "does not begin with what to do, such as 'Stop' or 'Caution'"
    if parsed.mentions and not least <= count <= most:
        yield f"has {count} words, {least} to {most} are allowed"
    yield from (f"{lexeme.text!r} is said as {lexeme.value!r}" for lexeme in spoken if _is_other_word(lexeme))
    yield from _superfluous(spoken, lost)


def _superfluous(spoken: Sequence[Lexeme], lost: Sequence[str]) -> Iterator[str]:
    """What a text says that no sentence needs, or may say as well."""
    fillers = dict.fromkeys(lexeme.text for lexeme in spoken if lexeme.kind is WordKind.FILLER)
    if fillers:
        yield f"has words that say nothing: {', '.join(fillers)}"
    kinds = Counter(lexeme.kind for lexeme in spoken)
    if max(kinds[WordKind.OPENER], kinds[WordKind.OBJECT]) > 1 and not lost:
        yield "says a thing twice"
    yield from (f"says more than one sentence may: {what!r} is left out" for what in lost)


def _misplaced(parsed: Understood, canonical: str) -> Iterator[str]:
    """What else keeps a text of good words from being said as it is."""
    order = [lexeme.kind for lexeme in parsed.spoken if lexeme.kind is not WordKind.FILLER]
    if order != sorted(order, key=_RANK.__getitem__):
        yield "names the thing, then how it is, then where: 'Stop, vehicle approaching left.'"
    if parsed.mentions and not parsed.mentions[0].side and " ahead" in canonical:
        yield "does not say where"
    if not any(map(_is_as_written, parsed.spoken)):
        yield f"is said as {canonical!r}"


_ORDER = (WordKind.OPENER, WordKind.OBJECT, WordKind.MODIFIER, WordKind.SIDE)
_RANK = {kind: rank for rank, kind in enumerate(_ORDER)} | {WordKind.FAMILY: _ORDER.index(WordKind.OBJECT)}


def _is_other_word(lexeme: Lexeme) -> bool:
    return lexeme.kind in _ORDER and not lexeme.plain and lexeme.value.split()[0] != lexeme.text


def _is_as_written(lexeme: Lexeme) -> bool:
    """Another name of a thing or a side that is good as it is."""
    return lexeme.kind in (WordKind.OBJECT, WordKind.SIDE) and lexeme.plain and lexeme.text != lexeme.value


def _refused(text: str, parsed: Understood) -> Reading:
    """No wording: the reasons, and what may have been meant."""
    mention = parsed.most_urgent
    action = parsed.openers[0].value if parsed.openers else ""
    slots = mention.slots(action) if mention else Slots(action) if action else None
    why = objection(Slots(action))
    if not mention and action and why and (not parsed.refusals or _is_go(action)):
        parsed.refusals.append(why)
    reasons = tuple(dict.fromkeys(parsed.refusals))
    return Reading(text, slots, None, None, (), reasons, tuple(_suggestions(parsed)))


def _suggestions(parsed: Understood) -> list[str]:
    """The dangers that were named, each in its own sentence; a landmark or a turn only where nothing is denied.

    Never an order to walk on that the text did not hold in these words.
    """
    dangers = _about_dangers(parsed)
    if dangers or parsed.negated:
        return [sentence for sentence in dict.fromkeys(dangers) if read(sentence).as_written]
    order = max((opener.value for opener in parsed.openers), key=_care, default="")
    if parsed.mentions:
        return _about_landmark(parsed.mentions[0], order, assured=parsed.assured)
    return _about_order(order)


def _about_dangers(parsed: Understood) -> list[str]:
    """A sentence for each danger that was named, then for each thing that a word may have meant; most urgent first."""
    dangers = sorted((m for m in parsed.mentions if m.tier < 3), key=lambda mention: mention.tier)
    named = [instruct(m.object, m.side or "ahead", modifier=m.modifier) for m in dangers]
    for members in parsed.families:
        named += [instruct(name, "ahead") for name in sorted(members, key=lambda name: load().objects[name].tier)]
    return named


def _about_order(order: str) -> list[str]:
    """What may be said instead of an order without a thing."""
    if order in ("step up", "step down"):
        return [phrase(Slots("caution", "step", "ahead", f"going {order.removeprefix('step ')}"))]
    return [phrase(Slots(order))] if order and fits(Slots(order)) and not _is_go(order) else []


def _about_landmark(mention: Mention, order: str, *, assured: bool) -> list[str]:
    turn = Slots(f"{order} at the {mention.object}")
    if fits(turn):
        return [phrase(turn)]
    return [] if assured else [phrase(replace(mention, side=mention.side or "ahead").slots("caution"))]


def _is_go(action: str) -> bool:
    return load().opener_rules[action.split()[0]].go


def _care(action: str) -> int:
    return load().opener_rules[action.split()[0]].care if action else -1


def _is_clear(spoken: Sequence[Lexeme]) -> bool:
    said = [lexeme.text for lexeme in spoken]
    whole = words(load().clear)
    return words(" ".join(said)) in (whole, whole[-3:])


def _clear(text: str) -> Reading:
    clear = load().clear
    slots = Slots(" ".join(words(clear)[:2]))
    complaints = () if words(text) == words(clear) else (f"is said as {clear!r}",)
    return Reading(text, slots, clear, clear, (), complaints)


def tidy(text: str) -> str:
    """Words as a sentence: a capital first, one full stop last."""
    plain = " ".join(text.split()).rstrip(".!")
    return f"{plain[:1].upper()}{plain[1:]}."
