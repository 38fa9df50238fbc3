"""The sentences that a wearer may say in a correction, as a JSGF grammar made from the vocabulary's table. Pure.

    [opener] [article] thing [modifier] [place]   "caution, cone on the left", "there is a bike in front", "curb ahead"
    place [article] thing                          "on the left a cone"
    way                                            "turn left", "keep right"
    nothing | path is clear                        nothing should have been said

Weights are odds: the canonical names are what wearers are taught, so they go before synonyms when a sound fits both.
source: JSpeech Grammar Format, https://www.w3.org/TR/jsgf/
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from shared import vocabulary

_HEARD = vocabulary.load().heard
NOTHING_WORDS = _HEARD.nothing
# pocketsphinx 5 takes the grammar's weights without its language weight (-lw 6.5): put it back.
_SHARPNESS = 6.5
_SYNONYM, EVERYDAY = 0.02, 0.4
_WEIGHT = re.compile(r"/([0-9.e+-]+)/")


def grammar() -> str:
    """The grammar `waycue.said`. The recogniser must know every word of `words_of(grammar())`."""
    loaded = vocabulary.load()
    names = {spoken(name): 1.0 for name in loaded.objects if not name.startswith("stairs ")}
    for term in loaded.objects.values():
        for synonym in (s for s in term.synonyms if s not in term.unheard):
            names.setdefault(spoken(synonym), EVERYDAY if synonym in term.everyday else _SYNONYM)
    modifiers = [m for m in loaded.modifiers if not m.startswith("going ")]
    ways, nothing = " | ".join(_HEARD.ways), " | ".join(NOTHING_WORDS)
    text = f"""#JSGF V1.0;
grammar waycue;
<opener> = {odds(_HEARD.openers)};
<article> = {odds(_HEARD.articles)};
<thing> = {odds(names)};
<stairs> = /1/ stairs up | /1/ stairs down | /0.1/ (stairs | steps | staircase) going (up | down);
<modifier> = {" | ".join(modifiers)};
<place> = {odds(_HEARD.places)};
<signal> = walk signal (red | green);
<what> = /1/ <thing> {sometimes("modifier", 0.05)} | /0.05/ <stairs> | /0.02/ <signal>;
<guidance> = {sometimes("opener", 0.5)} {sometimes("article", 0.05)} <what> {sometimes("place", 0.95)};
<turned> = <place> {sometimes("article", 0.5)} <what>;
public <said> = /1/ <guidance> | /0.02/ <turned> | /0.02/ ({ways}) | /0.05/ ({nothing});
"""
    return sharpened(text)


def sharpened(text: str) -> str:
    """A grammar with its odds as pocketsphinx needs them."""
    return _WEIGHT.sub(lambda weight: f"/{float(weight[1]) ** _SHARPNESS:.6g}/", text)


def pronunciations(word: str) -> tuple[str, ...]:
    """How a word of a thing's name is said, in CMUdict's phones, where CMUdict lacks it."""
    terms = vocabulary.load().objects.values()
    return tuple(phones for term in terms for phones in (term.pronounced or {}).get(word, ()))


def spoken(phrase: str) -> str:
    """A phrase of the vocabulary as separate words: "step-off" is two words to a listener."""
    return " ".join(vocabulary.words(phrase)).replace("-", " ")


def words_of(text: str) -> set[str]:
    """Every word that a grammar asks the dictionary for."""
    rules = "\n".join(line.partition("=")[2] for line in text.splitlines() if "=" in line)
    return set(re.findall(r"[a-z']+", re.sub(r"<[^>]*>|/[^/]*/", " ", rules)))


def trimmed(text: str) -> str:
    """Heard words without what can not end a sentence: "cone on the" is given back where the rest fitted nothing."""
    words = text.split()
    while words and words[-1] in _HEARD.unfinished and " ".join(words) not in NOTHING_WORDS:
        words.pop()
    return " ".join(words)


def without_r(phones: str) -> str:
    """How most of Britain says it: no r but before a vowel. Pure, on CMUdict's phones; the same where there is none."""
    old = phones.split()
    new: list[str] = []
    for at, phone in enumerate(old):
        before_vowel = at + 1 < len(old) and old[at + 1][0] in "AEIOU"
        if phone == "ER":
            new += ["AH", "R"] if before_vowel else ["AH"]
        elif phone == "R" and at and old[at - 1][0] in "AEIOU" and not before_vowel:
            new += ["AH"] if old[at - 1] in ("EH", "IH", "IY", "UH") else []
        else:
            new.append(phone)
    return " ".join(new)


def odds(weights: Mapping[str, float]) -> str:
    """Alternatives with their odds."""
    most = max(weights.values())  # pocketsphinx reads no "1e+06": keep every weight at most 1
    return " | ".join(f"/{weight / most:g}/ {phrase}" for phrase, weight in weights.items())


def sometimes(rule: str, how_often: float) -> str:
    """A rule that may be left out."""
    return f"(/{how_often:g}/ <{rule}> | /{1 - how_often:g}/ <NULL>)"
