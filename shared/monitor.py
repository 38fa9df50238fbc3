"""The last look at words before they reach the voice: a few invariants, written independently of everything else.

It imports nothing of waycue and lists its own words on purpose: a fault in the vocabulary's table, in the automaton or
in the policy must not also be a fault here. What it stops becomes silence and an earcon, is counted, flagged and
reported: the cane, the dog and the walker's ears are still there, while a wrong order may be the last one. It never
changes words.

    1. Guidance is one plain sentence of at most eight words that begins with a known order. A warning begins with stop,
       wait, caution or duck and has at most four words; what says stop or duck is never dropped like a landmark.
    2. There is one order in a sentence, and it stands first.
    3. No word says that it is safe, clear, time to go, or that one should cross, but the one sentence for a clear way,
       and that only where the wearer turned it on. Nothing is denied: a "not" that is not heard is an order.
    4. No order to walk on stands with what ends or crosses the way, unless that is beside it and stays there.
    5. Straight on leads only to a landmark; enter, follow and duck only to what they are for.
    6. No order to walk on stands with a signal; straight on never with what is blocked, wet, or comes.
    7. A direction never leads to the side where the thing is.
    8. News about the device orders nobody anywhere, promises nothing and names nothing on the way.

source: the runtime-assurance pattern, a small checker beside a large one (Seto et al. 1998, Simplex architecture)
"""

from __future__ import annotations

import re
from collections.abc import Container

CLEAR_SENTENCE = "Continue straight, path is clear."
NOT_SURE_SENTENCES = ("Not sure, check ahead.", "Not sure, check left.", "Not sure, check right.")
NOTHING_YET = "Nothing said yet."
NOTHING_HEARD = "Heard: nothing to say."
OWN_WORDS = "Heard: "
"""Before the wearer's own words, read back: they are not told to do it."""
WORDS_MOST, WARNING_WORDS_MOST = 8, 4
ALERTS = frozenset("stop wait caution duck".split())
GO = frozenset("continue keep move follow enter turn step".split())
"""Orders that move the walker."""
OTHER_ORDERS = frozenset(
    "cross crossing go walk walking run proceed pass jump head bear veer steer advance climb board hurry".split()
)
PROMISES = frozenset("safe safely clear free harmless ok okay fine good now may can allowed empty all".split())
DENIALS = frozenset("not no never nobody without nothing nor isn't don't".split())
ENDS_THE_WAY = frozenset(
    "curb kerb ramp edge street road roadway drop-off drop hole pit cliff ditch platform gutter ledge stairs-down "
    "vehicle car truck van bus lorry taxi traffic tram train rail track bicycle bike cyclist rider obstacle-head "
    "branch overhang".split()
)
"""Words of things to stop for, in the singular; "stairs down" and "head obstacle" are looked up as such."""
COMES = frozenset("approaching closing coming oncoming speeding".split())
BARS_THE_WAY = frozenset("blocked closed wet".split())
SIGNALS = frozenset("signal red green countdown light".split())
LANDMARKS = frozenset(
    "crosswalk corner paving door elevator sidewalk path slope busstop".split()
)  # "narrow path", "tactile paving", "bus stop"
ONLY_FOR = {"enter": ("door", "elevator"), "follow": ("sidewalk", "paving", "path"), "duck": ("obstacle-head",)}
_NAMES = (
    ("head obstacle", "obstacle-head"),
    ("bus stop", "busstop"),
    ("stairs down", "stairs-down"),
    ("walk signal", "signal"),
    ("step off", "drop-off"),
    ("drop off", "drop-off"),
    ("curb ramp", "curb"),
    ("steps down", "stairs-down"),
)
_ON_THE_WAY = frozenset("ahead overhead slightly".split())
_WAYS = frozenset("straight up down the at on back".split())
"""Words after an order that name nothing."""
NEVER_NEWS = frozenset("safe safely clear free now".split())
_PLAIN = re.compile(r"[A-Z][a-z-]*(?:,? [a-z-]+)*\.")
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


def stopped(text: str, *, tier: int, why: str, clear_allowed: bool = False) -> str | None:
    """Why these words must not be spoken; None = they may.

    tier: of the utterance, 1 to 3; why: "state" for news about the device, "heard" for the wearer's own words, anything
    else for guidance;
    clear_allowed: the wearer wants to hear that the way is clear
    """
    spelt = _WORD.findall(text.lower())
    if why == "state" or text in (NOTHING_YET, NOTHING_HEARD):
        return _news(spelt)
    if why == "heard":
        return _own_words(text, tier)
    return _guidance(text, spelt, tier, clear_allowed=clear_allowed)


def _guidance(text: str, spelt: list[str], tier: int, *, clear_allowed: bool) -> str | None:
    if text in NOT_SURE_SENTENCES and tier > 1:
        return None
    if text == CLEAR_SENTENCE:
        return None if clear_allowed and tier == 3 else "says that the way is clear"
    words = _named(spelt)
    return _shape(text, spelt, tier) or _promise(words) or _order(words)


def _own_words(text: str, tier: int) -> str | None:
    """The wearer's own words, read back: marked as such, and nothing that guidance may not say."""
    if not text.startswith(OWN_WORDS):
        return "own words that are not marked as such"
    return stopped(text.removeprefix(OWN_WORDS), tier=tier, why="worded")


def _first(words: list[str], among: Container[str]) -> str | None:
    return next((word for word in words if word in among), None)


def _named(spelt: list[str]) -> list[str]:
    """Words in the singular, things of two words as one."""
    text = f" {' '.join(spelt)} "
    for name, word in _NAMES:
        text = text.replace(f" {name} ", f" {word} ")
    return [word if word.endswith("ss") or word in ENDS_THE_WAY else word.removesuffix("s") for word in text.split()]


def _news(words: list[str]) -> str | None:
    orders = (GO | OTHER_ORDERS) - {"walk", "step"}  # "Walk with a sighted companion."
    things = (ENDS_THE_WAY | SIGNALS) - {"light", "track", "drop"}
    named = _first(words, orders | things | NEVER_NEWS) or _first(words[:1], ("walk", "step"))
    return f"news that says {named!r}" if named else None


def _shape(text: str, words: list[str], tier: int) -> str | None:
    if not _PLAIN.fullmatch(text):
        return "is no plain sentence"
    if text.count(",") > 1:
        return "names two things"
    if len(words) > WORDS_MOST:
        return f"has {len(words)} words"
    if words[0] not in ALERTS | GO:
        return f"begins with {words[0]!r}"
    if tier == 1:
        return _warning(words)
    return f"{words[0]!r} said like a landmark" if tier == 3 and words[0] in ("stop", "duck") else None


def _warning(words: list[str]) -> str | None:
    if words[0] not in ALERTS:
        return f"a warning that begins with {words[0]!r}"
    return f"a warning of {len(words)} words" if len(words) > WARNING_WORDS_MOST else None


def _promise(words: list[str]) -> str | None:
    named = _first(words, PROMISES | DENIALS)
    return f"says {named!r}" if named else None


def _order(words: list[str]) -> str | None:
    order, things = words[0], words[1:]
    second = _first(things, (ALERTS | GO | OTHER_ORDERS) - {"step"})  # a step is a thing, too
    if second:
        return f"a second order, {second!r}"
    allowed = ONLY_FOR.get(order)
    if allowed and things and not set(allowed) & set(things):
        return f"{order!r} of something else"
    if order not in GO:
        return None
    return _walk_on(order, things) or _towards(order, things)


def _walk_on(order: str, things: list[str]) -> str | None:
    """What an order to move is given beside, or leads into."""
    signal, ends = _first(things, SIGNALS), _first(things, ENDS_THE_WAY)
    if signal:
        return f"the order {order!r} beside {signal!r}"
    beside = _stays_beside(things)
    if ends and (not beside or things.count("left") + things.count("right") > 2):
        return f"the order {order!r} beside {ends!r}"
    if beside or things[:1] in (["left"], ["right"]):
        return None
    return _into(order, things)


def _stays_beside(things: list[str]) -> bool:
    """Whether what is named is beside the way, and does not come."""
    return bool(things) and things[-1] in ("left", "right", "behind") and not (_ON_THE_WAY | COMES) & set(things)


def _into(order: str, things: list[str]) -> str | None:
    """What the way ahead leads into."""
    barred = _first(things, BARS_THE_WAY | COMES)
    if barred:
        return f"the order {order!r} into what is {barred!r}"
    leads = order in ("continue", "keep") and not set(things) <= _WAYS
    return f"the order {order!r} into what is no landmark" if leads and not LANDMARKS & set(things) else None


def _towards(order: str, things: list[str]) -> str | None:
    if things[:1] in (["left"], ["right"]) and things[0] in things[1:]:
        return f"the order {f'{order} {things[0]}'!r} towards what is there"
    return None
