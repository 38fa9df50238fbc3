"""Corrections that were heard and not understood, read again once the server's own words have become others.

"plank ahead" was no sentence; from the minute in which "plank" is another word for an obstacle it is a proposal, for a
person to confirm. What a person has decided stays.
"""

from __future__ import annotations

from sqlalchemy import select

from server.database import store as db
from server.database.store import Store
from server.dataset.merge import Merge
from server.dataset.own_words import OwnWordsFile
from shared.languages import Language
from shared.speech import Transcript, proposal

EVERY_S = 20.0


def round_of(words: OwnWordsFile, store: Store, merge: Merge, language: Language | None = None) -> int:
    """Look whether the own words are others, and then read what was not understood; returns how many became proposals.

    raises: ConfigError where the file is wrong; OSError
    """
    return reread(store, merge, language) if words.refresh() else 0


def reread(store: Store, merge: Merge, language: Language | None = None) -> int:
    """Read every correction again that was heard and not understood; returns how many are proposals now."""
    table = db.records.c
    query = select(table.device, table.record_id, table.transcript, table.heard_confidence)
    with store.reading() as connection:
        heard = connection.execute(query.where(table.transcript != "", table.proposal == "")).all()
    changed = 0
    for device, name, text, confidence in heard:
        words = proposal(Transcript(text, confidence or 0.0), language)
        if words:
            merge.put_transcript(device, name, transcript=text, confidence=confidence or 0.0, proposal=words)
            changed += 1
    return changed
