"""Spoken corrections → words with any Whisper-type checkpoint: by hub name, by folder, or the packaged one.

Held to the sentences of a correction (server.speech.sentence_net) where its tokens can write them: what it gives back
is then a list of corrections with their log-probabilities, by beam search. A small Whisper hears "code on the
left" where "cone on the left" was said; held to what may be said it hears the cone. Otherwise it writes what it
likes.

It uses the numpy feature extractor and the checkpoint's own tokenizer: nothing but transformers and torch is needed.
Everything is loaded at the first sound. A name on the hub is fetched once; a folder is never looked for on the network.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    GenerationMixin,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from server.speech import ctranslate
from server.speech.sentence_net import SentenceNet
from shared import languages
from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import ConfigError
from shared.languages import Language
from shared.speech.phrases import phrases
from shared.speech.sound import spoken_part
from shared.speech.transcript import NOTHING, SENTENCES, SoundPass, Transcript, understood
from shared.wav import decode_sound

MAX_NEW_TOKENS = 32  # a correction is 3 to 8 words; a Whisper that runs on is making things up
BEAMS = 10
_NO_TIMES = "<|notimestamps|>"
_MULTILINGUAL_FROM = 51865  # tokens: those for one language have one less


@dataclass(frozen=True, slots=True)
class _Loaded:
    features: Any
    tokenizer: Any
    model: Any
    prompt: tuple[int, ...]
    """What a text begins with."""
    net: SentenceNet | None
    """None = its tokens cannot write the sentences."""


class WhisperTranscriber:
    """Transcriber over `WhisperForConditionalGeneration`. Safe from any thread; one sound at a time."""

    def __init__(self, model: str, *, language: Language | None = None) -> None:
        """model: a hub name, a folder of transformers or of CTranslate2, or ctranslate.PACKAGED. language: None =
        English"""
        self._name = model
        self._language = language or languages.load("en")
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    def open(self) -> None:
        """Load the model, which the first sound does otherwise. Raises: ConfigError."""
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self._name, self._language)

    def transcribe(self, wav: bytes) -> Transcript:
        """Confidence: held to sentences, the share of the guesses' probability that means the same; else the geometric
        mean of the tokens' probabilities.

        raises: MediaError where `wav` is no sound; ConfigError where the model can not be loaded
        """
        samples = spoken_part(decode_sound(wav))
        if not samples.size:
            return NOTHING
        self.open()
        with self._lock:
            loaded = self._loaded
            assert loaded is not None
            if loaded.net is None:
                return _transcribe(loaded, samples, self._language.code)
            return chosen(_guesses(loaded, loaded.net, samples), self._language)


def chosen(guesses: SoundPass, language: Language) -> Transcript:
    """The best guess, and how much of what was guessed means the same. Pure."""
    if not guesses.texts:
        return NOTHING
    shares: defaultdict[str, float] = defaultdict(float)
    for text, score in guesses.texts:
        shares[understood(text, language)] += math.exp(score - guesses.texts[0][1])
    best = guesses.texts[0][0]
    return Transcript(best, shares[understood(best, language)] / sum(shares.values()), (guesses,))


def _load(name: str, language: Language) -> _Loaded:
    try:
        features, tokenizer, model = _parts(name)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The Whisper model {name!r} can not be loaded ({error}).",
            hint='Set speech.model to a folder with the model, or speech.recogniser to "pocketsphinx".',
        ) from error
    model.eval()
    prompt = _prompt(tokenizer, model, language)
    net = _net(tokenizer, model, language) if prompt else None
    if net is not None:
        model.generation_config = _search(model.config)
    return _Loaded(features, tokenizer, model, prompt, net)


def _parts(name: str) -> tuple[Any, Any, Any]:
    folder = ctranslate.packaged_folder() if name == ctranslate.PACKAGED else Path(name)
    if ctranslate.is_ctranslate(folder):
        own_tokenizer, own = ctranslate.load(folder)
        features = WhisperFeatureExtractor(feature_size=own.config.num_mel_bins)  # type: ignore[no-untyped-call]
        return features, own_tokenizer, own
    local = folder.exists()
    features = WhisperFeatureExtractor.from_pretrained(name, local_files_only=local)
    tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local)
    return features, tokenizer, WhisperForConditionalGeneration.from_pretrained(name, local_files_only=local)


def _prompt(tokenizer: Any, model: Any, language: Language) -> tuple[int, ...]:
    """What Whisper's texts begin with: () where the tokenizer has no such tokens."""
    start, no_times = model.config.decoder_start_token_id, tokenizer.get_vocab().get(_NO_TIMES)
    if no_times is None:
        return ()
    if model.config.vocab_size < _MULTILINGUAL_FROM:
        return (start, no_times)
    return (start, *tokenizer.convert_tokens_to_ids([f"<|{language.code}|>", "<|transcribe|>"]), no_times)


def _search(config: Any) -> GenerationConfig:
    """Instead of the checkpoint's own, which suppresses tokens that the net may need."""
    return GenerationConfig(  # type: ignore[no-untyped-call]
        num_beams=BEAMS,
        num_return_sequences=BEAMS,
        length_penalty=0.0,
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.eos_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
    )


def _net(tokenizer: Any, model: Any, language: Language) -> SentenceNet | None:
    def encode(text: str) -> list[int]:
        tokens: list[int] = tokenizer.encode(text, add_special_tokens=False)
        return tokens if tokenizer.decode(tokens).strip() == text.strip() else []

    net = SentenceNet(phrases(language), encode, model.config.eos_token_id)
    return None if net.is_empty else net


@torch.inference_mode()
def _guesses(loaded: _Loaded, net: SentenceNet, samples: Any) -> SoundPass:
    """The likeliest sentences of the net, each once."""
    inputs = loaded.features(samples, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
    prompt = loaded.prompt
    # Not Whisper's own generate: it has rules of its own for what may come first, and decodes again where it doubts.
    out: Any = GenerationMixin.generate(
        loaded.model,
        encoder_outputs=loaded.model.model.encoder(inputs.input_features),
        decoder_input_ids=torch.tensor([prompt]),
        prefix_allowed_tokens_fn=lambda _, ids: net.following(tuple(ids.tolist()[len(prompt) :])),
    )
    texts: dict[str, float] = {}
    for tokens, score in zip(out.sequences, out.sequences_scores, strict=True):
        if loaded.model.config.eos_token_id not in tokens[len(prompt) :]:
            continue  # cut off: no sentence
        text = loaded.tokenizer.decode(tokens[len(prompt) :], skip_special_tokens=True)
        plain = " ".join(text.lower().replace(",", "").split()).rstrip(".")
        if plain and math.isfinite(float(score)):
            texts.setdefault(plain, float(score))
    return SoundPass(SENTENCES, tuple(texts.items()))


@torch.inference_mode()
def _transcribe(loaded: _Loaded, samples: Any, language: str) -> Transcript:
    features, tokenizer, model = loaded.features, loaded.tokenizer, loaded.model
    inputs = features(samples, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt", return_attention_mask=True)
    out = model.generate(
        inputs.input_features,
        attention_mask=inputs.attention_mask,
        max_new_tokens=MAX_NEW_TOKENS,
        num_beams=1,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        **_language(model, language),
    )
    text = tokenizer.decode(out.sequences[0], skip_special_tokens=True).strip()
    chosen = out.sequences[0, -len(out.scores) :] if out.scores else out.sequences[0, :0]
    logs = [float(torch.log_softmax(s[0], -1)[t]) for s, t in zip(out.scores, chosen, strict=True)]
    return Transcript(text, math.exp(sum(logs) / len(logs))) if text and logs else NOTHING


def _language(model: Any, language: str) -> dict[str, str]:
    """English-only checkpoints take no language; the others guess one unless told, and two seconds are too few."""
    multilingual = getattr(model.generation_config, "is_multilingual", False)
    return {"language": language, "task": "transcribe"} if multilingual else {}
