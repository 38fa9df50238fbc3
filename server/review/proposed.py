"""Words that people used for things and the vocabulary does not know: collected for whoever runs the server.

Where words are refused and one thing in them is unknown ("a plank ahead"), the nearest thing that can be said is an
obstacle there (`server.dataset.wording` offers it), and "plank" is kept here, with the moments and the people. An admin
makes it another word for a thing (`server.dataset.own_words`), or drops it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, func, select

from server.database import review_tables as tables
from server.database import upserting
from server.database.store import Store
from server.dataset import wording
from server.dataset.sample_row import SampleRow
from server.review import decisions

EXAMPLES, MOST, MAX_WORDS = 5, 200, 96
LOOKED_THROUGH = 1000
"""Moments of the queue's beginning in which wearers' own words are looked for."""
ROWS_MOST = 20_000
"""Beyond that nothing is collected: a person or a script that types anything must not fill the disk."""
HEARD = "(heard)"
"""In the place of a person: the wearer's own words, as the recogniser or the device heard them."""


@dataclass(frozen=True, slots=True)
class ProposedWord:
    """Words for a thing that the vocabulary does not know."""

    words: str
    count: int
    """Moments that they were used of."""
    people: tuple[str, ...]
    texts: tuple[str, ...]
    """Some of what was typed or heard, the newest first."""
    sample_ids: tuple[str, ...]
    """Some of the moments, the newest first."""


def collect(store: Store, sample_id: str, text: str, person: str, *, now_s: float) -> str:
    """Keep the unknown thing of words that were refused, once for each moment; returns it, "" = there is none."""
    words = wording.unknown_thing(text)[:MAX_WORDS]
    if not words:
        return ""
    table = tables.proposed_words
    with store.writing() as connection:
        if int(connection.execute(select(func.count()).select_from(table)).scalar_one()) < ROWS_MOST:
            values = {"words": words, "sample_id": sample_id, "at": now_s, "person": person}
            plain = " ".join(text.split())[: wording.MAX_TEXT]
            connection.execute(upserting.replace(connection, table).values(**values, text=plain))
    return words


def listed(store: Store, waiting: Iterable[SampleRow] = ()) -> list[ProposedWord]:
    """The words that are still unknown, the most frequent first.

    waiting: moments whose words were not understood; what wearers said of them counts, too
    """
    table = tables.proposed_words
    with store.reading() as connection:
        kept = connection.execute(select(table).order_by(table.c.at.desc())).all()
    found: defaultdict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for row in kept:
        if wording.unknown_thing(row.text):  # else somebody has made it known meanwhile
            found[row.words].append((row.sample_id, row.person, row.text))
    for sample_id, text in _heard(waiting):
        found[wording.unknown_thing(text)].append((sample_id, HEARD, text))
    words = [_told(name, uses) for name, uses in found.items()]
    return sorted(words, key=lambda word: (-word.count, word.words))[:MOST]


def _heard(waiting: Iterable[SampleRow]) -> Iterable[tuple[str, str]]:
    for row in waiting:
        text = decisions.unread_words(row)
        if row.correction_id and decisions.not_understood(row) and wording.unknown_thing(text):
            yield row.sample_id, text


def _told(words: str, uses: list[tuple[str, str, str]]) -> ProposedWord:
    moments, people, texts = (tuple(dict.fromkeys(use[at] for use in uses)) for at in range(3))
    return ProposedWord(words, len(moments), people[:EXAMPLES], texts[:EXAMPLES], moments[:EXAMPLES])


def drop(store: Store, words: str) -> int:
    """Forget words that nobody wants; returns from how many moments."""
    table = tables.proposed_words
    with store.writing() as connection:
        return int(connection.execute(delete(table).where(table.c.words == words.casefold())).rowcount)
