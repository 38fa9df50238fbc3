"""The sentences that a wearer may say in a correction in another language, as a JSGF grammar from its tables. Pure.

    [opener] [article] [modifier] thing [modifier] [place] [modifier]    "Vorsicht, Mülltonne links", "Gehweg blockiert"
    place [article] thing                                                "links eine Mülltonne"
    way, nothing                                                         "bieg links ab", "da ist nichts"

Words that the recogniser's dictionary lacks are left out with their phrases: what remains can still be heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from shared import vocabulary
from shared.languages import guard
from shared.languages.files import AS
from shared.languages.language import LanguageTables
from shared.speech.grammar import EVERYDAY, odds, sharpened, sometimes
from shared.vocabulary.table import ALERT

Odds = dict[str, float]
_SEEN, _ELSEWHERE, _OTHER_OPENER = 10.0, 1.0, 0.5


def grammar_of(tables: LanguageTables, knows: Callable[[str], bool]) -> tuple[str, list[str]]:
    """(grammar `waycue.said`, phrases left out). knows: whether the dictionary has a word"""
    named, left_out = phrases_of(tables, knows)
    rules = "\n".join(f"<{name}> = {odds(of) if of else '<NULL>'};" for name, of in named.items())
    others = " ".join(f"| /0.02/ <{name}>" for name in ("way", "nothing") if named[name])
    text = f"""#JSGF V1.0;
grammar waycue;
{rules}
<what> = {sometimes("modifier", 0.03)} <thing> {sometimes("modifier", 0.05)};
<where> = <place> {sometimes("modifier", 0.05)};
<guidance> = {sometimes("opener", 0.5)} {sometimes("article", 0.05)} <what> {sometimes("where", 0.95)};
<turned> = <place> {sometimes("article", 0.5)} <what>;
public <said> = /1/ <guidance> | /0.02/ <turned> {others};
"""
    return sharpened(text), left_out


def phrases_of(tables: LanguageTables, knows: Callable[[str], bool]) -> tuple[dict[str, Odds], list[str]]:
    """(the phrases of each place in a sentence with their odds, phrases left out). knows: whether a word is known"""
    left_out: list[str] = []

    def kept(phrases: Iterable[tuple[str, float]]) -> Odds:
        found: Odds = {}
        for phrase, weight in phrases:
            spelt = " ".join(guard.words(phrase))
            if all(map(knows, spelt.split())):
                found.setdefault(spelt, weight)
            elif spelt not in left_out:
                left_out.append(spelt)
        return found

    named = {
        "way": kept(_ways(tables)),
        "nothing": kept(_spoken(tables.corrections.nothing)),
        "opener": kept(_openers(tables)),
        "article": kept(_spoken(tables.corrections.articles)),
        "thing": kept(_things(tables)),
        "modifier": kept(_modifiers(tables)),
        "place": kept(_places(tables)),
    }
    return named, left_out


def _openers(tables: LanguageTables) -> Iterator[tuple[str, float]]:
    heard = vocabulary.load().heard.openers
    alerts = [rule.name for rule in vocabulary.load().opener_rules.values() if rule.care >= ALERT]
    for action in (*alerts, "keep straight", "continue straight"):
        yield tables.patterns.openers[action].partition("{")[0], heard.get(action, 1.0)
    yield from _meaning(tables, set(alerts), _OTHER_OPENER)


def _things(tables: LanguageTables) -> Iterator[tuple[str, float]]:
    yield from ((forms["is"], 1.0) for forms in tables.patterns.objects.values())
    loaded = vocabulary.load()
    names = {name for term in loaded.objects.values() for name in term.names}
    names |= {word for family in loaded.families for word in family.words}
    yield from _meaning(tables, names, EVERYDAY)


def _places(tables: LanguageTables) -> Iterator[tuple[str, float]]:
    sides = tables.patterns.sides
    for name, forms in sides.items():
        yield forms["is"], _SEEN if name in vocabulary.SIDES_SEEN else _ELSEWHERE
    yield from ((text, _ELSEWHERE) for forms in sides.values() for form, text in forms.items() if form != AS)
    yield from _meaning(tables, set(sides), _ELSEWHERE)


def _modifiers(tables: LanguageTables) -> Iterator[tuple[str, float]]:
    yield from _meaning(tables, set(tables.patterns.modifiers), 1.0)


def _ways(tables: LanguageTables) -> Iterator[tuple[str, float]]:
    return ((tables.patterns.openers[way], 1.0) for way in vocabulary.load().heard.ways)


def _spoken(texts: Iterable[str]) -> Iterator[tuple[str, float]]:
    return ((text, 1.0) for text in texts)


def _meaning(tables: LanguageTables, wanted: set[str], weight: float) -> Iterator[tuple[str, float]]:
    """The other words of the language for any of these."""
    return ((said, weight) for said, meaning in tables.corrections.words.items() if meaning in wanted)
