"""What a model sees, what it does not see, and of what that is not known: from its manifest alone. Pure.

    card_of(manifest.model)   → SightCard     objects of the vocabulary in three lists, the most urgent first
    spoken(card)              → sentences     at most two, for a wearer, who cannot read

A detector sees what its classes are called; a hazard head or a decoder what it was trained on, `known`. Where a model
has either of these and no such list (one from before it, or from a hub), nothing is promised of the rest. Where a
manifest tells what was measured on real pictures, the classes without a figure are not promised either: without
guidance.trial_classes they are not spoken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shared import vocabulary

SPOKEN_MOST = 6
"""Names in one sentence: six take four seconds."""
MEASURED_FROM = 5
"""With fewer real pictures it is not known how often a class is right: of 4 right ones, one in two may be wrong."""
MORE = "more"
NOT_KNOWN = "It is not known what this model sees."
REST_NOT_KNOWN = "It is not known what else it sees."


@dataclass(frozen=True, slots=True)
class SightCard:
    """Every object of the vocabulary is in one of the lists; each is in order of urgency."""

    sees: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    """It does not see these: nothing that it says, and no silence, is about them."""
    unknown: tuple[str, ...] = ()


def card_of(model: Mapping[str, Any]) -> SightCard:
    """model: the manifest's `model` section; what is not as it should be counts as absent."""
    known, names, proven = _names(model.get("known")), _names(_look(model).get("names")), measured(model)
    sees = known | names
    whole = bool(known) or (bool(names) and "end_id" not in model and _names(model.get("objects")) <= names)
    rest = {name for name in vocabulary.load().objects if name not in sees}
    unproven = set() if proven is None else sees - proven
    return SightCard(
        by_urgency(sees - unproven),
        by_urgency(rest) if whole else (),
        by_urgency(unproven if whole else rest | unproven),
    )


def measured(model: Mapping[str, Any]) -> frozenset[str] | None:
    """Objects of which it was measured on real pictures how often they are there when it sees them.

    None where the manifest does not tell: that of a demonstration model, judged on drawn walks, or an older one.
    model: as for card_of
    """
    if "measured" not in model:
        return None
    told = model["measured"]
    figures = told.items() if isinstance(told, Mapping) else ()
    return frozenset(name for name, figure in figures if isinstance(figure, Mapping) and _counted(figure))


def _counted(figure: Mapping[str, Any]) -> bool:
    """Whether it is a share of enough pictures."""
    precision, of = figure.get("precision"), figure.get("of")
    return isinstance(precision, int | float) and 0 <= precision <= 1 and type(of) is int and of >= MEASURED_FROM


def detects(model: Mapping[str, Any], *objects: str) -> bool:
    """Whether its detector has a class for each of these. model: as for card_of"""
    return set(objects) <= _names(_look(model).get("names"))


def by_urgency(names: Iterable[str]) -> tuple[str, ...]:
    """Objects of the vocabulary, tier 1 first; otherwise in its order. Other names are left out."""
    wanted, objects = set(names), vocabulary.load().objects
    return tuple(sorted((name for name in objects if name in wanted), key=lambda name: objects[name].tier))


def spoken(card: SightCard) -> tuple[str, ...]:
    """At most two short sentences in plain words, that may be announced."""
    if not card.sees and not card.unseen:
        return (NOT_KNOWN,)
    sees = f"This model sees {listed(card.sees, 'and')}." if card.sees else "This model sees nothing."
    if card.unseen:
        return sees, f"It does not see {listed(card.unseen, 'or')}."
    return (sees, REST_NOT_KNOWN) if card.unknown else (sees,)


def lines(card: SightCard) -> list[str]:
    """Everything in it, for a screen: one line for each list that is not empty."""
    named = (("sees", card.sees), ("does not see", card.unseen), ("not known whether it sees", card.unknown))
    return [f"{name}: {', '.join(plurals(names))}" for name, names in named if names]


def listed(names: Iterable[str], last: str) -> str:
    """ "curbs, stairs or drop-offs"; of more than SPOKEN_MOST the first of them, "and more". last: "and" or "or" """
    words = plurals(names)
    if len(words) > SPOKEN_MOST:
        words, last = [*words[:SPOKEN_MOST], MORE], "and"
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def plurals(names: Iterable[str]) -> list[str]:
    """What things are called, in their order. Where all of a family are there, it has one name: "stairs"."""
    given, loaded = list(names), vocabulary.load()
    words = {name: loaded.objects[name].several for name in given}
    for family in loaded.families:
        if set(family.members.values()) <= words.keys():
            words.update(dict.fromkeys(family.members.values(), family.words[0]))
    return list(dict.fromkeys(words.values()))


def _look(model: Mapping[str, Any]) -> Mapping[str, Any]:
    look = model.get("look")
    return look if isinstance(look, Mapping) else {}


def _names(value: Any) -> set[str]:
    return {name for name in value if isinstance(name, str)} if isinstance(value, list | tuple) else set()
