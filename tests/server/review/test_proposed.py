"""Words outside the vocabulary: collected, added as another word for a thing, and understood from then on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from server.dataset import own_words, wording
from server.dataset.own_words import OwnWordsFile
from server.review import proposed, rereading
from shared import vocabulary
from shared.errors import ConfigError
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment, sound, spoken
from tests.server.review.deciding import NOW_S, decide, name, row_of


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    yield
    vocabulary.use_own_words({})


@pytest.mark.parametrize(
    ("text", "unknown", "offered"),
    [
        ("a plank ahead", "plank", "Caution, obstacle ahead."),
        ("Caution, plank on the left.", "plank", "Caution, obstacle on the left."),
        ("garden hose on the right", "garden hose", "Caution, obstacle on the right."),
        ("stop, plank", "plank", "Stop, obstacle ahead."),
        ("no plank ahead", "", ""),
        ("it is safe, plank ahead", "", ""),
        ("go, plank ahead", "plank", ""),
        ("plank and hose, bin ahead", "", "Caution, bin ahead."),
        ("plank", "", ""),
        ("mind the stiars", "", "Stop, stairs down ahead."),
        ("a plank ahead " * 30, "", ""),
        ("a \x1b[31mplank ahead", "", ""),
    ],
)
def test_an_unknown_thing_is_named_and_called_an_obstacle_and_never_walked_into(
    text: str, unknown: str, offered: str
) -> None:
    assert wording.unknown_thing(text) == unknown
    assert next(iter(wording.suggestions(text)), "") == offered


@pytest.mark.both_databases
def test_words_are_collected_added_and_understood_also_in_what_was_said_before(desk: House) -> None:
    desk.send_all([moment(n, seed=0, raw_output="") for n in range(3)])
    said = spoken(name(2), sound(5))
    desk.send(said)
    heard = {"transcript": "plank on the left", "confidence": 0.9}
    desk.merge.put_transcript("pi-1", said.record.correction_id, **heard, proposal="")  # type: ignore[arg-type]
    for n, who in ((0, "Ana"), (1, "Ben"), (1, "Ben")):
        assert proposed.collect(desk.store, name(n), "a plank ahead", who, now_s=NOW_S + n) == "plank"
    assert proposed.collect(desk.store, name(0), "no plank ahead", "Ana", now_s=NOW_S) == ""
    listed = json.loads(server(desk.home, "vocabulary", "proposed", "--json").stdout)
    (word,) = listed
    assert (word["words"], word["count"]) == ("plank", 3)
    assert set(word["people"]) == {"Ana", "Ben", proposed.HEARD}
    assert "plank   3 moments" in server(desk.home, "vocabulary", "proposed").stdout

    watched = OwnWordsFile(desk.home)
    assert rereading.round_of(watched, desk.store, desk.merge) == 0
    assert server(desk.home, "vocabulary", "add", "Plank", "obstacle").returncode == 0
    vocabulary.use_own_words({})  # as in the process of a server that runs
    assert rereading.round_of(watched, desk.store, desk.merge) == 1
    row = row_of(desk, name(2))
    assert (row.llm_correction, row.state) == ("Caution, obstacle on the left.", "pending")
    assert proposed.listed(desk.store) == []
    assert rereading.round_of(watched, desk.store, desk.merge) == 0
    (done,) = decide(desk, row.row_id, by="Ana")
    assert done.ground_truth == "Caution, obstacle on the left."


def test_adding_raises_the_version_and_keeps_what_a_person_wrote(desk: House) -> None:
    path = desk.home / own_words.FILE
    path.write_text('# of our street\n"wheelie bin" = "bin"  # green\n', encoding="utf-8")
    assert own_words.version(desk.home) == 0
    assert own_words.add(desk.home, " Plank ", "obstacle") == 1
    assert own_words.add(desk.home, "Brett", "obstacle") == 2
    assert path.read_text(encoding="utf-8") == (
        '# version 2\n# of our street\n"wheelie bin" = "bin"  # green\n"plank" = "obstacle"\n"brett" = "obstacle"\n'
    )
    before = path.read_bytes()
    for words, thing in (
        ("plank", "dustbin"),
        ("no way", "bin"),
        ("", "bin"),
        ('x" = "bin"\ny', "bin"),
        ("bin", "cone"),
    ):
        with pytest.raises(ConfigError):
            own_words.add(desk.home, words, thing)
    assert path.read_bytes() == before
    assert vocabulary.read("plank ahead").taught_as == "Caution, obstacle ahead.", "what was added is still used"


def test_what_nobody_wants_is_dropped_and_a_script_cannot_fill_the_disk(
    desk: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposed, "ROWS_MOST", 3)
    for n in range(5):
        proposed.collect(desk.store, f"m{n}", "a plank ahead", "Ana", now_s=NOW_S)
    assert proposed.listed(desk.store)[0].count == 3
    assert server(desk.home, "vocabulary", "drop", "plank").returncode == 0
    assert server(desk.home, "vocabulary", "drop", "plank").returncode == 1
    assert "No words were proposed" in server(desk.home, "vocabulary", "proposed").stdout
