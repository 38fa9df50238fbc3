"""Every language by the same enumeration of what may be said.

The lists of words here are written independently of the folders' own on purpose: a slip in a folder's list must not
also be a slip here.
"""

from __future__ import annotations

import re
import tomllib
from importlib.resources.abc import Traversable

import pytest

from shared import languages, vocabulary
from shared.languages import Language, files
from shared.languages.guard import words
from shared.vocabulary import Slots
from tests.shared.languages.made_up import guidance

CODES = tuple(languages.packaged())
OTHERS = tuple(code for code in CODES if code != "en")

LEFT = {"de": r"\blinks\b", "es": r"\bizquierda\b"}
RIGHT = {"de": r"\brechts\b", "es": r"\bderecha\b"}
PROMISES = {
    "de": r"\b(sicher\w*|frei\w*|gefahrlos\w*|erlaubt|darfst|kannst|jetzt|klar|ok|okay|gut)\b",
    "es": r"\b(segur\w*|libre\w*|despejad\w*|puede\w*|ahora|claro|vale|bien|tranquil\w*)\b",
}
DENIALS = {
    "de": r"\b(nicht|kein\w*|nie\w*|ohne|nichts)\b",
    "es": r"\b(no|nunca|jamás|nadie|nada|ningun\w*|ningún|sin|ni)\b",
}
ALERTS = {
    "de": {"stop": "Stopp", "wait": "Warte", "caution": "Vorsicht", "duck": "Duck dich"},
    "es": {"stop": "Alto", "wait": "Espera", "caution": "Cuidado", "duck": "Agáchate"},
}
WALK_ON = {
    "de": r"^(Steig|Geh|Bieg|Bleib|Weiter|Folge|Tritt)\b",
    "es": r"^(Sube|Baja|Da|Gira|Mantén|Mantente|Muévete|Continúa|Sigue|Entra)\b",
}


@pytest.fixture(scope="module", params=OTHERS)
def language(request: pytest.FixtureRequest) -> Language:
    return languages.load(request.param)


def test_english_german_and_spanish_come_along() -> None:
    assert {"de", "en", "es"} <= set(CODES)


def test_english_is_spoken_as_it_is_written() -> None:
    english = languages.load("en")
    assert all(english.find(text) == text for text in (*vocabulary.sayable(), "Camera blocked."))


def test_every_sentence_that_may_be_said_has_words_of_its_own(language: Language) -> None:
    said = {text: language.find(text) for text in (*vocabulary.sayable(), vocabulary.CLEAR)}
    assert [text for text, spoken in said.items() if not spoken] == []
    assert [text for text, spoken in said.items() if spoken == text] == []
    assert len({" ".join(words(spoken or "")) for spoken in said.values()}) == len(said)


def test_every_sentence_is_one_plain_sentence(language: Language) -> None:
    plain = re.compile(r"[A-ZÁÉÍÓÚÜÄÖ][\w-]*(?:,? [\w-]+)*\.")
    assert [said for said in guidance(language).values() if not plain.fullmatch(said) or said.count(",") > 1] == []


def test_a_warning_begins_with_its_own_word_and_an_order_to_walk_on_with_none_of_these(language: Language) -> None:
    alerts, walk_on = ALERTS[language.code], re.compile(WALK_ON[language.code])
    for text, slots in vocabulary.sayable().items():
        said = guidance(language)[text]
        if slots.action in alerts:
            assert re.match(rf"{alerts[slots.action]}\b", said), said
            assert not walk_on.search(said), said
        else:
            assert walk_on.match(said), said
            assert not said.startswith(tuple(alerts.values())), said


def test_left_is_left_and_right_is_right_as_often_as_in_the_canonical_sentence(language: Language) -> None:
    sides = (("left", LEFT[language.code]), ("right", RIGHT[language.code]))
    for text, said in guidance(language).items():
        for side, pattern in sides:
            assert vocabulary.words(text).count(side) == len(re.findall(pattern, said)), (text, said)


def test_a_sentence_for_the_other_side_differs_in_nothing_but_the_side(language: Language) -> None:
    turn = {"links": "rechts", "rechts": "links", "izquierda": "derecha", "derecha": "izquierda"}
    for text, slots in vocabulary.sayable().items():
        mirrored = vocabulary.phrase(Slots(_turned(slots.action), slots.object, _turned(slots.side), slots.modifier))
        said = re.sub(r"\w+", lambda word: turn.get(word[0], word[0]), guidance(language)[text])
        if mirrored in guidance(language):
            assert said == guidance(language)[mirrored]


def _turned(text: str) -> str:
    swap = {"left": "right", "right": "left"}
    return " ".join(swap.get(word, word) for word in text.split())


def test_nothing_is_promised_and_nothing_denied_but_in_the_one_sentence_for_a_clear_way(language: Language) -> None:
    promises, denials = (
        re.compile(PROMISES[language.code], re.IGNORECASE),
        re.compile(DENIALS[language.code], re.IGNORECASE),
    )
    texts = {text: said for text, said in guidance(language).items() if text != vocabulary.CLEAR}
    assert [said for said in texts.values() if promises.search(said) or denials.search(said)] == []
    assert promises.search(guidance(language)[vocabulary.CLEAR])


def test_no_announcement_promises_anything_or_orders_to_walk(language: Language, announced: dict[str, str]) -> None:
    promises, walk_on = re.compile(PROMISES[language.code], re.IGNORECASE), re.compile(WALK_ON[language.code])
    assert [said for said in announced.values() if promises.search(said) or walk_on.match(said)] == []


@pytest.fixture
def announced(language: Language) -> dict[str, str]:
    table = files.announcements(languages.packaged()[language.code])
    return dict(table.texts)


def test_no_announcement_is_empty_english_or_said_in_the_words_of_another(announced: dict[str, str]) -> None:
    assert [text for text, said in announced.items() if not words(said) or said == text] == []
    assert len({" ".join(words(said)) for said in announced.values()}) == len(announced)


def test_placeholders_are_the_same_on_both_sides(announced: dict[str, str]) -> None:
    places = re.compile(r"\{\w+\}")
    assert [
        text for text, said in announced.items() if sorted(places.findall(text)) != sorted(places.findall(said))
    ] == []


@pytest.mark.parametrize("code", CODES)
def test_a_folder_holds_a_page_for_wearers_and_nothing_that_no_one_reads(code: str) -> None:
    folder = languages.packaged()[code]
    names = {entry.name for entry in folder.iterdir()}
    known = {"language.toml", "guidance.toml", "announcements.toml", "corrections.toml", "wearer.md"}
    assert names == (known if code != "en" else {"language.toml", "wearer.md"})
    assert _heading(folder).strip()


def _heading(folder: Traversable) -> str:
    return folder.joinpath("wearer.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def test_spanish_objects_agree_with_their_articles_and_adjectives() -> None:
    """el pavimento, la acera: the article in `the` and the class in `as` name the same gender."""
    table = tomllib.loads(languages.packaged()["es"].joinpath("guidance.toml").read_text(encoding="utf-8"))
    ends = {"m": ("o", "n", "e", "l", "r"), "f": ("a", "d"), "fp": ("s",)}
    feminine_heads = {"salida", "parada", "multitud", "escalera", "puerta"}
    for name, forms in table["objects"].items():
        head, kind = forms["is"].split()[0], forms["as"]
        assert head.endswith(ends[kind]) or head in feminine_heads, (name, head, kind)
        assert "the" not in forms or forms["the"].startswith({"m": "el ", "f": "la "}[kind]), name


QUOTED = {"en": r'"([A-Z][^"]*\.)"', "de": r"„([A-ZÄÖÜ][^“]*\.)“", "es": r"«([A-ZÁÉÍÓÚ][^»]*\.)»"}


@pytest.mark.parametrize("code", CODES)
def test_the_page_for_wearers_quotes_only_what_is_said(code: str) -> None:
    page = languages.packaged()[code].joinpath("wearer.md").read_text(encoding="utf-8")
    quoted = set(re.findall(QUOTED[code], page))
    english = re.findall(QUOTED["en"], languages.packaged()["en"].joinpath("wearer.md").read_text(encoding="utf-8"))
    chosen = languages.load(code)
    assert len(english) >= 10
    assert quoted == {chosen.find(text) for text in english}
