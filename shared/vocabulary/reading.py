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

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from shared.vocabulary.clauses import Mention, Understood, understand
from shared.vocabulary.lexemes import Kind, Lexeme, lexemes, phrases
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
    pieces = lexemes(text)
    spoken = [lexeme for lexeme in pieces if lexeme.kind is not Kind.BREAK]
    if not spoken:
        return Reading(text, None, None, None, problems=("holds no words",))
    if _is_clear(spoken):
        return _clear(text)
    found = understand(pieces)
    found.refusals += [_not_understood(word) for word in dict.fromkeys(found.unknown)]
    return _refused(text, found) if _settle(found) else _worded(text, spoken, found)


def parse(text: str) -> Slots | None:
    """The slots of a text that may be said, as it is or in other words; else None."""
    found = read(text)
    return found.slots if found.sayable else None


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
    if any(lexeme.kind is Kind.OPENER for lexeme in phrases()[1].get((word,), ())):
        return f"{word!r} behind a thing is no order: put it first, or between commas"
    return f"{word!r} is not in the vocabulary"


def _stray(name: str, mentions: Sequence[Mention]) -> str:
    of = next((mention.object for mention in mentions if mention.object in load().objects), "")
    return f"{name!r} is not said of {of!r}" if of else f"says {name!r}, but of what?"


def _settle(found: Understood) -> bool:
    """Merge what is said twice, name what is ambiguous. Returns whether the text is refused."""
    kept: list[Mention] = []
    for mention in found.mentions:
        if mention.object not in load().objects:
            members = next(tuple(f.members.values()) for f in load().families if mention.object in f.words)
            found.families.append(members)
            found.refusals.append(f"{mention.object!r} may be {' or '.join(members)}: say which")
        else:
            _merge(kept, mention)
    found.mentions = kept
    if not any(mention.tier == 1 for mention in kept):  # beside something to stop for it is left out, and said so
        found.refusals += [_stray(name, kept) for name in found.strays]
    dangers = [mention for mention in kept if mention.tier < 3]
    urgent = min((mention.tier for mention in dangers), default=3)
    equal = [mention for mention in dangers if mention.tier == urgent]
    if len(equal) > 1:
        named = " and ".join(f"{str(mention)!r}" for mention in equal)
        found.refusals.append(f"names {named}: one sentence warns of one thing, and neither may be left out")
    return bool(found.refusals)


def _merge(kept: list[Mention], mention: Mention) -> None:
    """Keep what is new. The same thing named again, once without a place, is one thing, if that is as urgent."""
    for at, other in enumerate(kept):
        alike = (mention.object, mention.modifier, mention.tier) == (other.object, other.modifier, other.tier)
        if alike and (mention.side == other.side or not (mention.side and other.side)):
            kept[at] = replace(other, side=other.side or mention.side)
            return
    kept.append(mention)


# --- what is said → a wording -----------------------------------------------------------------------------------------


def _worded(text: str, spoken: Sequence[Lexeme], found: Understood) -> Reading:
    """A wording for a text in which every word is explained, or the reason why there is none."""
    mention = min(found.mentions, key=lambda one: one.tier, default=None)
    lost = [str(other) for other in found.mentions if other is not mention]
    actions = list(dict.fromkeys(opener.value for opener in found.openers))
    action = max(actions, key=lambda one: load().opener_rules[one.split()[0]].care, default="")
    equal = [one for one in actions if one != action and (_care(action) < ALERT or _care(one) == _care(action))]
    if equal:
        found.refusals.append(f"gives two orders: {action!r} and {equal[0]!r}")
        return _refused(text, found)
    lost += [one for one in actions if one != action and _care(one) < ALERT]  # "stop" says all that "caution" does
    lost += found.strays
    if mention is None:
        slots = Slots(action)
    else:
        side = mention.side or ("" if _says_no_side_well(spoken, mention, action) else "ahead")
        slots = replace(mention, side=side).slots(action or default_action(mention.object, side, mention.modifier))
    slots = _fitting(slots, lost)
    if not fits(slots):
        reason = objection(slots) or f"has too many words: {phrase(slots)!r}"
        found.refusals.append(reason)
        return _refused(text, found)
    canonical = phrase(slots)
    complaints = _complaints(text, spoken, found, canonical, lost)
    wording = canonical if complaints or words(text) == words(canonical) else tidy(text)
    return Reading(text, slots, wording, canonical, tuple(lost), tuple(complaints))


def _says_no_side_well(spoken: Sequence[Lexeme], mention: Mention, action: str) -> bool:
    """Whether a sentence without a side is good as it is: "Caution, stairs down." Of free words, "ahead" is meant."""
    plain = all(one.plain and one.kind is not Kind.FILLER for one in spoken)
    return spoken[0].kind is Kind.OPENER and plain and fits(mention.slots(action))


def _fitting(slots: Slots, lost: list[str]) -> Slots:
    """A modifier that is one word too many gives way before a thing to stop for."""
    if not slots.object or objection(slots) or fits(slots):
        return slots
    if tier(slots) == 1 and slots.modifier and fits(replace(slots, modifier="")):
        lost.append(slots.modifier)
        return replace(slots, modifier="")
    return slots


def _complaints(
    text: str, spoken: Sequence[Lexeme], found: Understood, canonical: str, lost: Sequence[str]
) -> list[str]:
    """What keeps a text, for which there is a wording, from being said as it is."""
    tokens = words(text)
    if tokens == words(canonical):
        return []
    complaints = []
    if spoken[0].kind is not Kind.OPENER:
        complaints.append("does not begin with what to do, such as 'Stop' or 'Caution'")
    most = load().words_max[3]
    if found.mentions and not load().words_min <= len(tokens) <= most:
        complaints.append(f"has {len(tokens)} words, {load().words_min} to {most} are allowed")
    complaints += [f"{lexeme.text!r} is said as {lexeme.value!r}" for lexeme in spoken if _is_other_word(lexeme)]
    fillers = [lexeme.text for lexeme in spoken if lexeme.kind is Kind.FILLER]
    if fillers:
        complaints.append(f"has words that say nothing: {', '.join(dict.fromkeys(fillers))}")
    if max(sum(one.kind is kind for one in spoken) for kind in (Kind.OPENER, Kind.OBJECT)) > 1 and not lost:
        complaints.append("says a thing twice")
    complaints += [f"says more than one sentence may: {what!r} is left out" for what in lost]
    order = [lexeme.kind for lexeme in spoken if lexeme.kind is not Kind.FILLER]
    if not complaints and order != sorted(order, key=_ORDER.index):
        complaints.append("names the thing, then how it is, then where: 'Stop, vehicle approaching left.'")
    if not complaints and found.mentions and not found.mentions[0].side and " ahead" in canonical:
        complaints.append("does not say where")
    licensed = any(one.plain and one.text != one.value for one in spoken if one.kind in (Kind.OBJECT, Kind.SIDE))
    if not complaints and not licensed:
        complaints.append(f"is said as {canonical!r}")
    return complaints


_ORDER = (Kind.OPENER, Kind.OBJECT, Kind.MODIFIER, Kind.SIDE)


def _is_other_word(lexeme: Lexeme) -> bool:
    named = lexeme.kind in (Kind.OPENER, Kind.OBJECT, Kind.SIDE, Kind.MODIFIER)
    return named and not lexeme.plain and lexeme.value.split()[0] != lexeme.text


def _refused(text: str, found: Understood) -> Reading:
    """No wording: the reasons, and what may have been meant."""
    mention = min(found.mentions, key=lambda one: one.tier, default=None)
    action = found.openers[0].value if found.openers else ""
    slots = mention.slots(action) if mention else Slots(action) if action else None
    if not mention and action and objection(Slots(action)) and (not found.refusals or _is_go(action)):
        found.refusals.append(objection(Slots(action)))
    reasons = tuple(dict.fromkeys(found.refusals))
    return Reading(text, slots, None, None, (), reasons, tuple(_suggestions(found)))


def _suggestions(found: Understood) -> list[str]:
    """The dangers that were named, each in its own sentence; a landmark or a turn only where nothing is denied.

    Never an order to walk on that the text did not hold in these words.
    """
    dangers = sorted((m for m in found.mentions if m.tier < 3), key=lambda one: one.tier)
    meant = [instruct(m.object, m.side or "ahead", modifier=m.modifier) for m in dangers]
    meant += [instruct(name, "ahead") for members in found.families for name in sorted(members, key=_tier_of)]
    if meant or found.negated:
        return [sentence for sentence in dict.fromkeys(meant) if read(sentence).as_written]
    order = max((opener.value for opener in found.openers), key=_care, default="")
    for mention in found.mentions[:1]:
        if fits(Slots(f"{order} at the {mention.object}")):
            return [phrase(Slots(f"{order} at the {mention.object}"))]
        return [] if found.assured else [phrase(replace(mention, side=mention.side or "ahead").slots("caution"))]
    if order in ("step up", "step down"):
        return [phrase(Slots("caution", "step", "ahead", f"going {order.removeprefix('step ')}"))]
    return [phrase(Slots(order))] if order and fits(Slots(order)) and not _is_go(order) else []


def _is_go(action: str) -> bool:
    return load().opener_rules[action.split()[0]].go


def _care(action: str) -> int:
    return load().opener_rules[action.split()[0]].care if action else -1


def _tier_of(name: str) -> int:
    return load().objects[name].tier


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
