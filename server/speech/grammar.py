"""The sentences that a wearer may say in a correction, as a JSGF grammar made from the vocabulary. Pure.

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

NOTHING_WORDS = ("nothing", "nothing there", "say nothing", "path is clear", "continue straight path is clear")
# Words that the recogniser's dictionary (CMUdict) lacks, in its phones.
PRONUNCIATIONS: Mapping[str, tuple[str, ...]] = {
    "ashcan": ("AE SH K AE N",),
    "foldout": ("F OW L D AW T",),
    "signboard": ("S AY N B AO R D",),
    "bollard": ("B AA L ER D", "B AA L AA R D", "B AO L AA D"),
}
# pocketsphinx 5 takes the grammar's weights without its language weight (-lw 6.5): put it back.
_SHARPNESS = 6.5
_SYNONYM = 0.02
# The model hears these in "car", "door", "dog", "cone": a rare word understood is not worth a common one misunderstood.
MAGNETS = frozenset(("pillar", "queue", "awning", "lip", "pit", "root"))
_EVERYDAY = 0.4  # synonyms that people say before they think of the vocabulary's name
_EVERYDAY_WORDS = frozenset(
    "bench bike branch bus car chair crossing cyclist entrance fence gate hole junction kerb lift pavement "
    "pedestrian people pothole puddle ramp roadway table trash truck van wall".split()
)
_OPENERS = {
    "stop": 6.0,
    "caution": 6.0,
    "keep straight": 4.0,
    "continue straight": 4.0,
    "duck": 2.0,
    "wait": 1.0,
    "watch out": 1.0,
    "watch out for": 1.0,
    "careful": 0.5,
    "move left": 0.5,
    "move right": 0.5,
    "look out": 0.3,
    "look out for": 0.3,
}
_ARTICLES = {"a": 1.0, "an": 0.5, "the": 1.0, "there is a": 1.0, "there's a": 1.0, "there is an": 0.3}
_PLACES = {
    "ahead": 10.0,
    "on the left": 10.0,
    "on the right": 10.0,
    "left": 2.0,
    "right": 2.0,
    "in front": 1.0,
    "in front of you": 0.5,
    "straight ahead": 1.0,
    "on your left": 1.0,
    "on your right": 1.0,
    "to the left": 1.0,
    "to the right": 1.0,
    "slightly left": 1.0,
    "slightly right": 1.0,
    "overhead": 1.0,
    "above": 0.5,
    "behind": 0.5,
    "behind you": 0.5,
}
_UNFINISHED = frozenset("a an the there is there's on in of to for your watch look keep slightly continue say".split())
WAYS = ("turn left", "turn right", "keep left", "keep right", "move left", "move right")
_WEIGHT = re.compile(r"/([0-9.e+-]+)/")


def grammar() -> str:
    """The grammar `waycue.said`. The recogniser must know every word of `words_of(grammar())`."""
    loaded = vocabulary.load()
    names = {spoken(name): 1.0 for name in loaded.objects if not name.startswith("stairs ")}
    for term in loaded.objects.values():
        for synonym in (s for s in term.synonyms if s not in MAGNETS):
            names.setdefault(spoken(synonym), _EVERYDAY if synonym in _EVERYDAY_WORDS else _SYNONYM)
    modifiers = [m for m in loaded.modifiers if not m.startswith("going ")]
    text = f"""#JSGF V1.0;
grammar waycue;
<opener> = {_odds(_OPENERS)};
<article> = {_odds(_ARTICLES)};
<thing> = {_odds(names)};
<stairs> = /1/ stairs up | /1/ stairs down | /0.1/ (stairs | steps | staircase) going (up | down);
<modifier> = {" | ".join(modifiers)};
<place> = {_odds(_PLACES)};
<signal> = walk signal (red | green);
<what> = /1/ <thing> {_sometimes("modifier", 0.05)} | /0.05/ <stairs> | /0.02/ <signal>;
<guidance> = {_sometimes("opener", 0.5)} {_sometimes("article", 0.05)} <what> {_sometimes("place", 0.95)};
<turned> = <place> {_sometimes("article", 0.5)} <what>;
public <said> = /1/ <guidance> | /0.02/ <turned> | /0.02/ ({" | ".join(WAYS)}) | /0.05/ ({" | ".join(NOTHING_WORDS)});
"""
    return _WEIGHT.sub(lambda found: f"/{float(found[1]) ** _SHARPNESS:.6g}/", text)


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
    while words and words[-1] in _UNFINISHED and " ".join(words) not in NOTHING_WORDS:
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


def _odds(weights: Mapping[str, float]) -> str:
    most = max(weights.values())  # pocketsphinx reads no "1e+06": keep every weight at most 1
    return " | ".join(f"/{weight / most:g}/ {phrase}" for phrase, weight in weights.items())


def _sometimes(rule: str, how_often: float) -> str:
    return f"(/{how_often:g}/ <{rule}> | /{1 - how_often:g}/ <NULL>)"
