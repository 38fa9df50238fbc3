"""What a search for words, a thing or a flag means to the index (`server.dataset.search_index`).

A word that is looked for may stand anywhere in the words of a moment. Its letters are looked for among all terms, then
the moments of those terms are meant. Where a word has few letters, or stands in very many terms, or has more in it than
letters, the text of each moment that is left is looked through too: as all were before there was an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, false, func, select

from server.database import review_tables as tables
from server.database.words import holds
from server.dataset import search_index
from server.dataset.search_index import FLAG, THING, WORD

MOST_WORDS = 8
"""Of a search."""
MOST_TERMS = 64
"""That a word may stand in: a part like "e" is in most, and each costs a look for each moment."""
_NUMBER = tables.sought.c.number
_POSTINGS, _TERMS = tables.search_postings.c, tables.search_terms.c


@dataclass(frozen=True, slots=True)
class SoughtTerms:
    """What must hold of a moment: for each entry of `terms` one of its ids, and every text in its words."""

    terms: tuple[tuple[int, ...], ...] = ()
    texts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.terms or self.texts)

    @property
    def is_joint(self) -> bool:
        """There are more conditions than the one that the index has in one place."""
        return len(self.terms) > 1 or bool(self.texts)


ALL = SoughtTerms()


def look_up(connection: Connection, *, words: str, thing: str, flag: str) -> SoughtTerms:
    """What is meant by them; all empty = nothing is restricted."""
    terms, texts = list[tuple[int, ...]](), list[str]()
    for kind, name in ((THING, thing), (FLAG, flag)):
        if name:
            own = select(_TERMS.id).where(_TERMS.kind == kind, _TERMS.term == name)
            terms.append(tuple(connection.execute(own).scalars()))
    for word in dict.fromkeys(words.casefold().split()[:MOST_WORDS]):
        letters = search_index.letters_of(word)
        found = _holding(connection, letters) if letters else None
        if found is not None:
            terms.append(found)
        if found is None or letters != word:
            texts.append(word)
    return SoughtTerms(tuple(terms), tuple(texts))


def _holding(connection: Connection, letters: str) -> tuple[int, ...] | None:
    """Terms in which these letters stand, None = too many to be of use."""
    query = select(_TERMS.id).where(_TERMS.kind == WORD, holds(_TERMS.term, letters)).limit(MOST_TERMS + 1)
    found = tuple(connection.execute(query).scalars())
    return found if len(found) <= MOST_TERMS else None


def conditions(sought: SoughtTerms) -> list[ColumnElement[bool]]:
    """What holds of rows of `sought` that are looked at one after the other. Pure."""
    if not all(sought.terms):
        return [false()]
    found = [exists().where(_POSTINGS.term.in_(ids), _POSTINGS.moment == _NUMBER) for ids in sought.terms]
    return [*found, *(holds(tables.sought.c.words, text) for text in sought.texts)]


def first_of_all(connection: Connection, sought: SoughtTerms, *, most: int) -> tuple[list[ColumnElement[bool]], bool]:
    """(the same, with the rows of the rarest term looked for first; whether these are at most so many)"""
    sizes = {ids: _size(connection, ids, most=most) for ids in sought.terms}
    if not sizes or not all(sizes):
        return conditions(sought), False
    rarest = min(sizes, key=sizes.__getitem__)
    others = SoughtTerms(tuple(ids for ids in sought.terms if ids != rarest), sought.texts)
    return [_NUMBER.in_(_moments(rarest)), *conditions(others)], sizes[rarest] <= most


def _moments(ids: Sequence[int]) -> Select[Any]:
    return select(_POSTINGS.moment).where(_POSTINGS.term.in_(ids))


def _size(connection: Connection, ids: Sequence[int], *, most: int) -> int:
    """Postings of these, counted to `most` and one more."""
    some = _moments(ids).limit(most + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())
