"""The grammar lets through what may be said, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from shared import vocabulary
from shared.runtime import grammar as grammars
from shared.runtime.grammar import START, Grammar
from shared.runtime.language import TOKENIZER
from tests.shared.runtime.plain import Listed, sentences

SENTENCES = sentences()


@pytest.fixture(scope="module")
def grammar(starter_bundle: Path, listed: Listed) -> Grammar:
    return grammars.build(Tokenizer.from_file(str(starter_bundle / TOKENIZER)), listed.end_id)


def test_it_has_all_that_a_walker_needs() -> None:
    known = set(SENTENCES)
    for name in vocabulary.load().objects:
        for side in vocabulary.load().sides:
            assert vocabulary.instruct(name, side) in known
    assert {vocabulary.CLEAR, "Wait, walk signal red.", "Stop, vehicle approaching left.", "Turn right."} <= known
    for never in ("Stop, path is clear.", "Keep, dog ahead.", "Caution, stairs up going down."):
        assert never not in known


def test_the_automaton_is_the_list_of_sentences_in_tokens(grammar: Grammar, listed: Listed) -> None:
    """Each beginning allows the same next tokens as the sentences, tokenised whole, that begin so."""
    assert all(grammar.after(ids) is not None for ids in listed.spelt)
    for beginning, tokens in listed.after.items():
        state = grammar.after(beginning)
        assert state is not None
        assert set(grammar.nodes[state]) == tokens
    assert grammar.longest() == max(map(len, listed.spelt))
    assert set(grammar.tokens()) == {token for ids in listed.spelt for token in ids}


def test_a_word_outside_leaves_the_grammar(grammar: Grammar, listed: Listed) -> None:
    ids = listed.spelt[0]
    assert grammar.after([*ids[:2], ids[0]]) is None
    assert grammar.after([max(grammar.tokens()) + 1]) is None
    assert grammar.after([]) == START


def test_choices_rise_so_that_the_first_of_equals_wins_as_over_the_whole_row(grammar: Grammar) -> None:
    tokens, states = grammar.choices(START)
    assert list(tokens) == sorted(grammar.nodes[START])
    assert [grammar.nodes[START][int(token)] for token in tokens] == list(states)
    assert tokens.dtype == np.int64


def test_where_there_is_no_choice_the_rest_is_known(grammar: Grammar, listed: Listed) -> None:
    clear = listed.spelt[-1]
    fixed = next(
        at for at in range(len(clear)) if all(len(listed.after[clear[:b]]) == 1 for b in range(at, len(clear)))
    )
    state = grammar.after(clear[:fixed])
    assert state is not None
    assert grammar.forced(state, 99) == clear[fixed:]
    assert grammar.forced(state, 1) == clear[fixed : fixed + 1]
    assert grammar.forced(START, 99) == ()
