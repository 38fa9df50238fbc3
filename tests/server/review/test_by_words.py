"""The index of words says what a look through all words would say, and keeps nothing of what is gone."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace
from typing import Any, get_args

import pytest
from sqlalchemy import Connection, Select, delete, event, func, insert, select, text, update

from server.access.person import Person, Role
from server.database import review_tables as tables
from server.database.store import Store, open_store
from server.dataset import row_log, search_index, sought
from server.dataset.sample_row import SampleRow, State
from server.maintenance import check_folds
from server.maintenance.check import check
from server.review import by_words, narrowing, searching
from server.review.moment_filter import MomentFilter
from server.review.searching import Search
from shared.clock import SystemClock
from shared.messages import EraseRecord
from tests.server.database.stored import readable
from tests.server.database.test_parts_by_hash import moved
from tests.server.dataset.moments import House, moment, sound, spoken
from tests.server.review.deciding import decide, name, row_of

WORDS = (
    "Über", "kante", "stop", "Stopped", "a", "to", "縁石あり", "i\u0307stanbul", "head-height", "it's", "x" * 40, "%_",
)  # fmt: skip
NEEDLES = (
    "ÜBER", "ant", "stop", "top", "to", "a", "石", "縁石あ", "i\u0307st", "head-h", "t's", "xxx", "%_", "none", "e|o",
)  # fmt: skip
FLAGS = ("wearer", "audit", "low_confidence")
STATES = get_args(State)
EVERYBODY = ("Ada", "Bea", "")
NOBODYS = Person("Ben", Role.CAREGIVER, frozenset())
BEAS = Person("Ben", Role.CAREGIVER, frozenset({"Bea"}))


def row_with(number: int, draw: random.Random, *, version: int = 1) -> SampleRow:
    said = " ".join(draw.choices(WORDS, k=draw.randrange(5)))
    truth = draw.choice(("", "Caution, cone ahead.", "Duck, head obstacle ahead."))
    return SampleRow(
        row_id=f"m-{number}#{version}",
        sample_id=f"m-{number}",
        frame_path="frames/a.jpg",
        audio_path="audio/a.wav",
        instruction="",
        spoken=said,
        ground_truth=truth,
        timestamp=float(number),
        speaker_id=draw.choice(EVERYBODY),
        device="pi-1",
        walk_id=f"w{number % 3}",
        flags=tuple(flag for flag in FLAGS if draw.random() < 0.4),
        reviewed=draw.random() < 0.3,
    )


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(the database, its newest rows): written, written anew, and some forgotten."""
    draw, rows = random.Random(3), dict[str, SampleRow]()
    with closing(open_store(tmp_path_factory.mktemp("words"))) as store:
        for version in (1, 2):
            for start in range(0, 80, 20):
                fresh = [row_with(n, draw, version=version) for n in range(start, start + 20) if version * n % 3 != 2]
                with store.writing() as connection:
                    row_log.insert_rows(connection, fresh, known=rows.keys(), now_s=5.0)
                rows |= {row.sample_id: row for row in fresh}
        gone = sorted(rows)[::9]
        with store.writing() as connection:
            sought.forget(connection, gone)
            for table in tables.ABOUT_MOMENTS:
                connection.execute(delete(table).where(table.c.sample_id.in_(gone)))
        yield store, {sample_id: row for sample_id, row in rows.items() if sample_id not in gone}


def searches() -> list[dict[str, Any]]:
    some: list[dict[str, Any]] = [{"words": word} for word in NEEDLES]
    some += [{"words": f"{one} {other}"} for one in NEEDLES[:5] for other in NEEDLES[4:9]]
    some += [{"flag": "audit"}, {"flag": "aud"}, {"thing": "cone"}, {"thing": "obstacle"}, {"words": "  "}]
    some += [{"words": "stop", "flag": "audit"}, {"words": "an", "thing": "head obstacle"}]
    some += [{"words": "stop", "seen_by": who} for who in (BEAS, NOBODYS)]
    return [*some, {"words": "stop", "wearer": "Ada"}, {"words": "kante", "walk": "w1"}, {"words": "a", "since": 40.0}]


def looked_through(store: Store, rows: dict[str, SampleRow], wanted: MomentFilter) -> set[str]:
    """What a look at every narrow row gives."""
    with store.reading() as connection:
        narrow = {row.sample_id: row for row in connection.execute(select(tables.sought))}
    assert narrow.keys() == rows.keys()

    def meant(own: Any, row: SampleRow) -> bool:
        held = all(word in own.words for word in wanted.words.casefold().split())
        listed = all(
            not name or f"|{name}|" in names for name, names in ((wanted.thing, own.things), (wanted.flag, own.flags))
        )
        seen = wanted.seen_by is None or row.speaker_id in (wanted.seen_by.wearers or ())
        named = wanted.wearer in ("", row.speaker_id) and wanted.walk in ("", row.walk_id)
        return held and listed and seen and named and row.timestamp >= (wanted.since or 0.0)

    return {sample_id for sample_id, own in narrow.items() if meant(own, rows[sample_id])}


@pytest.mark.parametrize(("most_sorted", "most_terms"), [(5_000, 64), (0, 64), (3, 1), (3, 0)])
def test_every_way_of_looking_finds_what_a_look_through_all_words_finds(
    known: tuple[Store, dict[str, SampleRow]], most_sorted: int, most_terms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rows = known
    monkeypatch.setattr(narrowing, "SORTED", most_sorted)
    monkeypatch.setattr(narrowing, "SORTED_BY_WORDS", most_sorted)
    monkeypatch.setattr(by_words, "MOST_TERMS", most_terms)
    some = 0
    for one in searches():
        wanted = MomentFilter(state="all", **one)
        right = looked_through(store, rows, wanted)
        some += bool(right)
        assert {row.sample_id for row in searching.find(store, wanted, now_s=0.0, limit=99)} == right, one
        counted = {
            state: sum(rows[one].state == state for one in right) for state in ("pending", "reviewed", "rejected")
        }
        assert searching.counts(store, wanted) == counted, one
        for most in (0, 2, 99):
            told = searching.counts(store, wanted, most)
            assert told == {state: min(number, most + 1) for state, number in counted.items()}, one
    assert some > 20, "searches that find something"


def test_rows_and_index_say_the_same_after_all_that_was_written(known: tuple[Store, dict[str, SampleRow]]) -> None:
    with known[0].writing() as connection:
        assert list(search_index.differences(connection)) == []
        before = connection.execute(select(func.count()).select_from(tables.search_postings)).scalar_one()
        search_index.make_again(connection)
        assert list(search_index.differences(connection)) == []
        assert connection.execute(select(func.count()).select_from(tables.search_postings)).scalar_one() == before > 200


@pytest.mark.both_databases
@pytest.mark.parametrize("words", ["often seldom", "seldom often"])
def test_of_words_that_are_both_in_many_moments_the_rarer_is_looked_at_first(desk: House, words: str) -> None:
    desk.send_all([moment(n, spoken="often" if n % 4 else "often seldom") for n in range(32)])
    with desk.store.reading() as connection:
        meant = by_words.look_up(connection, words=words, thing="", flag="")
        seldom = by_words.look_up(connection, words="seldom", thing="", flag="").terms[0]
        often = by_words.look_up(connection, words="often", thing="", flag="").terms[0]
        first = by_words.rarest(connection, meant, "pending", most=4)
        is_planned = connection.dialect.name == "postgresql"
    assert first == by_words.RarestTerms(seldom, is_few=False, beside=() if is_planned else (often,))


def test_sqlite_goes_once_through_lists_that_are_about_as_long_and_looks_into_a_much_longer_one(
    known: tuple[Store, dict[str, SampleRow]],
) -> None:
    """To look for each moment of the one in the other takes ten times as long as a step in it."""
    with known[0].reading() as connection:
        meant = by_words.look_up(connection, words="kante über", thing="", flag="audit")
        first = by_words.rarest(connection, meant, "pending", most=0)
        assert first is not None
        assert len(first.beside) == 2
        merged, looked = (
            "\n".join(planned(connection, by_words.counting(meant, one, "pending", [])))
            for one in (first, replace(first, beside=()))
        )
    assert merged.count("MERGE (INTERSECT)") == 2
    assert "TEMP B-TREE" not in merged, "nothing is sorted"
    assert "CORRELATED" not in merged
    assert "MERGE" not in looked
    assert looked.count("CORRELATED") == 2


@pytest.mark.parametrize(("words", "merged"), [("often seldom", 1), ("often eldo", 0), ("ten seldom", 0)])
def test_what_several_terms_mean_is_merged_only_where_it_is_short(desk: House, words: str, merged: int) -> None:
    """SQLite sorts it first: a word and a part of forty words took ten times as long to count, to a bound."""
    others = ("kitten", "mitten", "written", "eaten", "beaten", "golden") if "ten" in words.split() else ("other",)
    spoken = [f"often {others[n % len(others)]}" if n % 4 else "often seldom beldon" for n in range(64)]
    desk.send_all([moment(n, spoken=one) for n, one in enumerate(spoken)])
    with desk.store.reading() as connection:
        meant = by_words.look_up(connection, words=words, thing="", flag="")
        first = by_words.rarest(connection, meant, "pending", most=4)
        is_planned = connection.dialect.name == "postgresql"
    assert first is not None
    assert len(first.beside) == (0 if is_planned else merged)


def planned(connection: Connection, query: Select[Any]) -> list[str]:
    """The steps by which SQLite answers it."""
    literal = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    return [row.detail for row in connection.execute(text(f"EXPLAIN QUERY PLAN {literal}"))]


@pytest.mark.parametrize("count", [1, 40])
def test_a_page_and_its_numbers_look_for_the_same_once(
    desk: House, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """A page of the words of a wearer took a fifth of its time for it."""
    monkeypatch.setattr(narrowing, "SORTED_BY_WORDS", 4)
    desk.send_all([moment(n, spoken="often kerb" if n < count else "often", wearer="Bea") for n in range(42)])
    wanted, asked = MomentFilter(words="often kerb", wearer="Bea"), list[str]()
    with desk.store.reading() as connection:
        search = Search(connection, wanted)
        event.listen(connection, "before_cursor_execute", lambda *told: asked.append(told[2]))
        assert search.counts(most=9)["pending"] == min(count, 10)
        looked = len(asked)
        assert len(search.find(limit=5)) == min(count, 5)
    own = [one for one in asked[looked:] if "FROM search_terms" in one or "FROM samples" not in one]
    assert own == []


@pytest.mark.both_databases
def test_an_index_of_before_it_knew_states_and_wearers_becomes_one_of_today(desk: House) -> None:
    desk.send_all([moment(n, raw_output="Caution, cone ahead.", wearer="Bea" if n else "Ada") for n in range(3)])
    decide(desk, row_of(desk, name(1)).row_id, by="Ana", action="nothing")
    with desk.store.reading() as connection:
        known = sorted(map(tuple, connection.execute(select(tables.search_postings))))
    moved(desk.store.engine, "0023")
    with desk.store.engine.connect() as connection:
        kinds = connection.execute(select(tables.search_terms.c.kind).distinct()).scalars().all()
        before = connection.execute(text("SELECT term, moment FROM search_postings")).all()
        named = connection.execute(select(tables.sought.c.terms)).scalars().all()
    assert "wearer" not in kinds
    assert len(before) == len(known) - 3 == sum(map(len, named)), "but for whose they are"
    moved(desk.store.engine, "head")
    with desk.store.reading() as connection:
        assert list(search_index.differences(connection)) == []
        assert len(connection.execute(select(tables.search_postings)).all()) == len(known)
    assert searching.count(desk.store, MomentFilter(words="cone", wearer="Bea", state="all")) == 2
    assert searching.count(desk.store, MomentFilter(words="cone", wearer="Bea", state="reviewed")) == 1


@pytest.mark.both_databases
def test_an_index_of_before_it_knew_the_order_of_the_queue_becomes_one_of_today(desk: House) -> None:
    desk.send_all([moment(n, raw_output="Caution, cone ahead.", flags=("audit",) if n % 2 else ()) for n in range(5)])
    decide(desk, row_of(desk, name(1)).row_id, by="Ana", action="nothing")
    with desk.store.reading() as connection:
        known = sorted(connection.execute(select(tables.sought)).mappings(), key=lambda row: row["number"])
        assert len({row["priority"] for row in known}) > 1
    before = [row.sample_id for row in searching.find(desk.store, MomentFilter(words="cone", state="all"))]
    moved(desk.store.engine, "0025")
    moved(desk.store.engine, "head")
    with desk.store.reading() as connection:
        assert sorted(connection.execute(select(tables.sought)).mappings(), key=lambda row: row["number"]) == known
    found = [row.sample_id for row in searching.find(desk.store, MomentFilter(words="cone", state="all"))]
    assert found == before


@pytest.mark.both_databases
def test_a_word_without_end_is_found_by_any_part_of_it(desk: House) -> None:
    """As PostgreSQL takes no long key into an index: a moment with such a word would never be taken."""
    drawn = random.Random(3)
    letters = "".join(chr(drawn.randrange(0x4E00, 0x9F00)) for _ in range(sought.MOST_WORDS))
    desk.send_all([moment(0, spoken=letters), moment(1, spoken=letters[:700])])
    for start, end, count in ((0, 3, 2), (700, 1000, 1), (500, 699, 2), (690, 720, 1), (1000, 1999, 1)):
        assert searching.count(desk.store, MomentFilter(words=letters[start:end])) == count, start
    wrong = letters[:200] + letters[201:300]
    assert searching.count(desk.store, MomentFilter(words=wrong)) == 0
    assert list(check_folds.differences(desk.store)) == []
    wish = EraseRecord("e-1", "pi-1", 5.0, record_ids=(name(0), name(1)))
    assert desk.merge.put_record("pi-1", "erase", wish).state == "merged"
    with desk.store.reading() as connection:
        assert connection.execute(select(func.count()).select_from(tables.search_terms)).scalar_one() == 0


def test_a_word_that_only_an_erased_moment_had_is_nowhere_in_the_home(desk: House) -> None:
    """Plain tables, overwritten: without `search_index.take` or `secure_delete` the word is found here."""
    said = spoken(name(0), sound(3))
    desk.send_all([moment(0), moment(1), said])
    desk.merge.put_transcript(
        "pi-1", said.record.correction_id, transcript="Zwetschgenbaum links", confidence=0.9, proposal=""
    )
    wanted = MomentFilter(words="schgenb")
    assert searching.count(desk.store, wanted) == 1
    for record in (name(0), said.record.correction_id):
        wish = EraseRecord(f"e-{record}", "pi-1", 5.0, record_ids=(record,))
        assert desk.merge.put_record("pi-1", "erase", wish).state == "merged"
    assert searching.count(desk.store, wanted) == 0
    assert desk.store.wipe()
    files = [path for path in desk.home.rglob("*") if path.is_file()]
    assert [path.name for path in files if b"zwetschgenbaum" in readable(path).lower()] == []
    with desk.store.reading() as connection:
        assert list(search_index.differences(connection)) == []


@pytest.mark.both_databases
def test_an_erased_moment_is_gone_from_an_index_that_was_damaged(desk: House) -> None:
    """What it was searched by are its words and its wearer's name."""
    own, postings = tables.sought.c, tables.search_postings
    names, row = [name(n) for n in range(5)], update(tables.sought)
    desk.send_all([moment(n, raw_output="Caution, cone ahead.", wearer=f"Bea-{n}") for n in range(5)])
    damage = (
        row.where(own.sample_id == name(0)).values(state="lost"),
        row.where(own.sample_id == name(1)).values(state="reviewed"),
        row.where(own.sample_id == name(2)).values(terms=[]),
        row.where(own.sample_id == name(3)).values(terms=[1, 2, 999]),
        update(postings).where(postings.c.moment == 5).values(state=2),
    )
    with desk.store.writing() as connection:
        for statement in damage:
            connection.execute(statement)
    wish = EraseRecord("e-1", "pi-1", 5.0, record_ids=tuple(names))
    assert desk.merge.put_record("pi-1", "erase", wish).state == "merged"
    with desk.store.reading() as connection:
        for table in (tables.sought, tables.search_postings, tables.search_terms):
            assert connection.execute(select(table)).all() == []


def test_a_check_names_what_a_search_would_find_wrongly_and_a_repair_mends_it(desk: House) -> None:
    desk.send_all([moment(n, raw_output="Caution, cone ahead.") for n in range(3)])
    desk.close()
    own, postings = tables.sought.c, tables.search_postings
    damage = (
        delete(postings).where(postings.c.moment == 1),
        insert(postings).values(term=1, state=0, moment=77),
        insert(postings).values(term=99, state=0, moment=1),
        update(postings).where(postings.c.moment == 1).values(state=2),
        update(tables.search_terms).where(tables.search_terms.c.term == "cone").values(term="door"),
        update(tables.sought).where(own.sample_id == name(1)).values(terms=[]),
        update(tables.sought).where(own.sample_id == name(1)).values(words="something else"),
        update(tables.sought).where(own.sample_id == name(1)).values(state="reviewed"),
        update(tables.sought).where(own.sample_id == name(1)).values(state="lost"),
        update(tables.sought).where(own.sample_id == name(1)).values(wearer="Eve"),
        delete(tables.sought).where(own.sample_id == name(1)),
        update(tables.sought).where(own.sample_id == name(1)).values(sample_id="pi-1-nobody"),
    )
    for statement in damage:
        with closing(open_store(desk.home)) as store:
            with store.writing() as connection:
                connection.execute(statement)
            assert list(check_folds.differences(store)), statement
        found = check(desk.home, SystemClock(), repair=True).findings
        assert {finding.what for finding in found} <= {"moment out of date", "search out of date"}, statement
        with closing(open_store(desk.home)) as store:
            assert list(check_folds.differences(store)) == [], statement
            assert searching.count(store, MomentFilter(words="cone", thing="cone")) == 3, statement
