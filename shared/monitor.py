"""The last look at words before they reach the voice: a few invariants, written independently of everything else.

It imports nothing of waycue and lists its own words on purpose: a fault in the vocabulary's table, in the automaton or
in the policy must not also be a fault here. What it stops becomes silence and an earcon, is counted, flagged and
reported: the cane, the dog and the walker's ears are still there, while a wrong order may be the last one. It never
changes words.

    1. Guidance is one plain sentence of at most eight words; a warning begins with stop, wait, caution or duck and has
       at most four.
    2. No word says that it is safe, clear, time to go, or that one should cross, but the one sentence for a clear way,
       and that only where the wearer turned it on.
    3. No order to walk on stands with something that ends or crosses the way ahead, or with something that comes.
    4. No order to walk on stands with a signal, or leads into what is blocked or wet.
    5. A direction never leads to the side where the thing is.
    6. Nothing is denied: a "not" that is not heard turns a sentence into its opposite.
    7. News about the device gives no order to walk and promises nothing.

source: the runtime-assurance pattern, a small checker beside a large one (Seto et al. 1998, Simplex architecture)
"""

from __future__ import annotations

import re

CLEAR_SENTENCE = "Continue straight, path is clear."
NOT_SURE_SENTENCES = ("Not sure, check ahead.", "Not sure, check left.", "Not sure, check right.")
NOTHING_YET = "Nothing said yet."
WORDS_MOST, WARNING_WORDS_MOST = 8, 4
ALERTS = frozenset("stop wait caution duck".split())
GO = frozenset("continue keep move follow enter cross go walk proceed run pass".split())
STEERS = GO | {"turn", "step"}
PROMISES = frozenset("safe safely clear free harmless ok okay fine now may can allowed green-light cross".split())
DENIALS = frozenset("not no never without nothing nor isn't don't".split())
ENDS_THE_WAY = (
    "curb", "curb ramp", "street edge", "drop-off", "stairs down", "vehicle", "bicycle", "head obstacle",
    "train tracks", "car", "truck", "bus", "road", "street", "hole", "kerb", "edge", "tram", "train", "pit",
)  # fmt: skip
COMES = ("approaching", "closing fast", "coming")
BARS_THE_WAY = ("blocked", "wet", "closed")
SIGNALS = ("signal", "red", "green", "countdown")
_PLAIN = re.compile(r"[A-Z][a-z-]*(?:,? [a-z-]+)*\.")
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


def stopped(text: str, *, tier: int, why: str, clear_allowed: bool = False) -> str:
    """Why these words must not be spoken, "" = they may.

    tier: of the utterance, 1 to 3; why: "state" for news about the device, anything else for guidance;
    clear_allowed: the wearer wants to hear that the way is clear
    """
    words = _WORD.findall(text.lower())
    if why == "state" or text == NOTHING_YET:
        return _news(words)
    if text in NOT_SURE_SENTENCES and tier > 1:
        return ""
    if text == CLEAR_SENTENCE:
        return "" if clear_allowed and tier == 3 else "says that the way is clear"
    return _shape(text, words, tier) or _promise(words) or _order(words, f" {' '.join(words)} ")


def _news(words: list[str]) -> str:
    if words[:1] and words[0] in GO:
        return f"news that begins with the order {words[0]!r}"
    return next((f"news that says {word!r}" for word in ("safe", "safely", "clear", "cross") if word in words), "")


def _shape(text: str, words: list[str], tier: int) -> str:
    if not _PLAIN.fullmatch(text):
        return "is no plain sentence"
    if len(words) > WORDS_MOST:
        return f"has {len(words)} words"
    if tier == 1 and words[0] not in ALERTS:
        return f"a warning that begins with {words[0]!r}"
    if tier == 1 and len(words) > WARNING_WORDS_MOST:
        return f"a warning of {len(words)} words"
    return ""


def _promise(words: list[str]) -> str:
    found = next((word for word in words if word in PROMISES or word in DENIALS), "")
    return f"says {found!r}" if found else ""


def _order(words: list[str], padded: str) -> str:
    named = padded.replace(" walk signal ", " signal ").replace(" bus stop ", " halt ")
    go = next((word for word in named.split() if word in GO), "")
    beside = words[-1] in ("left", "right", "behind") and "slightly" not in words
    comes = any(f" {name} " in padded for name in COMES)
    past = beside or words[1:2] in (["left"], ["right"])
    for name in (*SIGNALS, *ENDS_THE_WAY, *BARS_THE_WAY) if go else ():
        passable = past if name in BARS_THE_WAY else beside and not comes
        if f" {name} " in named and (name in SIGNALS or not passable):
            return f"the order {go!r} beside {name!r}"
    if words[0] in STEERS and words[1:2] in (["left"], ["right"]) and words[1] in words[2:]:
        return f"the order {' '.join(words[:2])!r} towards what is there"
    return ""
