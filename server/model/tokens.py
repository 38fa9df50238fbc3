"""The starter's own small tokenizer: byte-level BPE over every sentence the vocabulary can make.

Byte-level, so any text can be encoded and the decoding code is the one SmolVLM's tokenizer uses too.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from shared import prompt, vocabulary

VOCABULARY_SIZE = 896
OFTEN = 400


def sentences() -> Iterator[str]:
    """Every canonical sentence, with every synonym in its object's place."""
    terms = vocabulary.load()
    for _ in range(OFTEN):  # rare in the list, in every answer: each becomes one token
        yield prompt.before_image() + prompt.after_image()
        yield f" {vocabulary.CLEAR} {' '.join(_single_words())}"
        yield "".join(f" {opener.capitalize()}," for opener in terms.openers)
    for term in terms.objects.values():
        for name in (term.name, *term.synonyms):
            for side in terms.sides:
                for modifier in ("", *terms.modifiers, *term.states):
                    yield (
                        " " + " ".join(filter(None, (f"{terms.openers[0].capitalize()},", name, modifier, side))) + "."
                    )


def _single_words() -> list[str]:
    terms = vocabulary.load()
    phrases = [*terms.openers, *terms.sides, *terms.modifiers, *terms.objects, *terms.glue]
    phrases += [state for term in terms.objects.values() for state in term.states]
    return sorted({word for phrase in phrases for word in vocabulary.words(phrase)})


def build() -> PreTrainedTokenizerFast:
    """Train it (deterministic, under a second)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(prompt.SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers' own gap
        tokenizer_object=tokenizer,
        bos_token=prompt.START,
        eos_token=prompt.END,
        pad_token=prompt.END,
        additional_special_tokens=[prompt.IMAGE, prompt.IMAGE_EDGE, prompt.GLOBAL_IMAGE],
        chat_template=prompt.TEMPLATE,
    )
