"""Spoken corrections → words with any Whisper-type checkpoint, by hub name or folder.

It uses the numpy feature extractor and the checkpoint's own tokenizer: nothing but transformers and torch is needed.
Everything is loaded at the first sound. A name on the hub is fetched once; a folder is never looked for on the network.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

from shared.chunk_format import SAMPLE_RATE_HZ
from shared.errors import ConfigError
from shared.speech.sound import spoken_part
from shared.speech.transcript import NOTHING, Transcript
from shared.wav import decode_sound

MAX_NEW_TOKENS = 32  # a correction is 3 to 8 words; a Whisper that runs on is making things up


class WhisperTranscriber:
    """Transcriber over `WhisperForConditionalGeneration`. Safe from any thread; one sound at a time."""

    def __init__(self, model: str, *, language: str = "en") -> None:
        self._name = model
        self._language = language
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any, Any] | None = None

    def transcribe(self, wav: bytes) -> Transcript:
        """Confidence is the geometric mean of the tokens' probabilities.

        raises: MediaError where `wav` is no sound; ConfigError where the model can not be loaded
        """
        samples = spoken_part(decode_sound(wav))
        if not samples.size:
            return NOTHING
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self._name)
            return _transcribe(*self._loaded, samples, self._language)


def _load(name: str) -> tuple[Any, Any, Any]:
    local = Path(name).exists()
    try:
        features = WhisperFeatureExtractor.from_pretrained(name, local_files_only=local)
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local)
        model = WhisperForConditionalGeneration.from_pretrained(name, local_files_only=local)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The Whisper model {name!r} can not be loaded ({error}).",
            hint='Set speech.model to a folder with the model, or speech.recogniser to "pocketsphinx".',
        ) from error
    model.eval()  # type: ignore[no-untyped-call]
    return features, tokenizer, model


@torch.inference_mode()
def _transcribe(features: Any, tokenizer: Any, model: Any, samples: Any, language: str) -> Transcript:
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
