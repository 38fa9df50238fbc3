"""What a wearer says or types in another language becomes the canonical sentence, or nothing."""

from __future__ import annotations

import pytest

from shared import languages, vocabulary
from shared.languages import Language, understood
from shared.languages.understood import UNKNOWN, canonical_words
from tests.shared.languages.made_up import guidance


@pytest.fixture(scope="module", params=["de", "es"])
def language(request: pytest.FixtureRequest) -> Language:
    return languages.load(request.param)


def test_every_sentence_that_is_spoken_is_understood_as_itself(language: Language) -> None:
    wrong = {said: text for text, said in guidance(language).items() if understood(language, said) != text}
    assert wrong == {}


def test_every_sentence_is_understood_by_its_words_alone(language: Language) -> None:
    """Without the table of whole sentences: this is how what nobody worded beforehand is read."""
    sentences = {text: said for text, said in guidance(language).items() if text != vocabulary.CLEAR}
    wrong = {said for text, said in sentences.items() if vocabulary.normalise(canonical_words(language, said)) != text}
    assert wrong == set()


def test_every_word_of_the_table_means_something_in_the_vocabulary(language: Language) -> None:
    assert language.tables is not None
    meanings = set(language.tables.corrections.words.values()) - {""}
    unknown = [meaning for meaning in meanings if any("is not in the vocab" in p for p in vocabulary.problems(meaning))]
    assert unknown == []


def test_what_stands_for_a_word_that_is_not_known_is_no_word_of_the_vocabulary() -> None:
    assert f"{UNKNOWN!r} is not in the vocabulary" in vocabulary.problems(f"{UNKNOWN} ahead")


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("da ist eine Mülltonne auf der linken Seite", "Caution, bin on the left."),
        ("muelltonne links", "Caution, bin on the left."),
        ("MULLTONNE LINKS!", "Caution, bin on the left."),
        ("Achtung Auto kommt von rechts", "Caution, vehicle approaching right."),
        ("ein nasser Bordstein voraus", "Stop, curb wet ahead."),
        ("Bürgersteig blockiert", "Caution, sidewalk blocked ahead."),
        ("Treppe runter voraus", "Stop, stairs down ahead."),
        ("Links eine Baustelle", "Caution, barrier on the left."),
        ("rechts abbiegen", "Turn right."),
        ("Hindernis in Kopfhöhe", "Duck, head obstacle ahead."),
        ("sag nichts", vocabulary.CLEAR),
        ("Treppe voraus", None),  # up or down?
        ("kein Bordstein", None),
        ("nicht Bordstein, sondern Rampe", None),
        ("hier ist es sicher", None),
        ("überquere die Straße", None),
        ("ist da ein Bordstein?", None),
        ("Elefant voraus", None),
        ("curb ahead", None),  # English words are not this language's
        ("", None),
    ],
)
def test_german_is_understood(said: str, text: str | None) -> None:
    assert understood(languages.load("de"), said) == text


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("hay un cono delante", "Caution, cone ahead."),
        ("coche viene por la derecha", "Stop, vehicle approaching right."),
        ("viene una bici por la izquierda", "Stop, bicycle approaching left."),
        ("persona a tu derecha", "Caution, person on the right."),
        ("atencion charco", "Caution, slippery ground ahead."),
        ("moto aparcada delante", "Caution, scooter parked ahead."),
        ("sigue la acera", "Follow, sidewalk ahead."),
        ("el camino está libre", vocabulary.CLEAR),
        ("nada", vocabulary.CLEAR),
        ("no hay bordillo", None),
        ("es seguro", None),
        ("cruza la calle", None),
        ("escalera delante", None),
        ("¿hay un bordillo?", None),
        ("papelera a la izqierda", None),
        ("elefante delante", None),
    ],
)
def test_spanish_is_understood(said: str, text: str | None) -> None:
    assert understood(languages.load("es"), said) == text


def test_english_is_read_by_the_vocabulary_itself() -> None:
    assert understood(languages.load("en"), "watch out, kerb in front") == "Caution, curb ahead."
