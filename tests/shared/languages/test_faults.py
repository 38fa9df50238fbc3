"""A folder that is not whole, or says what must not be said, is refused with the file and the key."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared import languages, vocabulary
from shared.errors import ConfigError
from shared.languages.language import read
from tests.shared.languages import made_up

Change = Callable[[dict[str, Any]], object]


def changed(parent: Path, name: str, change: Change) -> Path:
    """A made-up language with one of its files changed."""
    file = made_up.write(parent) / made_up.CODE / name
    table = tomllib.loads(file.read_text())
    change(table)
    file.write_text(made_up.toml(table))
    return file.parent


def set_to(section: str, key: str, value: object) -> Change:
    return lambda table: table[section].update({key: value})


def without(section: str, key: str) -> Change:
    return lambda table: table[section].pop(key)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("guidance.toml", without("objects", "curb"), r"guidance.toml: \[objects\] curb is missing"),
        ("guidance.toml", without("openers", "stop"), r"guidance.toml: \[openers\] stop is missing"),
        ("guidance.toml", without("openers", "step back"), r'guidance.toml: \[openers\] "step back" is missing'),
        ("guidance.toml", without("sides", "on the left"), r'guidance.toml: \[sides\] "on the left" is missing'),
        ("guidance.toml", without("modifiers", "red"), r"guidance.toml: \[modifiers\] red is missing"),
        ("guidance.toml", without("several", "curbs"), r'guidance.toml: \[several\] "curbs" is missing'),
        ("guidance.toml", lambda table: table.pop("exact"), r"guidance.toml: .*missing.*exact"),
        ("guidance.toml", set_to("objects", "curb", {"was": "bruc"}), r"guidance.toml: \[objects.curb\] is is missing"),
        ("guidance.toml", set_to("modifiers", "wet", "{object} {damp}"), r"guidance.toml: \[words\] damp is missing"),
        ("guidance.toml", set_to("modifiers", "wet", "{side.at}"), r"guidance.toml: \[sides.ahead\] at is missing"),
        ("guidance.toml", set_to("objects", "crub", {"is": "x"}), r'\[objects\] "crub" is nothing that is said'),
        ("guidance.toml", set_to("openers", "stop", 5), r"guidance.toml: Expected `str`.*openers"),
        ("announcements.toml", without("joins", "and"), r"announcements.toml: \[joins\] and is missing"),
        ("language.toml", lambda table: table.pop("guard"), r"language.toml: \[guard\] is missing"),
        ("language.toml", lambda table: table.pop("voice"), r"language.toml: .*missing.*voice"),
    ],
)
def test_what_is_missing_is_named_with_its_file_and_key(tmp_path: Path, name: str, change: Change, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(changed(tmp_path, name, change))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("guidance.toml", set_to("openers", "wait", "pots"), r"'stop' and 'wait' are both 'pots'"),
        ("guidance.toml", set_to("openers", "turn left", "pots tfel"), r"'stop' begins like 'turn left'"),
        ("guidance.toml", set_to("openers", "turn left", "nrut thgir"), r"says left 0 times, not 1"),
        ("guidance.toml", set_to("openers", "stop", "eunitnoc"), r"'eunitnoc' is an order to walk on"),
        ("guidance.toml", set_to("openers", "stop", "pots ton"), r"'ton' is a denial"),
        ("guidance.toml", set_to("objects", "sidewalk", {"is": "efas klawedis"}), r"'efas' promises something"),
        ("guidance.toml", set_to("objects", "curb", {"is": "pets"}), r"are both worded 'Pots, pets daeha.'"),
        ("guidance.toml", set_to("objects", "curb", {"is": "a b c d e f g h"}), r"words; at most 8"),
        ("guidance.toml", set_to("sides", "on the left", {"is": "no eht thgir"}), r"times, not"),
        ("guidance.toml", set_to("openers", "turn left", "mrut tfel"), r"no word of 'mrut tfel' is in walk_on"),
        ("guidance.toml", set_to("exact", vocabulary.CLEAR, "Eunitnoc, nepo."), r"no word of it is in never"),
        ("language.toml", lambda table: table["guard"].pop("denials"), r"language.toml: .*missing.*denials"),
        ("language.toml", set_to("guard", "denials", []), r"has no denials: fill them in"),
        ("language.toml", set_to("guard", "left", []), r"says left 0 times, not 1"),
        ("language.toml", set_to("guard", "never", []), r"no word of it is in never"),
        ("language.toml", set_to("guard", "walk_on", []), r"is in walk_on"),
        ("announcements.toml", set_to("texts", "Storage full.", "Efas."), r"'efas' promises something"),
        ("announcements.toml", set_to("texts", "Storage full.", "Eunitnoc."), r"'eunitnoc' is an order to walk on"),
        ("announcements.toml", set_to("texts", "Storage full.", "..."), r"which holds no words"),
        ("announcements.toml", set_to("texts", "Not sure, check left.", "Thgir."), r"says left 0 times, not 1"),
        (
            "announcements.toml",
            set_to("texts", "Battery {1} percent.", "Yrettab tnecrep."),
            "placeholders are not those",
        ),
        ("announcements.toml", set_to("texts", "Battery {1} percent.", "Yrettab {2} tnecrep."), "placeholders are not"),
        (
            "announcements.toml",
            set_to("texts", "Battery {1} percent.", "Yrettab {name}."),
            "placeholders are not those",
        ),
        ("announcements.toml", set_to("texts", "Profile: {name}.", "Eliforp: {1}."), "placeholders are not those"),
        (
            "announcements.toml",
            set_to("texts", "Profile: {name}.", "Eliforp: {name} {things}."),
            "placeholders are not",
        ),
        ("announcements.toml", set_to("texts", "Storage full.", "Lluf {Egarots}."), r"'\{' cannot be said"),
        ("announcements.toml", set_to("texts", "Storage full.", "Lluf\u0000 egarots."), "cannot be said"),
        ("announcements.toml", set_to("joins", "and", ""), r"\[joins\] and is missing"),
        ("guidance.toml", set_to("openers", "stop", "pots {"), r"'\{' cannot be said"),
        ("guidance.toml", set_to("exact", "Stop.", "Pots {body}."), r"'\{' cannot be said"),
    ],
)
def test_words_that_would_mislead_are_refused_when_the_language_is_loaded(
    tmp_path: Path, name: str, change: Change, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        read(changed(tmp_path, name, change))


@pytest.mark.parametrize("text", ["", "objects = 5", "[openers", "\x00", '[openers]\nstop = "a'])
def test_a_file_that_is_no_table_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    folder = made_up.write(tmp_path) / made_up.CODE
    (folder / "guidance.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"xx/guidance\.toml"):
        read(folder)


@pytest.mark.parametrize("name", ["guidance.toml", "announcements.toml", "corrections.toml"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    folder = made_up.write(tmp_path) / made_up.CODE
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=rf"xx/{name} is missing"):
        read(folder)


def test_ones_own_folder_goes_before_the_one_that_comes_along(tmp_path: Path) -> None:
    made_up.write(tmp_path, code="de")
    assert languages.load("de", tmp_path).spoken("Stop, curb ahead.") == "Pots, bruc daeha."
    assert languages.load("de").spoken("Stop, curb ahead.") == "Stopp, Bordstein voraus."


@pytest.mark.parametrize("own", ["nowhere", "file.txt"])
def test_a_folder_of_languages_that_cannot_be_read_is_named(tmp_path: Path, own: str) -> None:
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(ConfigError, match=rf"voice.languages is .*{own}"):
        languages.chosen("en", tmp_path / own)


@pytest.mark.parametrize(
    ("setting", "code", "voice"),
    [
        ("de", "de", "de"), ("DE", "de", "de"), ("es", "es", "es"), ("es-419", "es", "es-419"),
        ("en-us", "en", "en-us"),
        ("en", "en", "en-us"), ("en-gb-x-rp", "en", "en-gb-x-rp"), ("de+f3", "de", "de+f3"), ("mb-de5", "de", "mb-de5"),
        ("mb/mb-es2", "es", "mb/mb-es2"), ("mb-us1", "en", "mb-us1"), ("german", "de", "german"),
    ],
)  # fmt: skip
def test_the_setting_is_a_language_or_a_voice_that_speaks_it(setting: str, code: str, voice: str) -> None:
    language, chosen = languages.chosen(setting)
    assert (language.code, chosen) == (code, voice)


@pytest.mark.parametrize("setting", ["fr", "fr-be", "", "-", "deu", "d e", "klingon", "../de", "xx/../de"])
def test_anything_else_is_refused_with_the_list_of_languages(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"de \(Deutsch\), en \(English\), es \(Español\)"):
        languages.chosen(setting)
