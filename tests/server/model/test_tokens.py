"""The starter's tokenizer."""

from __future__ import annotations

import json
from functools import cache

import pytest
from transformers import PreTrainedTokenizerFast

from server.learn.bases import STARTER_FOLDER
from server.model import tokens
from server.model.checkpoint import EXTRA_FILE
from shared import prompt, vocabulary
from shared.runtime.language import MOST_TOKENS


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    return tokens.build()


def test_building_it_twice_gives_the_same_tokens() -> None:
    assert tokens.build().get_vocab() == tokenizer().get_vocab()
    assert len(tokenizer()) <= tokens.VOCABULARY_SIZE


def test_the_shipped_starter_has_the_tokenizer_that_the_code_builds() -> None:
    """Of the objects that there were when it was trained: one that is added since needs no new starter."""
    shipped = PreTrainedTokenizerFast.from_pretrained(STARTER_FOLDER)
    objects = json.loads((STARTER_FOLDER / EXTRA_FILE).read_text())["objects"]
    assert shipped.get_vocab() == tokens.build(objects).get_vocab()


def test_every_word_of_the_lexicon_comes_back() -> None:
    for word in sorted(vocabulary.lexicon()):
        for form in (f" {word}", f" {word.capitalize()},"):
            ids = tokenizer()(form, add_special_tokens=False).input_ids
            assert tokenizer().decode(ids) == form


@pytest.mark.parametrize("text", ["Größe 12 €", "مرحبا", "\n\t~", "👩‍🦯"])
def test_any_other_text_comes_back_too(text: str) -> None:
    assert tokenizer().decode(tokenizer()(text, add_special_tokens=False).input_ids) == text


def test_every_special_token_is_one_token() -> None:
    for token in prompt.SPECIAL_TOKENS:
        assert len(tokenizer()(token, add_special_tokens=False).input_ids) == 1


def test_every_answer_fits_into_what_a_device_decodes() -> None:
    texts = [vocabulary.CLEAR]
    for name, term in vocabulary.load().objects.items():
        texts += [vocabulary.instruct(name, side) for side in vocabulary.load().sides]
        texts += [
            vocabulary.instruct(name, side, modifier=m)
            for side in vocabulary.SIDES_SEEN
            for m in (*vocabulary.load().modifiers, *term.states)
        ]
    longest = max(texts, key=lambda t: len(tokenizer()(prompt.answer(t), add_special_tokens=False).input_ids))
    assert len(tokenizer()(prompt.answer(longest), add_special_tokens=False).input_ids) <= MOST_TOKENS, longest
