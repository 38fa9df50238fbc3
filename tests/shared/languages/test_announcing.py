"""News in another language: whole texts, numbers, lists, and texts within texts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from shared import languages
from shared.languages import Language
from shared.languages.announcing import Announcements
from shared.languages.files import AnnouncementTable

TABLE = AnnouncementTable(
    texts={
        "Storage full.": "Speicher voll.",
        "Storage full. Old moments were dropped.": "Speicher voll. Altes ist weg.",
        "Offline.": "Keine Verbindung.",
        "Battery {1} percent.": "Akku {1} Prozent.",
        "Battery {1} percent, {2} minutes left.": "Noch {2} Minuten, Akku {1} Prozent.",
        "Battery {1} percent, 1 minute left.": "Noch eine Minute, Akku {1} Prozent.",
        "Heard: {text}": "Verstanden: {text}",
        "Heard: {text} Say it again to change it.": "Verstanden: {text} Sag es noch einmal, um es zu ändern.",
        "Connecting to {name}.": "Verbinde mit {name}.",
        "It does not see {things}.": "Es erkennt nicht: {things}.",
    },
    joins={"and": " und ", "or": " oder "},
)
ANNOUNCEMENTS = Announcements.of(TABLE, {"curbs": "Bordsteine", "doors": "Türen", "more": "mehr"}, decimal=",")
GUIDANCE = {"Stop, curb ahead.": "Stopp, Bordstein voraus."}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Storage full.", "Speicher voll."),
        ("Storage full. Old moments were dropped.", "Speicher voll. Altes ist weg."),
        ("Offline. Storage full.", "Keine Verbindung. Speicher voll."),
        ("Offline. Battery 5 percent. Storage full.", "Keine Verbindung. Akku 5 Prozent. Speicher voll."),
        ("Battery 30 percent.", "Akku 30 Prozent."),
        ("Battery 12.5 percent.", "Akku 12,5 Prozent."),
        ("Battery 30 percent, 50 minutes left.", "Noch 50 Minuten, Akku 30 Prozent."),
        ("Battery 3 percent, 1 minute left.", None),
        ("Heard: Stop, curb ahead.", "Verstanden: Stopp, Bordstein voraus."),
        ("Heard: Stop, curb ahead. Say it again to change it.",
         "Verstanden: Stopp, Bordstein voraus. Sag es noch einmal, um es zu ändern."),
        ("Heard: Offline.", "Verstanden: Keine Verbindung."),
        ("Heard: Stop, elephant ahead.", None),
        ("Connecting to Café 7.", "Verbinde mit Café 7."),
        ("Connecting to Café 7. Offline.", "Verbinde mit Café 7. Keine Verbindung."),
        ("Connecting to St. Pauli.", "Verbinde mit St. Pauli."),
        ("It does not see doors.", "Es erkennt nicht: Türen."),
        ("It does not see curbs or doors.", "Es erkennt nicht: Bordsteine oder Türen."),
        ("It does not see curbs, doors and more.", "Es erkennt nicht: Bordsteine, Türen und mehr."),
        ("It does not see curbs or elephants.", None),
        ("Stop, curb ahead.", "Stopp, Bordstein voraus."),
        ("Nobody wrote this.", None),
        ("Offline. Nobody wrote this.", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_text_is_found_whole_by_its_numbers_by_its_parts_or_not_at_all(text: str, said: str | None) -> None:
    assert ANNOUNCEMENTS.find(text, GUIDANCE.get) == said


@pytest.fixture(params=["de", "es"])
def language(request: pytest.FixtureRequest) -> Language:
    return languages.load(request.param)


def test_what_a_language_lacks_is_spoken_in_english_and_logged_once(
    language: Language, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert language.spoken("Nobody wrote this.") == "Nobody wrote this."
        assert language.spoken("Nobody wrote this.") == "Nobody wrote this."
    (message,) = [record.getMessage() for record in caplog.records]
    file = Path("shared") / "languages" / language.code / "announcements.toml"
    assert message.endswith(
        f'{file}: [texts] has no entry for \'Nobody wrote this.\'. Add: "Nobody wrote this." = "..."'
    )


def test_a_missing_text_with_numbers_is_listed_with_placeholders(language: Language) -> None:
    (line,) = language.missing(["Profile 3 of 10.", "Storage full.", "Profile 3 of 10."])
    assert line.endswith('Add: "Profile {1} of {2}." = "..."')


def test_what_a_model_sees_is_listed_as_the_language_lists_things() -> None:
    text = "This model sees curbs, dropped curbs and more."
    assert languages.load("de").spoken(text) == "Dieses Modell erkennt Bordsteine, Bordsteinabsenkungen und mehr."
    assert languages.load("es").spoken(text) == "Este modelo reconoce bordillos, bordillos rebajados y más."
    text = "It does not see curbs, stairs or other obstacles."
    assert languages.load("de").spoken(text) == "Es erkennt nicht: Bordsteine, Treppen und andere Hindernisse."
    assert languages.load("es").spoken(text) == "No reconoce bordillos, escaleras ni otros obstáculos."
