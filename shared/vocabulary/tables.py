"""What may stand with what, as Markdown, for docs/guidance.md and `waycue-server vocabulary table`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shared.vocabulary.sentences import actions, bodies, phrase
from shared.vocabulary.table import Opener, Slots, load, modifiers_of, tier

_KINDS = {1: "to stop for", 2: "in or beside the way", 3: "to find the way"}


def markdown() -> str:
    """Three tables: openers, things, modifiers."""
    return "\n".join((*_openers(), "", *_things(), "", *_modifiers())) + "\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _openers() -> Iterator[str]:
    yield "| opener | with things of kind | on the path | beside it | only with | by itself | for example |"
    yield "|---|---|---|---|---|---|---|"
    for rule in load().opener_rules.values():
        said = [slots for action in actions() if action in rule.actions for slots in bodies(action)]
        alone = ", ".join(f'"{f"{rule.name} {way}".strip().capitalize()}."' for way in rule.alone)
        example = f'"{_example(said)}"' if said else "never said"
        here, beside = _kinds(said, "ahead", "overhead", "slightly left"), _kinds(said, "on the left", "on the right")
        kinds = ", ".join(map(str, rule.tiers)) or "none"
        yield _row(_named(rule), kinds, here, beside, _only(rule), alone or "–", example)


def _kinds(said: list[Slots], *sides: str) -> str:
    """The tiers of the things that are said at these sides."""
    tiers = sorted({tier(replace(slots, action="")) for slots in said if slots.side in sides})
    return ", ".join(map(str, tiers)) or "none"


def _named(rule: Opener) -> str:
    ways = f" {' / '.join(rule.ways)}" if rule.ways else ""
    return f"**{rule.name}**{ways}{' (walk on)' if rule.go else ''}"


def _only(rule: Opener) -> str:
    only = list(rule.objects or ())
    if rule.sides is not None:
        only.append(f"what is {', '.join(rule.sides)}")
    if rule.modifiers is not None:
        only.append(f"things that are {', '.join(rule.modifiers)}")
    return "; ".join(only) or "–"


def _example(said: list[Slots]) -> str:
    plain = [slots for slots in said if not slots.modifier and slots.side]
    return phrase(min(plain or said, key=lambda slots: (slots.side != "ahead", tier(slots))))


def _things() -> Iterator[str]:
    yield "| thing | kind | may be | also understood | only with |"
    yield "|---|---|---|---|---|"
    for term in load().objects.values():
        kind = f"{term.tier}{f' (parked: {term.tier_parked})' if term.tier_parked != term.tier else ''}"
        listed = (", ".join(texts) or "–" for texts in (modifiers_of(term.name), term.names[1:], term.openers or ()))
        yield _row(term.name, kind, *listed)


def _modifiers() -> Iterator[str]:
    yield "| modifier | makes a thing | also understood |"
    yield "|---|---|---|"
    for modifier in load().modifier_rules.values():
        kind = f"at least kind {modifier.tier}: {_KINDS[modifier.tier]}" if modifier.tier < 3 else "no more urgent"
        yield _row(modifier.name, kind, ", ".join(modifier.also) or "–")
