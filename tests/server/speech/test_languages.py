"""Corrections in another language than English: what can be heard, what is refused, and what becomes of it.

No acoustic model of German or Spanish is at hand. The way there is tried with a language whose words are other English
words, and the model of English that pocketsphinx brings along, given as a folder.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pocketsphinx
import pytest

from server import config as server_config
from server.review import decisions
from server.speech import open_transcriber, transcribe_waiting
from shared import languages, vocabulary
from shared.errors import ConfigError
from shared.languages import Language
from shared.languages.language import read
from shared.speech import NOTHING, Transcriber, proposal, understood
from shared.speech.language_grammar import grammar_of
from shared.speech.vote import vote_in
from tests.server.dataset.moments import House, moment, spoken
from tests.shared.languages import made_up
from tests.shared.speech.voices import needs_espeak, say

MODEL = Path(pocketsphinx.get_model_path()) / "en-us"
WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
NOUNS = """
    apple banana carpet dinner elephant feather garden hammer island jacket kitchen ladder mountain needle orange
    pencil queen rabbit sailor tiger umbrella violin window yellow zipper button candle diamond engine farmer guitar
    hospital insect jungle kettle lemon mirror napkin ocean pepper ribbon salad tomato
""".split()
OPENERS = {"stop": "remember", "wait": "hello", "caution": "whenever", "duck": "surrender"}
SIDES = {"ahead": "tomorrow", "on the left": "monday", "on the right": "saturday", "behind": "thursday"}


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Language:
    """A language of English words for other things."""
    folder = made_up.write(tmp_path_factory.mktemp("languages")) / made_up.CODE
    objects = dict(zip(vocabulary.load().objects, NOUNS, strict=False))
    sides = {name: SIDES.get(name, made_up.backwards(name)) for name in vocabulary.load().sides}
    changes: dict[str, dict[str, Any]] = {
        "guidance.toml": {
            "objects": {name: {"is": noun} for name, noun in objects.items()},
            "sides": {name: {"is": word} for name, word in sides.items()},
        },
        "language.toml": {"guard": {"left": ["monday", "tfel"], "right": ["saturday", "thgir"]}},
        "corrections.toml": {
            "nothing": ["absolutely nothing"],
            "articles": ["funny"],
            "words": {"funny": "", "yesterday": "blocked", "strawberry": "bin"},
        },
    }
    made_up.change(folder, changes)
    made_up.change(folder, {"guidance.toml": {"openers": OPENERS}})
    return read(folder)


@pytest.fixture(scope="module")
def transcriber(language: Language) -> Transcriber:
    return open_transcriber("pocketsphinx", model=str(MODEL), language=language)


def noun(name: str) -> str:
    return NOUNS[list(vocabulary.load().objects).index(name)]


@needs_espeak
@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (f"whenever, {noun('cone')} monday", "Caution, cone on the left."),
        (f"funny {noun('dog')} saturday", "Caution, dog on the right."),
        ("strawberry tomorrow", "Caution, bin ahead."),
        (f"remember, {noun('curb')} tomorrow", "Stop, curb ahead."),
        (f"{noun('sidewalk')} tomorrow yesterday", "Caution, sidewalk blocked ahead."),
        ("absolutely nothing", vocabulary.CLEAR),
    ],
)
def test_a_correction_is_heard_in_the_words_of_the_language_and_read_into_the_canonical_sentence(
    language: Language, transcriber: Transcriber, said: str, meant: str
) -> None:
    heard = transcriber.transcribe(say(said))
    assert heard.text == said.replace(",", "")
    assert proposal(heard, language) == meant
    assert understood(heard.text) == "", "it is no English"


@needs_espeak
def test_a_waiting_correction_keeps_the_wearers_words_and_proposes_the_canonical_ones(
    language: Language, transcriber: Transcriber, tmp_path: Path
) -> None:
    house = House(tmp_path)
    try:
        sent = moment()
        house.send_all([sent, spoken(sent.record.chunk_id, say(f"{noun('cone')} monday"))])
        assert transcribe_waiting(house.merge, transcriber, stop=lambda: False, language=language) == 1
        [row] = house.dataset.rows()
    finally:
        house.close()
    assert (row.instruction, row.source) == ("Caution, cone on the left.", "wearer_voice")
    assert row.transcript == f"{noun('cone')} monday"
    assert decisions.proposal(row) == "Caution, cone on the left."
    reading = decisions.changed(row)
    assert reading is not None
    assert reading.text == row.transcript, "the page shows what was heard beside what is proposed"


def test_hearings_are_voted_on_by_what_they_mean(language: Language) -> None:
    cone, curb = noun("cone"), noun("curb")
    split = vote_in(language, [f"{cone} monday", f"{cone} monday", f"{curb} monday"], spoken_s=1.0)
    assert split.text == f"{cone} monday"
    assert split.confidence == pytest.approx(2 / 3)
    assert vote_in(language, ["", "", ""], spoken_s=1.0) == NOTHING
    three = [f"{cone} monday", f"{curb} monday", f"{noun('dog')} monday"]
    assert proposal(vote_in(language, three, spoken_s=1.0), language) == ""


@pytest.mark.parametrize(
    ("code", "hearings", "text", "meant"),
    [
        ("de", ["mülltonne links", "mülltonne links", "mülltonne von halb"], "mülltonne links", "bin on the left"),
        ("de", ["nichts", "nichts", "gar nichts"], "nichts", ""),
        ("es", ["papelera a la izquierda", "papelera a la", "papelera"], "papelera a la izquierda", "bin on the left"),
    ],
)
def test_german_and_spanish_hearings_are_voted_on_too(code: str, hearings: list[str], text: str, meant: str) -> None:
    chosen = languages.load(code)
    heard = vote_in(chosen, hearings, spoken_s=0.7)
    assert heard.text == text
    assert understood(heard.text, chosen) == (f"Caution, {meant}." if meant else vocabulary.CLEAR)


@pytest.mark.parametrize("code", ["de", "es"])
def test_a_languages_own_grammar_is_one_that_the_recogniser_takes(code: str) -> None:
    """Its sounds cannot be tried without an acoustic model; its form can, with any."""
    tables = languages.load(code).tables
    assert tables is not None
    text, left_out = grammar_of(tables, lambda word: True)
    assert left_out == []
    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
    for word in sorted(set(WORD.findall(text))):
        if decoder.lookup_word(word) is None:
            decoder.add_word(word, "AH", False)
    decoder.add_jsgf_string("said", text)
    rules = dict(line.split(" = ") for line in text.splitlines() if " = " in line)
    assert set(WORD.findall(rules["<thing>"])) >= {
        word for forms in tables.patterns.objects.values() for word in WORD.findall(forms["is"].lower())
    }


def test_what_the_dictionary_lacks_is_left_out_and_named(
    language: Language, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "acoustic").mkdir()
    for file in (MODEL / "en-us").iterdir():
        (tmp_path / "acoustic" / file.name).symlink_to(file)
    lines = (MODEL / "cmudict-en-us.dict").read_text().splitlines()
    (tmp_path / "own.dic").write_text("\n".join(line for line in lines if not line.startswith(noun("curb"))) + "\n")
    transcriber = open_transcriber("pocketsphinx", model=str(tmp_path), language=language)
    with caplog.at_level(logging.WARNING):
        heard = transcriber.transcribe(say(f"{noun('cone')} monday"))
    assert heard.text == f"{noun('cone')} monday"
    [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith("own.dic lacks words of these, which are not heard: ")
    assert noun("curb") in message
    assert noun("cone") not in message


@pytest.mark.parametrize(
    "names", [(), ("mdef",), ("a.dict",), ("mdef", "a.dict", "b.dic"), ("mdef", "x/mdef", "a.dic")]
)
def test_a_folder_that_is_no_model_is_refused(language: Language, tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(ConfigError, match=r"holds \d acoustic models.*It must hold one of each"):
        open_transcriber("pocketsphinx", model=str(tmp_path), language=language)


def test_a_model_that_is_torn_is_a_config_error(language: Language, tmp_path: Path) -> None:
    (tmp_path / "mdef").write_bytes(b"torn")
    (tmp_path / "own.dict").write_text("apple AE P AH L\n")
    transcriber = open_transcriber("pocketsphinx", model=str(tmp_path), language=language)
    with pytest.raises(ConfigError, match="is no acoustic model that pocketsphinx reads"):
        transcriber.transcribe(say(f"{noun('cone')} monday"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('language = "de"', "comes with a model of English, and speech.language is 'de'"),
        ('language = "fr"', "There are: de"),
        ('language = "de"\nrecogniser = "whisper"', "speech.model is empty"),
        ('language = "de"\nrecogniser = "whisper"\nmodel = "packaged"', "hears English here"),
        ('language = "es"\nrecogniser = "both"', "hears English here"),
    ],
)
def test_a_language_that_cannot_be_heard_is_refused_when_the_server_starts(
    tmp_path: Path, settings: str, said: str
) -> None:
    server_config.init(tmp_path)
    (tmp_path / server_config.FILE).write_text(f"[speech]\n{settings}\n")
    with pytest.raises(ConfigError, match=said):
        server_config.load(tmp_path)


def test_a_language_with_typed_corrections_alone_is_a_setting(tmp_path: Path) -> None:
    server_config.init(tmp_path)
    (tmp_path / server_config.FILE).write_text('[speech]\nlanguage = "es"\nrecogniser = "none"\n')
    assert server_config.spoken_language(server_config.load(tmp_path)).code == "es"
