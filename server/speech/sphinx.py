"""Spoken corrections → words with pocketsphinx: embedded, offline, no model to fetch.

It listens for the sentences of `server.speech.grammar` only, which is what makes an old acoustic model good enough:
there are some hundred things to tell apart, not a language. It listens several times with the sound's spectrum
stretched a little (vocal tracts differ in length) and lets the hearings vote by meaning. A vote that is split, or that
fits the sound badly, is no understanding: a wrong hazard is worse than none.

source: vocal tract length normalisation, Lee and Rose 1998; voting over recognisers, Fiscus 1997 (ROVER)
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pocketsphinx
from numpy.typing import NDArray

from server.speech import grammar
from server.speech.heard import NOTHING, Heard
from server.speech.sound import RATE_HZ, read_wav, spoken_part
from server.speech.wording import understood
from shared.errors import ConfigError

WARPS = (1.0, 1.08, 1.16, 0.92)
_SEARCH = "waycue"


@dataclass(frozen=True, slots=True)
class Hearing:
    """What one decoder made of a sound."""

    text: str
    fit: float
    """Log of the path's score per frame against the best sound at each frame; 0 is perfect, lower is worse."""


class PocketsphinxTranscriber:
    """Transcriber over the vocabulary's grammar. Safe from any thread; one sound at a time."""

    def __init__(self, *, warps: Iterable[float] = WARPS) -> None:
        self._warps = tuple(warps)
        self._lock = threading.Lock()
        self._decoders: list[Any] = []

    def transcribe(self, wav: bytes) -> Heard:
        """Raises: MediaError where `wav` is no sound; ConfigError where the grammar can not be used."""
        samples = spoken_part(read_wav(wav))
        if not samples.size:
            return NOTHING
        with self._lock:
            if not self._decoders:
                self._decoders = [_decoder(warp) for warp in self._warps]
            hearings = [listen(decoder, samples) for decoder in self._decoders]
        return vote(hearings)


def vote(hearings: list[Hearing]) -> Heard:
    """The meaning that most hearings share, in the words of the best of them. Pure."""
    votes: defaultdict[str, list[Hearing]] = defaultdict(list)
    for hearing in hearings:
        meaning = understood(hearing.text)
        if meaning:
            votes[meaning].append(hearing)
    if not votes:
        return NOTHING
    best = max(votes.values(), key=lambda group: (len(group), max(h.fit for h in group)))
    return Heard(max(best, key=lambda h: h.fit).text, len(best) / len(hearings))


def listen(decoder: Any, samples: NDArray[np.float32]) -> Hearing:
    """One pass over the whole sound."""
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    decoder.start_utt()
    decoder.process_raw(pcm, no_search=False, full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    if found is None or not found.hypstr:
        return Hearing("", -math.inf)
    return Hearing(found.hypstr, math.log(max(found.score, 1e-300)) / max(1, decoder.n_frames()))


def _decoder(warp: float) -> Any:
    stretched = {} if warp == 1.0 else {"warp_type": "inverse_linear", "warp_params": f"{warp:g}"}
    try:
        decoder = pocketsphinx.Decoder(
            samprate=float(RATE_HZ), lm=None, loglevel="FATAL", cmn="batch", silprob=0.1, **stretched
        )
        for word, sounds in grammar.PRONUNCIATIONS.items():
            for number, phones in enumerate(sounds, start=1):
                name = word if number == 1 else f"{word}({number})"
                if decoder.lookup_word(name) is None:
                    decoder.add_word(name, phones, True)
        text = grammar.grammar()
        unknown = sorted(word for word in grammar.words_of(text) if decoder.lookup_word(word) is None)
        if unknown:
            raise ConfigError(
                f"The speech recogniser has no pronunciation for {', '.join(unknown)}.",
                hint="Add one to PRONUNCIATIONS in server/speech/grammar.py.",
            )
        decoder.add_jsgf_string(_SEARCH, text)
        decoder.activate_search(_SEARCH)
    except RuntimeError as error:
        raise ConfigError(f"The speech recogniser can not start ({error}).", hint="Reinstall pocketsphinx.") from error
    return decoder
