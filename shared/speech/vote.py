"""Several hearings of one sound → one, by what they mean. Pure.

The thing is voted on first; then the place, among those that heard the thing; then the opener and the modifier. So
"stop curb ahead", "stop curb to" and "stop pillar ahead" together say: stop, curb, ahead.

source: slot by slot, as Fiscus 1997 (ROVER) does word by word
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from shared import languages, vocabulary
from shared.languages import Language, guard
from shared.languages.understood import UNKNOWN, canonical_words
from shared.speech.grammar import NOTHING_WORDS, trimmed
from shared.speech.transcript import NOTHING, SoundPass, Transcript
from shared.vocabulary import Slots

_Votes = Sequence[tuple[str, Slots]]
"""What was heard, and what it means."""
UNFINISHED = "the"
"""No sentence ends with it: see `trimmed`."""
_WORD_S = 0.8  # who takes longer for a word is not speaking: noise gets one word for seconds of it


def vote(hearings: Sequence[str], *, spoken_s: float) -> Transcript:
    """What most hearings mean, in words that mean it; confidence is the share of them that heard the thing.

    spoken_s: how long somebody spoke; too long for the words is no vote.
    """
    votes = [(text, slots) for text in hearings if (slots := _slots(text, spoken_s)) is not None]
    if not votes:
        return NOTHING
    thing = _most(_thing(slots) for _, slots in votes)
    group = [(text, slots) for text, slots in votes if _thing(slots) == thing]
    won, confidence = _winner(group), len(group) / len(hearings)
    if not won.side and any(text != trimmed(text) for text, _ in group):
        confidence /= 2  # it broke off before the place
    return Transcript(_wording(won, group), confidence)


def vote_in(language: Language, hearings: Sequence[str], *, spoken_s: float) -> Transcript:
    """The same in another language: the meanings are voted on, the transcript is in the language's words."""
    spoken = [text if _is_speech(text, spoken_s) else "" for text in hearings]
    canonical = [_canonical(language, text) for text in spoken]
    won = vote(canonical, spoken_s=0.0)  # its words are not those that were spoken
    if won == NOTHING:
        return NOTHING
    heard = next((text for text, meant in zip(hearings, canonical, strict=True) if meant == won.text), None)
    sentence = vocabulary.normalise(won.text)
    if heard is None and sentence is not None:
        heard = " ".join(guard.words(language.spoken(sentence)))
    return replace(won, text=heard or "")


def _canonical(language: Language, text: str) -> str:
    """Heard words in canonical ones; what the end of a sentence that broke off leaves stays unfinished here, too."""
    if languages.understood(language, text) == vocabulary.CLEAR:
        return NOTHING_WORDS[0]
    words = canonical_words(language, text).split()
    broken = bool(words) and words[-1] == UNKNOWN
    while words and words[-1] == UNKNOWN:
        words.pop()
    return " ".join([*words, *[UNFINISHED] * broken])


def vote_of(passes: Sequence[SoundPass], language: Language | None = None) -> Transcript:
    """The vote over the best words of passes that were checked to be speech. language: None = English"""
    hearings = [one.texts[0][0] if one.texts else "" for one in passes]
    if not hearings:
        return NOTHING
    if language is None or language.tables is None:
        return vote(hearings, spoken_s=0.0)
    return vote_in(language, hearings, spoken_s=0.0)


def is_speech(hearings: Sequence[str], *, spoken_s: float) -> bool:
    """Whether any hearing has words enough for how long somebody spoke: noise gets one word for seconds of it."""
    return any(text and _is_speech(text, spoken_s) for text in hearings)


def _thing(slots: Slots) -> str:
    """What is voted on first: the object, or the action of a sentence without one."""
    return slots.object or slots.action


def _winner(group: _Votes) -> Slots:
    """Slot by slot what most heard; the side that most of those heard who heard any. group: votes for the same thing"""
    return replace(
        group[0][1],
        side=_most(slots.side for _, slots in group if slots.side),
        action=_most(slots.action for _, slots in group),
        modifier=_most(slots.modifier for _, slots in group),
    )


def _wording(won: Slots, group: _Votes) -> str:
    """What was heard, where that means it, or else the vocabulary's words for it."""
    for text, slots in group:
        if slots == won and text == trimmed(text):
            return text
    return " ".join(vocabulary.words(vocabulary.phrase(won) if won.object else won.action))


def _slots(text: str, spoken_s: float) -> Slots | None:
    whole = trimmed(text)
    if not whole or not _is_speech(text, spoken_s):
        return None
    if whole in NOTHING_WORDS:
        return Slots(action=whole)
    slots = vocabulary.parse(whole)
    return replace(slots, side="") if slots and slots.side == "ahead" and not _says_ahead(whole) else slots


def _is_speech(text: str, spoken_s: float) -> bool:
    return spoken_s <= _WORD_S * len(text.split())


def _says_ahead(text: str) -> bool:
    """Whether it was said: a reading takes it for meant, which a sentence that broke off does not say."""
    rule = vocabulary.load().side_rules["ahead"]
    return any(f" {name} " in f" {text} " for name in (rule.name, *rule.also))


def _most(values: Iterable[str]) -> str:
    return next((value for value, _ in Counter(values).most_common(1)), "")
