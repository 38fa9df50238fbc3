"""Spoken corrections → words with pocketsphinx: embedded, offline, no model to fetch.

It listens for the sentences of `shared.speech.grammar` only, which is what makes an old acoustic model good enough:
there are some hundred things to tell apart, not a language. It listens several times to slightly different views of
the sound (slower and deeper, as its model is used to; with and without a floor of noise, which hides what no room has)
and lets the hearings vote by meaning. A split vote is no understanding: a wrong hazard is worse than none.

source: voting over recognisers, Fiscus 1997 (ROVER); speed perturbation, Ko et al. 2015
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import ConfigError
from shared.languages import Language
from shared.languages.language import LanguageTables
from shared.speech import acoustic, grammar
from shared.speech.acoustic import AcousticFiles
from shared.speech.language_grammar import grammar_of
from shared.speech.sound import MARGIN_S, pitch_hz, spoken_part
from shared.speech.transcript import GRAMMAR, NOTHING, SoundPass, Transcript
from shared.speech.vote import is_speech, vote, vote_in
from shared.wav import decode_sound, resample

logger = logging.getLogger(__name__)

_SEARCH = "waycue"
_PROBE_S = 60.0
_PAD_S = 0.2  # the grammar ends in silence; a recording may not
_MOST_S = 8.0  # the last seconds of a longer sound are not listened to
_MOST_ROUTES = 100  # through the lattice; most of them say the same words at other times
_MOST_PATHS = 1000  # a frame; what is no speech keeps every path alive and would cost seconds


@dataclass(frozen=True, slots=True)
class SoundView:
    """One way to look at a sound."""

    speed: float
    """Below 1: played slower, and so deeper."""
    floor_db: float | None
    """Level of the white noise that is laid under and around it, of full scale; None = as it is."""


# The recogniser's model knows deep voices best: a high one is played slower, and so deeper.
HIGH_ABOVE_HZ = 165.0
LOW_VIEWS = (SoundView(1.0, -45.0), SoundView(1.0, None), SoundView(0.95, -45.0))
HIGH_VIEWS = (SoundView(0.9, -45.0), SoundView(0.9, None), SoundView(0.85, -45.0))


class PocketsphinxTranscriber:
    """Transcriber over the vocabulary's grammar. Safe from any thread; one sound at a time."""

    def __init__(self, language: Language, files: AcousticFiles | None = None) -> None:
        """files: shared.speech.acoustic.files_for the language; None = English, which pocketsphinx brings along"""
        self._lock = threading.Lock()
        self._decoder: Any = None
        self._language = language
        self._files = files

    def open(self) -> None:
        """Load the model, which the first sound does otherwise. Raises: ConfigError."""
        with self._lock:
            if self._decoder is None:
                self._decoder = self._opened()

    def transcribe(self, wav: bytes) -> Transcript:
        """Raises: MediaError where `wav` is no sound; ConfigError where the grammar can not be used."""
        samples = spoken_part(decode_sound(wav))
        if not samples.size:
            return NOTHING
        self.open()
        with self._lock:
            samples = samples[: int(_MOST_S * SAMPLE_RATE_HZ)]
            passes = tuple(listen(self._decoder, seen(samples, view)) for view in views(samples))
        hearings = [one.texts[0][0] if one.texts else "" for one in passes]
        spoken_s = samples.size / SAMPLE_RATE_HZ - 2 * MARGIN_S
        if self._language.tables is None:
            voted = vote(hearings, spoken_s=spoken_s)
        else:
            voted = vote_in(self._language, hearings, spoken_s=spoken_s)
        return replace(voted, passes=passes if is_speech(hearings, spoken_s=spoken_s) else ())

    def _opened(self) -> Any:
        tables = self._language.tables
        if tables is None or self._files is None:
            return _decoder()
        return _decoder_of(tables, self._files)


def views(samples: NDArray[np.float32]) -> tuple[SoundView, ...]:
    """How to look at a sound, float32 [n] at SAMPLE_RATE_HZ, by the pitch of its voice."""
    return HIGH_VIEWS if pitch_hz(samples) > HIGH_ABOVE_HZ else LOW_VIEWS


def seen(samples: NDArray[np.float32], view: SoundView) -> NDArray[np.float32]:
    """A view of a sound, float32 [n] at SAMPLE_RATE_HZ. The same noise every time: it is always heard the same."""
    slowed = resample(samples, round(SAMPLE_RATE_HZ * view.speed), SAMPLE_RATE_HZ)
    if view.floor_db is None:
        return slowed
    padded = np.pad(slowed, int(_PAD_S * SAMPLE_RATE_HZ))
    noise = np.random.default_rng(0).standard_normal(padded.size, dtype=np.float32)
    return padded + noise * np.float32(10 ** (view.floor_db / 20))


def listen(decoder: Any, samples: NDArray[np.float32]) -> SoundPass:
    """One pass over the whole sound, float32 [n] at SAMPLE_RATE_HZ: the words and what they may have been instead."""
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    decoder.start_utt()
    decoder.process_raw(pcm, no_search=False, full_utt=True)
    decoder.end_utt()
    best = decoder.hyp()
    texts = {} if best is None or not best.hypstr else {str(best.hypstr): float(best.score)}
    for path in islice(decoder.nbest() or (), _MOST_ROUTES if texts else 0):
        if path is None:
            break
        if path.hypstr:
            texts.setdefault(str(path.hypstr), float(path.score))
    return SoundPass(GRAMMAR, tuple(texts.items()))


def _decoder_of(tables: LanguageTables, files: AcousticFiles) -> Any:
    """For another language. Raises: ConfigError."""
    _probe(files)
    try:
        decoder = _made(hmm=str(files.model), dict=str(files.dictionary))
        text, left_out = grammar_of(tables, lambda word: decoder.lookup_word(word) is not None)
        if left_out:
            logger.warning(
                "%s lacks words of these, which are not heard: %s", files.dictionary.name, ", ".join(left_out)
            )
        _listen_for(decoder, text)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"The speech recogniser can not start ({error}).", hint=f"Is {files.model} whole?") from error
    return decoder


def _probe(files: AcousticFiles) -> None:
    """Open a model in another process first: pocketsphinx ends its process over a torn one. Raises: ConfigError."""
    code = "import sys, pocketsphinx; pocketsphinx.Decoder(hmm=sys.argv[1], dict=sys.argv[2], lm=None)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(files.model), str(files.dictionary)], capture_output=True, timeout=_PROBE_S
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{files.model} was not opened within {_PROBE_S:.0f} s.", hint="Is it whole?") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ConfigError(
            f"{files.model} is no acoustic model that pocketsphinx reads ({' '.join(said)}).", hint="Fetch it again."
        )


def _made(**options: str) -> Any:
    try:
        import pocketsphinx
    except ModuleNotFoundError as error:
        raise ConfigError("pocketsphinx is not installed.", hint=acoustic.INSTALL_HINT) from error
    return pocketsphinx.Decoder(
        samprate=float(SAMPLE_RATE_HZ),
        lm=None,
        loglevel="FATAL",
        cmn="batch",
        silprob=0.1,
        maxhmmpf=_MOST_PATHS,
        **options,
    )


def _listen_for(decoder: Any, text: str) -> None:
    decoder.add_jsgf_string(_SEARCH, text)
    decoder.activate_search(_SEARCH)


def _decoder() -> Any:
    try:
        decoder = _made()
        text = grammar.grammar()
        _teach_words(decoder, grammar.words_of(text))
        _listen_for(decoder, text)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"The speech recogniser can not start ({error}).", hint="Reinstall pocketsphinx.") from error
    return decoder


def _teach_words(decoder: Any, words: set[str]) -> None:
    """Pronunciations that the dictionary lacks: of a few words, and of British English. Raises: ConfigError."""
    for word in sorted(words):
        known = [phones] if (phones := decoder.lookup_word(word)) is not None else []
        wanted = [*known, *grammar.pronunciations(word)]
        if not wanted:
            raise ConfigError(
                f"The speech recogniser has no pronunciation for {word!r}.",
                hint="Add it to `pronounced` of its thing in shared/vocabulary.toml.",
            )
        wanted += [grammar.without_r(phones) for phones in wanted]
        for number, phones in enumerate(dict.fromkeys(wanted)):
            if phones not in known:
                decoder.add_word(word if not known and number == 0 else f"{word}({90 + number})", phones, True)
