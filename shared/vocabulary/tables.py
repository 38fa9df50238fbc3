"""What may stand with what, as Markdown, for docs/guidance.md and `waycue-server vocabulary table`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shared.vocabulary.sentences import actions, bodies, phrase
from shared.vocabulary.table import Opener, Slots, load, tier

_KINDS = {1: "to stop for", 2: "in or beside the way", 3: "to find the way"}


def markdown() -> str:
    """Three tables: openers, things, modifiers."""
    return "\n".join((*_openers(), "", *_things(), "", *_modifiers())) + "\n"


def _openers() -> Iterator[str]:
    yield "| opener | with things of kind | on the path | beside it | only with | by itself | for example |"
    yield "|---|---|---|---|---|---|---|"
    for rule in load().opener_rules.values():
        said = [slots for action in actions() if action in rule.actions for slots in bodies(action)]
        here = sorted(
            {tier(replace(slots, action="")) for slots in said if slots.side in ("ahead", "overhead", "slightly left")}
        )
        beside = sorted(
            {tier(replace(slots, action="")) for slots in said if slots.side in ("on the left", "on the right")}
        )
        alone = ", ".join(f'"{rule.name.capitalize()}{f" {way}" if way else ""}."' for way in rule.alone)
        row = (
            _named(rule),
            _numbers(rule.tiers),
            _numbers(here),
            _numbers(beside),
            _only(rule),
            alone or "–",
            f'"{_example(said)}"' if said else "never said",
        )
        yield f"| {' | '.join(row)} |"


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


def _numbers(kinds: object) -> str:
    return ", ".join(map(str, kinds)) if kinds else "none"  # type: ignore[call-overload]  # a tuple or list of int


def _example(said: list[Slots]) -> str:
    plain = [slots for slots in said if not slots.modifier and slots.side]
    return phrase(min(plain or said, key=lambda slots: (slots.side != "ahead", tier(slots))))


def _things() -> Iterator[str]:
    yield "| thing | kind | may be | also understood | only with |"
    yield "|---|---|---|---|---|"
    for term in load().objects.values():
        kind = f"{term.tier}{f' (parked: {term.tier_parked})' if term.tier_parked != term.tier else ''}"
        modifiers = [m.name for m in load().modifier_rules.values() if term.name in m.of]
        row = (
            term.name,
            kind,
            ", ".join((*modifiers, *term.states)) or "–",
            ", ".join(term.names[1:]) or "–",
            ", ".join(term.openers or ()) or "–",
        )
        yield f"| {' | '.join(row)} |"


def _modifiers() -> Iterator[str]:
    yield "| modifier | makes a thing | also understood |"
    yield "|---|---|---|"
    for modifier in load().modifier_rules.values():
        kind = f"at least kind {modifier.tier}: {_KINDS[modifier.tier]}" if modifier.tier < 3 else "no more urgent"
        yield f"| {modifier.name} | {kind} | {', '.join(modifier.also) or '–'} |"
