"""Which correction was meant: what several passes over the sound make of it, what a model sees where it was spoken,
what it had said, and what was corrected before. Pure.

    log-odds of a sentence  =  Σ weight · evidence          beside them "none of these", which has its own
    its probability         =  softmax over all of them, at a temperature

The weights are fitted by `python -m benchmarks.recogniser --fit` (server.speech.fitted), for each kind of evidence that
there is: without a second recogniser other weights are right. Nothing of it counts as confirmed.

source: log-linear combination of knowledge sources, Beyerlein 1998; temperature scaling, Guo et al. 2017
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from server.dataset.choices import HeardChoice
from server.speech.requests import NOT_SEEN, SeenThings
from shared import vocabulary
from shared.languages import Language
from shared.speech import GRAMMAR, SENTENCES, SoundPass, Transcript, understood
from shared.speech.vote import vote_of

MOST_CHOICES = 9
"""The keys 1 to 9 of the page."""
_FLOOR = -8.0
"""Log-probability, against the best guess, of a sentence that is not among the guesses."""
_UNSEEN, _USUAL = 0.05, 0.25


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known of a correction beside its sound."""

    seen: SeenThings = NOT_SEEN
    said: str = ""
    """What the device had said, which the wearer corrects; "" = nothing."""
    taught: Mapping[str, int] | None = None
    """Thing → how often people confirmed it as a correction of this wearer; None = nothing is known."""


NOTHING_KNOWN = Circumstances()


@dataclass(frozen=True, slots=True)
class Weights:
    """Fitted for one kind of evidence."""

    evidence: Mapping[str, float]
    """Name → weight; the names are those of `evidence_of` and, with "none:" before them, of `evidence_of_none`."""
    temperature: float = 1.0


def chosen(
    heard: Transcript, weights: Weights, *, about: Circumstances = NOTHING_KNOWN, language: Language | None = None
) -> tuple[HeardChoice, ...]:
    """The likeliest sentences, the best first, at most MOST_CHOICES; the rest of 1 is that none of them was meant."""
    found = candidates(heard.passes, language)
    if not found:
        return ()
    words = list(found)
    logits = [_weighed(weights, evidence_of(one, heard.passes, about, language), "") for one in words]
    logits.append(_weighed(weights, evidence_of_none(heard.passes, language), "none:"))
    shares = softmax(logits, weights.temperature)
    choices = [HeardChoice(one, round(share, 4), found[one]) for one, share in zip(words, shares[:-1], strict=True)]
    return tuple(sorted(choices, key=lambda one: -one.probability)[:MOST_CHOICES])


def candidates(passes: Iterable[SoundPass], language: Language | None = None) -> dict[str, str]:
    """Canonical sentence → words heard that mean it, in the order of the passes."""
    found: dict[str, str] = {}
    for one in passes:
        for text, _ in one.texts:
            meant = understood(text, language)
            if meant:
                found.setdefault(meant, text)
    voted = vote_of([one for one in passes if one.by == GRAMMAR], language)
    if meant := understood(voted.text, language):
        found.setdefault(meant, voted.text)
    return found


def evidence_of(
    wording: str, passes: Sequence[SoundPass], about: Circumstances, language: Language | None = None
) -> dict[str, float]:
    """What speaks for a sentence, by name."""
    thing, (grammar, sentences) = thing_of(wording), _split(passes)
    bests = [understood(one.texts[0][0], language) for one in grammar if one.texts]
    views = max(1, len(grammar))
    voted = vote_of(grammar, language)
    evidence = {
        "grammar:same": sum(best == wording for best in bests) / views,
        "grammar:thing": sum(thing_of(best) == thing for best in bests) / views,
        "grammar:voted": float(understood(voted.text, language) == wording) * voted.confidence,
        "seen": _sight(thing, about.seen),
        "said": float(bool(about.said) and understood(about.said) == wording),
        "taught": _habit(thing, about.taught),
    }
    if sentences is not None:
        evidence["sentences:score"] = _score(sentences, wording, language) / -_FLOOR
        evidence["sentences:best"] = float(understood(sentences.texts[0][0], language) == wording)
    return evidence


def evidence_of_none(passes: Sequence[SoundPass], language: Language | None = None) -> dict[str, float]:
    """What speaks for that nothing among the sentences was meant, by name."""
    grammar, sentences = _split(passes)
    things = [thing_of(understood(one.texts[0][0], language)) for one in grammar if one.texts]
    most = max((things.count(one) for one in things), default=0)
    evidence = {"always": 1.0, "grammar:split": 1.0 - most / len(grammar) if grammar else 0.0}
    if sentences is not None:
        best, score = sentences.texts[0]
        evidence["sentences:poor"] = -score / 10.0
        evidence["sentences:word"] = -score / (2.0 + len(best.split())) / 2.0
    return evidence


def softmax(logits: Sequence[float], temperature: float) -> list[float]:
    """Shares that sum to 1."""
    most = max(logits)
    powers = [math.exp((one - most) / temperature) for one in logits]
    return [one / sum(powers) for one in powers]


def thing_of(wording: str) -> str:
    """What a sentence is about: its object, or its action where it has none. "" = nothing."""
    slots = vocabulary.parse(wording) if wording else None
    return (slots.object or slots.action) if slots else wording


def _weighed(weights: Weights, evidence: Mapping[str, float], before: str) -> float:
    return sum(weights.evidence.get(f"{before}{name}", 0.0) * value for name, value in evidence.items())


def _split(passes: Sequence[SoundPass]) -> tuple[list[SoundPass], SoundPass | None]:
    """(passes with a grammar, the one by sentences, None where there is none, or it guessed nothing)"""
    others = [one for one in passes if one.by == SENTENCES and one.texts]
    return [one for one in passes if one.by == GRAMMAR], others[0] if others else None


def _score(guesses: SoundPass, wording: str, language: Language | None) -> float:
    """Log-probability against the best guess, at least _FLOOR."""
    best = guesses.texts[0][1]
    return max((score - best for text, score in guesses.texts if understood(text, language) == wording), default=_FLOOR)


def _sight(thing: str, seen: SeenThings) -> float:
    """About 1.5 where it is surely seen, as much below 0 where it would be seen and is not; 0 = nobody can say."""
    if thing not in seen.objects:
        return 0.0
    return math.log((seen.scores.get(thing, 0.0) + _UNSEEN) / _USUAL)


def _habit(thing: str, taught: Mapping[str, int] | None) -> float:
    """Above 0 for what was corrected often before, 0 where nothing was."""
    if not taught:
        return 0.0
    return math.log1p(taught.get(thing, 0))
