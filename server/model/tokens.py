"""The starter's own small tokenizer: byte-level BPE over every sentence the vocabulary can make.

Byte-level, so any text can be encoded and the decoding code is the one SmolVLM's tokenizer uses too.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from shared import prompt, vocabulary

VOCABULARY_SIZE = 896
OFTEN = 400


def sentences(objects: Collection[str] | None = None) -> Iterator[str]:
    """Every canonical sentence about these objects (None = all), with every synonym in its object's place."""
    terms = vocabulary.load()
    chosen = [term for name, term in terms.objects.items() if objects is None or name in objects]
    words = " ".join(_words(terms, chosen))
    openers = [f" {opener.capitalize()}," for opener in terms.openers]
    for _ in range(OFTEN):  # rare in the list, in every answer: each becomes one token
        yield prompt.before_image() + prompt.after_image()
        yield f" {vocabulary.CLEAR} {words}"
        yield "".join(openers)
    for term in chosen:
        modifiers = ("", *terms.modifiers, *term.states)
        for name, side, modifier in itertools.product((term.name, *term.synonyms), terms.sides, modifiers):
            yield " ".join(filter(None, (openers[0], name, modifier, side))) + "."


def _words(terms: vocabulary.Vocabulary, chosen: Sequence[vocabulary.ObjectTerm]) -> list[str]:
    """Every single word of these objects, and of all that may stand around them."""
    phrases = [*terms.openers, *terms.sides, *terms.modifiers, *terms.glue]
    phrases += [phrase for term in chosen for phrase in (term.name, *term.states)]
    return sorted({word for phrase in phrases for word in vocabulary.words(phrase)})


def build(objects: Collection[str] | None = None) -> PreTrainedTokenizerFast:
    """Train it on the sentences about these objects (None = all); deterministic, under a second."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(prompt.SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences(objects), trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers' own gap
        tokenizer_object=tokenizer,
        bos_token=prompt.START,
        eos_token=prompt.END,
        pad_token=prompt.END,
        additional_special_tokens=[prompt.IMAGE, prompt.IMAGE_EDGE, prompt.GLOBAL_IMAGE],
        chat_template=prompt.TEMPLATE,
    )
