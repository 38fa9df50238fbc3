"""What is ahead? One line from the newest look, for a wearer who asks.

It names the most important thing that is seen, in the table's words, or says that nothing can be told. It never says
that the way is clear: a model that names nothing has not looked for everything. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared import vocabulary
from shared.policy import criteria, kinds
from shared.policy.kinds import Key, PolicySettings, PolicyState
from shared.policy.speaking import may_be_said
from shared.runtime.seen import Hazard

CANNOT_SEE = "Cannot see ahead."
NOTHING_NAMED = "Nothing recognised. Check for yourself."
AHEAD_TEXTS = (CANNOT_SEE, NOTHING_NAMED)
ABOUT = "what is ahead"
_WARNS = ("Stop", "Caution", "Wait", "Duck")


@dataclass(frozen=True, slots=True)
class AheadAnswer:
    """What is answered. why: "asked" for words of the table about the way, "state" for that nothing can be told."""

    text: str
    tier: int = 2
    why: str = "state"


def answer(state: PolicyState, now_s: float, settings: PolicySettings) -> AheadAnswer:
    """The answer at this moment."""
    if not _sees(state, now_s, settings):
        return AheadAnswer(CANNOT_SEE)
    if state.seen:
        return _named(*min(state.seen, key=lambda pair: _place_in_line(*pair)))
    # A picture that is far from all that was taught, or a thing that may not be named: the way does not count as empty.
    return AheadAnswer(NOTHING_NAMED) if state.empty_looks else AheadAnswer(kinds.NOT_SURE_AHEAD, 2, "asked")


def _sees(state: PolicyState, now_s: float, settings: PolicySettings) -> bool:
    blind = state.paused or state.blocked or state.bad_since_s is not None
    recent = state.last_look_s is not None and now_s - state.last_look_s <= settings.stale_after_s
    return bool(state.looks) and recent and not blind


def _place_in_line(key: Key, hazard: Hazard) -> tuple[bool, bool]:
    """What must be stopped for comes first, then what is ahead; `seen` is in order of importance otherwise."""
    return criteria.tier_of(key, hazard.how) > 1, key[1] != "ahead"


def _named(key: Key, hazard: Hazard) -> AheadAnswer:
    for how in (hazard.how, ""):
        text = vocabulary.instruct(*key, modifier=how)
        if not text.startswith(_WARNS):  # a question is no reason to tell anybody to walk on
            text = vocabulary.phrase(vocabulary.Slots("caution", *key, how))
        if may_be_said(text):
            return AheadAnswer(text, criteria.tier_of(key, how), "asked")
    return AheadAnswer(kinds.NOT_SURE.get(key[1], kinds.NOT_SURE_AHEAD), 2, "asked")
