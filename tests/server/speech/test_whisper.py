"""Any Whisper-type checkpoint: here a tiny one with random weights, made of the same classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from server.speech import open_transcriber
from shared.errors import ConfigError, MediaError
from shared.speech import NOTHING
from tests.shared.speech.voices import as_wav, needs_espeak, say


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper")
    letters = {letter: n for n, letter in enumerate(["<|endoftext|>", "<|startoftranscript|>", *"abcdefghijklmnop"])}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", bos_token="<|startoftranscript|>"
    ).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)  # type: ignore[no-untyped-call]
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=len(letters),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=80,
        max_target_positions=48,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    return folder


@needs_espeak
def test_a_checkpoint_folder_transcribes(checkpoint: Path) -> None:
    transcriber = open_transcriber("whisper", model=str(checkpoint))
    heard = transcriber.transcribe(say("Stop, curb ahead."))
    assert set(heard.text) <= set("abcdefghijklmnop")
    assert 0 < heard.confidence < 1
    assert transcriber.transcribe(say("Stop, curb ahead.")) == heard


def test_silence_is_not_given_to_the_model(checkpoint: Path) -> None:
    silence = as_wav(torch.zeros(32_000).numpy())
    assert open_transcriber("whisper", model=str(checkpoint)).transcribe(silence) == NOTHING


def test_a_sound_that_is_none_is_a_media_error(checkpoint: Path) -> None:
    with pytest.raises(MediaError):
        open_transcriber("whisper", model=str(checkpoint)).transcribe(b"RIFF")


@needs_espeak
def test_a_folder_without_a_model_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"speech\.model"):
        open_transcriber("whisper", model=str(tmp_path)).transcribe(say("Stop, curb ahead."))


def test_a_recogniser_that_is_unknown_or_lacks_its_model_is_named() -> None:
    with pytest.raises(ConfigError, match=r"speech\.model"):
        open_transcriber("whisper")
    with pytest.raises(ConfigError, match="'siri' is no speech recogniser"):
        open_transcriber("siri")
